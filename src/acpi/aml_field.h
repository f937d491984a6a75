/// AML operation regions and fields: registers that AML code reads and writes.
///
/// Document: ACPI Specification 6.5, section 20.2.5.2 (DefOpRegion, DefField).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "acpi/aml.h"

namespace cupule::acpi::aml {

enum class RegionSpace : std::uint8_t {
    system_memory = 0,
    system_io = 1,
    pci_config = 2,
    embedded_control = 3,
    smbus = 4,
    system_cmos = 5,
    pci_bar_target = 6,
};

/// OperationRegion; offset and length in bytes.
[[nodiscard]] Term operation_region(std::string_view what, RegionSpace space, std::uint64_t offset,
                                    std::uint64_t length);

enum class FieldAccess : std::uint8_t { any = 0, byte = 1, word = 2, dword = 3, qword = 4 };
enum class FieldLock : std::uint8_t { no_lock = 0, lock = 1 };
enum class FieldUpdate : std::uint8_t { preserve = 0, write_as_ones = 1, write_as_zeros = 2 };

/// One entry of a field list.
struct FieldEntry {
    enum class Kind : std::uint8_t { named, skip, offset };
    Kind kind = Kind::named;
    std::string segment;  ///< `named` only
    std::uint64_t value;  ///< width in bits, or for `offset` the byte to go on at
};

/// A named field of so many bits.
[[nodiscard]] FieldEntry field_bits(std::string_view segment, std::uint64_t bits);

/// Bits without a name.
[[nodiscard]] FieldEntry skip_bits(std::uint64_t bits);

/// ASL's Offset(): the next entry begins at this byte of the region. Must not go backwards.
[[nodiscard]] FieldEntry at_offset(std::uint64_t byte_offset);

[[nodiscard]] Term field(std::string_view region, FieldAccess access, FieldLock lock,
                         FieldUpdate update, std::span<const FieldEntry> entries);
[[nodiscard]] Term field(std::string_view region, FieldAccess access, FieldLock lock,
                         FieldUpdate update, std::initializer_list<FieldEntry> entries);

}  // namespace cupule::acpi::aml
