/// Little-endian bytes, the order of everything in ACPI and MP tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cupule::acpi {

/// Appends the lowest `size` bytes (1 to 8) of `value`, lowest first.
inline void append_little_endian(std::vector<std::uint8_t>& out, std::uint64_t value,
                                 std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
        out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
}

}  // namespace cupule::acpi
