#pragma once

#include <bit>
#include <concepts>
#include <cstdint>

#include "base/assert.h"

namespace cupule::base {

/// Twice the width, for products that would overflow (an extension both compilers have).
__extension__ typedef unsigned __int128 Uint128;

/// Sums, differences and products modulo 2^width, where that is what is meant: sequence numbers,
/// counters, values that guests choose. Elsewhere the sanitizers take a wrap for a fault.
template <std::integral T>
constexpr T wrapping_add(T left, T right) {
    T result{};
    static_cast<void>(__builtin_add_overflow(left, right, &result));
    return result;
}
template <std::integral T>
constexpr T wrapping_sub(T left, T right) {
    T result{};
    static_cast<void>(__builtin_sub_overflow(left, right, &result));
    return result;
}
template <std::integral T>
constexpr T wrapping_mul(T left, T right) {
    T result{};
    static_cast<void>(__builtin_mul_overflow(left, right, &result));
    return result;
}

/// A value with only bit `n` set. `n` below 64.
constexpr std::uint64_t bit(unsigned n) {
    return std::uint64_t{1} << n;
}

/// The low `n` bits set; `n` 0 to 64.
constexpr std::uint64_t mask(unsigned n) {
    return n >= 64 ? ~std::uint64_t{0} : bit(n) - 1;
}

/// All ones in an access of `size` bytes (1 to 8): what a bus answers where nobody listens.
constexpr std::uint64_t ones(unsigned size) {
    return mask(size * 8);
}

constexpr bool is_power_of_two(std::uint64_t value) {
    return std::has_single_bit(value);
}

/// `alignment` is a power of two.
constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t alignment) {
    CUPULE_ASSERT(is_power_of_two(alignment));
    return value & ~(alignment - 1);
}

/// `alignment` is a power of two; the caller knows that the sum does not wrap.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
    return align_down(value + alignment - 1, alignment);
}

constexpr bool is_aligned(std::uint64_t value, std::uint64_t alignment) {
    return align_down(value, alignment) == value;
}

/// True when [inner, inner + inner_size) lies in [base, base + size), with no sum that could wrap.
constexpr bool contains(std::uint64_t base, std::uint64_t size, std::uint64_t inner,
                        std::uint64_t inner_size) {
    return inner >= base && inner - base <= size && inner_size <= size - (inner - base);
}

/// Takes `size` bytes at byte `offset` out of a register of type T, as a bus lane does. Bytes past
/// the register read as zero.
template <std::unsigned_integral T>
constexpr std::uint64_t read_lane(T value, std::uint64_t offset, unsigned size) {
    if (offset >= sizeof(T)) {
        return 0;
    }
    return (static_cast<std::uint64_t>(value) >> (offset * 8)) & ones(size);
}

/// Replaces `size` bytes at byte `offset` of a register of type T; bytes past the register are
/// dropped.
template <std::unsigned_integral T>
constexpr T write_lane(T old_value, std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (offset >= sizeof(T)) {
        return old_value;
    }
    const auto lane = static_cast<T>(ones(size) << (offset * 8));
    return static_cast<T>((old_value & static_cast<T>(~lane)) |
                          (static_cast<T>(value << (offset * 8)) & lane));
}

}  // namespace cupule::base
