#include "acpi/aml_field.h"

#include "base/assert.h"

namespace cupule::acpi::aml {

namespace {

constexpr std::uint8_t extended_prefix = 0x5B;
constexpr std::uint8_t operation_region_op = 0x80;  // after extended_prefix
constexpr std::uint8_t field_op = 0x81;             // after extended_prefix
constexpr std::uint8_t reserved_field = 0x00;

Term reserved_bits(std::uint64_t bits) {
    return {Term(Bytes{reserved_field}), package_length(bits)};
}

/// Encodes one entry that begins at `bit` of the region and moves `bit` behind it.
Term encode(const FieldEntry& entry, std::uint64_t& bit) {
    if (entry.kind == FieldEntry::Kind::offset) {
        CUPULE_ASSERT(entry.value * 8 >= bit);
        const std::uint64_t gap = entry.value * 8 - bit;
        bit += gap;
        return gap == 0 ? Term() : reserved_bits(gap);
    }
    bit += entry.value;
    if (entry.kind == FieldEntry::Kind::skip) {
        return reserved_bits(entry.value);
    }
    return {name_segment(entry.segment), package_length(entry.value)};
}

}  // namespace

Term operation_region(std::string_view what, RegionSpace space, std::uint64_t offset,
                      std::uint64_t length) {
    const Term opcode(Bytes{extended_prefix, operation_region_op});
    const Term space_code(Bytes{static_cast<std::uint8_t>(space)});
    return {opcode, path(what), space_code, integer(offset), integer(length)};
}

FieldEntry field_bits(std::string_view segment, std::uint64_t bits) {
    CUPULE_ASSERT(bits > 0);
    return {.kind = FieldEntry::Kind::named, .segment = std::string(segment), .value = bits};
}

FieldEntry skip_bits(std::uint64_t bits) {
    return {.kind = FieldEntry::Kind::skip, .segment = {}, .value = bits};
}

FieldEntry at_offset(std::uint64_t byte_offset) {
    return {.kind = FieldEntry::Kind::offset, .segment = {}, .value = byte_offset};
}

Term field(std::string_view region, FieldAccess access, FieldLock lock, FieldUpdate update,
           std::span<const FieldEntry> entries) {
    const unsigned flags = static_cast<unsigned>(access) | (static_cast<unsigned>(lock) << 4) |
                           (static_cast<unsigned>(update) << 5);
    Term body{path(region), Term(Bytes{static_cast<std::uint8_t>(flags)})};
    std::uint64_t bit = 0;
    for (const FieldEntry& entry : entries) {
        body += encode(entry, bit);
    }
    return {Term(Bytes{extended_prefix, field_op}), with_package_length(body)};
}

Term field(std::string_view region, FieldAccess access, FieldLock lock, FieldUpdate update,
           std::initializer_list<FieldEntry> entries) {
    return field(region, access, lock, update,
                 std::span<const FieldEntry>(entries.begin(), entries.size()));
}

}  // namespace cupule::acpi::aml
