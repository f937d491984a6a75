#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace cupule::base {

/// A named group of bits of a register of type T, high bit first as data sheets write it:
///     static constexpr Field<std::uint8_t, 5, 3> operating_mode{};   // M2:M0
/// `of` takes the group out of a register value, `with` puts one in. V is the type the group has
/// for the program: an integer, bool for one bit, or an enum.
template <std::unsigned_integral T, unsigned High, unsigned Low, class V = T>
struct Field {
    static_assert(High >= Low && High < sizeof(T) * 8);

    static constexpr T mask = static_cast<T>(
        static_cast<T>(static_cast<T>(~T{0}) >> (sizeof(T) * 8 - 1 - (High - Low))) << Low);

    static constexpr V of(T value) { return static_cast<V>((value & mask) >> Low); }

    [[nodiscard]] static constexpr T with(T value, V field) {
        return static_cast<T>((value & static_cast<T>(~mask)) | make(field));
    }

    /// The register value that has this group and zeros elsewhere.
    static constexpr T make(V field) {
        return static_cast<T>((static_cast<std::uint64_t>(field) << Low) & mask);
    }
};

/// One named bit of a register of type T.
template <std::unsigned_integral T, unsigned Position>
struct Bit : Field<T, Position, Position, bool> {
    [[nodiscard]] static constexpr T set(T value) { return Bit::with(value, true); }
    [[nodiscard]] static constexpr T clear(T value) { return Bit::with(value, false); }
};

/// How software may change a stored register: writable bits take the written value,
/// write-1-to-clear bits go to zero where a one is written, all others keep their value.
template <std::unsigned_integral T>
struct WriteRule {
    T writable = 0;
    T write_1_to_clear = 0;

    [[nodiscard]] constexpr T apply(T old_value, T written) const {
        const T kept = static_cast<T>(old_value & static_cast<T>(~writable));
        const T merged = static_cast<T>(kept | (written & writable));
        return static_cast<T>(merged & static_cast<T>(~(written & write_1_to_clear)));
    }
};

}  // namespace cupule::base
