#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cupule::boot {

/// Address range types (ACPI 6.5, table 15.1).
enum class E820Type : std::uint32_t {
    ram = 1,
    reserved = 2,
    acpi_tables = 3,
    acpi_nvs = 4,
    unusable = 5,
    persistent_memory = 7,
};

std::string_view name_of(E820Type type);

/// [base, base + size) of the guest's physical addresses.
struct E820Entry {
    std::uint64_t base = 0;
    std::uint64_t size = 0;
    E820Type type = E820Type::ram;

    constexpr std::uint64_t end() const { return base + size; }
    bool operator==(const E820Entry&) const = default;
};

/// The memory map a guest is told: ascending, without overlap, neighbours of one type joined.
/// Addresses no entry names are holes (a guest takes them as free for devices).
class E820Map {
  public:
    /// Adds a range that no other may overlap. Fails on size 0, on a range that wraps, and on
    /// overlap, naming both ranges.
    base::Result<void> add(const E820Entry& entry);

    /// Adds a range that takes its addresses from those already there: how a reserved piece is cut
    /// out of RAM. Fails on size 0 and on a range that wraps.
    base::Result<void> carve(const E820Entry& entry);

    std::span<const E820Entry> entries() const { return entries_; }

    /// True when one RAM entry holds [base, base + size).
    bool is_ram(std::uint64_t base, std::uint64_t size) const;

    /// End of the RAM that begins at or spans `address`, or `address` itself where there is none.
    std::uint64_t ram_end_from(std::uint64_t address) const;

    /// Bytes of RAM in all.
    std::uint64_t ram_size() const;

  private:
    void insert(const E820Entry& entry);

    std::vector<E820Entry> entries_;
};

}  // namespace cupule::boot
