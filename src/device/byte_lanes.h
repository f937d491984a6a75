#pragma once

#include <concepts>
#include <cstdint>

namespace cupule::device {

/// Reads `size` bytes (1 to 8) of a part whose registers are single bytes: `read_byte(offset)` is
/// called once for each byte, lowest first, as an 8-bit bus does for a wider access.
template <std::invocable<std::uint64_t> ReadByte>
std::uint64_t read_byte_lanes(std::uint64_t offset, unsigned size, ReadByte read_byte) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
        value |= static_cast<std::uint64_t>(read_byte(offset + i)) << (8 * i);
    }
    return value;
}

/// The same for writes: `write_byte(offset, value)` for each byte, lowest first.
template <std::invocable<std::uint64_t, std::uint8_t> WriteByte>
void write_byte_lanes(std::uint64_t offset, unsigned size, std::uint64_t value,
                      WriteByte write_byte) {
    for (unsigned i = 0; i < size; ++i) {
        write_byte(offset + i, static_cast<std::uint8_t>(value >> (8 * i)));
    }
}

}  // namespace cupule::device
