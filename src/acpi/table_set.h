/// All ACPI tables of a virtual machine at their guest physical addresses.
///
/// Document: ACPI Specification 6.5, 5.2.5.1: the RSDP lies on a 16-byte boundary between 0xE0000
/// and 0xFFFFF, where the operating system looks for it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "acpi/platform.h"
#include "acpi/table.h"
#include "base/error.h"

namespace cupule::acpi {

/// Where acrn-dm has its tables, and the end of the BIOS area.
inline constexpr std::uint32_t tables_base = 0xF2400;
inline constexpr std::uint32_t tables_end = 0x10'0000;

struct PlacedTable {
    std::string name;  ///< the signature, "RSDP" for the pointer
    std::uint32_t address = 0;
    std::vector<std::uint8_t> bytes;
};

/// In order of address, without overlap; the RSDP first, at the base that was asked for.
struct TableSet {
    std::vector<PlacedTable> tables;

    [[nodiscard]] std::uint32_t rsdp_address() const { return tables.front().address; }

    /// The first table of that name, or null.
    [[nodiscard]] const PlacedTable* find(std::string_view name) const;
};

/// Lays the tables out from `first_address` (a multiple of 16) up to but not including `end`. The
/// error is that they need more room: too many devices with too much AML.
[[nodiscard]] base::Result<TableSet> make_table_set(const PlatformDescription& platform,
                                                    std::uint32_t first_address = tables_base,
                                                    std::uint32_t end = tables_end);

}  // namespace cupule::acpi
