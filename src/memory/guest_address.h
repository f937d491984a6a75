#pragma once

#include <compare>
#include <cstdint>

namespace cupule::memory {

/// A guest physical address. Distinct from host pointers, offsets and sizes by type.
struct GuestAddress {
    std::uint64_t value = 0;

    constexpr auto operator<=>(const GuestAddress&) const = default;
    /// May wrap; GuestMemory rejects what does.
    constexpr GuestAddress operator+(std::uint64_t offset) const { return {value + offset}; }
};

}  // namespace cupule::memory
