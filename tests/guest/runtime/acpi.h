/// ACPI tables, found as an operating system without UEFI finds them.
///
/// Document: ACPI Specification 6.5, section 5.2.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cupule::guest {

/// Address of the first table with this signature and a good checksum; 0 if there is none.
[[nodiscard]] std::uint64_t find_table(const char (&signature)[5]);

/// Whether `size` bytes sum up to zero.
[[nodiscard]] bool checksum_is_zero(std::uint64_t address, std::size_t size);

/// Address of `text` at a multiple of 16 in [from, to); 0 if it is not there.
[[nodiscard]] std::uint64_t find_signature(const char* text, std::uint64_t from, std::uint64_t to);

/// Segment word at 0x40E: the extended BIOS data area, 0 if unset or implausible.
[[nodiscard]] std::uint64_t extended_bios_data_area();

/// The fields of the FADT that the guests need (table 5.9); zeros without a FADT.
struct Fadt {
    std::uint16_t sci_interrupt = 0;
    std::uint16_t smi_command = 0;
    std::uint8_t acpi_enable = 0;
    std::uint16_t pm1_event = 0;
    std::uint16_t pm1_control = 0;
    std::uint16_t pm_timer = 0;
    std::uint16_t gpe0 = 0;
    std::uint8_t gpe0_size = 0;
    std::uint16_t boot_architecture = 0;  ///< bit 1: 8042
    std::uint32_t flags = 0;              ///< bit 8: TMR_VAL_EXT, bit 10: RESET_REG_SUP
    std::uint8_t reset_space = 0;         ///< 1 = system I/O
    std::uint64_t reset_address = 0;
    std::uint8_t reset_value = 0;
};

[[nodiscard]] Fadt fadt();

/// What the MADT says (5.2.12).
struct Madt {
    static constexpr std::size_t processor_max = 256;

    std::uint32_t local_apic_address = 0;
    std::uint32_t apic_ids[processor_max] = {};  ///< enabled processors only
    std::size_t processor_count = 0;
    std::uint64_t io_apic_address = 0;  ///< the first, that begins at GSI 0
    std::size_t io_apic_count = 0;
};

/// Read once and kept.
[[nodiscard]] const Madt& madt();

/// How an ISA interrupt reaches the IOAPIC: identity, edge, active high unless overridden.
struct IsaRoute {
    std::uint32_t pin = 0;
    bool active_low = false;
    bool level = false;
};

[[nodiscard]] IsaRoute isa_route(std::uint8_t irq);

/// Base of the ECAM window of segment 0 (MCFG), 0 without one.
[[nodiscard]] std::uint64_t ecam_base();

/// Base of the first HPET, 0 without one.
[[nodiscard]] std::uint64_t hpet_base();

}  // namespace cupule::guest
