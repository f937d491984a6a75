#pragma once

#include <cstdint>

#include "base/field.h"

// The configuration header (PCI Local Bus 3.0, 6.1; PCI-to-PCI Bridge 1.2, 3.2) as offsets and
// typed fields.
namespace cupule::pci {

/// Bytes of a conventional function's space and of an Express function's.
inline constexpr unsigned conventional_config_size = 256;
inline constexpr unsigned express_config_size = 4096;

/// Offsets of the registers every function has.
namespace config {
inline constexpr std::uint16_t vendor_id = 0x00;
inline constexpr std::uint16_t device_id = 0x02;
inline constexpr std::uint16_t command = 0x04;
inline constexpr std::uint16_t status = 0x06;
inline constexpr std::uint16_t revision_id = 0x08;
inline constexpr std::uint16_t class_code = 0x09;  // 3 bytes
inline constexpr std::uint16_t cache_line_size = 0x0C;
inline constexpr std::uint16_t header_type = 0x0E;
inline constexpr std::uint16_t bar0 = 0x10;
inline constexpr std::uint16_t capabilities = 0x34;
inline constexpr std::uint16_t interrupt_line = 0x3C;
inline constexpr std::uint16_t interrupt_pin = 0x3D;
inline constexpr std::uint16_t header_end = 0x40;
inline constexpr std::uint16_t extended = 0x100;
// Type 0 only.
inline constexpr std::uint16_t subsystem_vendor_id = 0x2C;
inline constexpr std::uint16_t subsystem_id = 0x2E;
inline constexpr std::uint16_t expansion_rom = 0x30;
// Type 1 only.
inline constexpr std::uint16_t primary_bus = 0x18;
inline constexpr std::uint16_t secondary_bus = 0x19;
inline constexpr std::uint16_t subordinate_bus = 0x1A;
inline constexpr std::uint16_t io_base = 0x1C;
inline constexpr std::uint16_t io_limit = 0x1D;
inline constexpr std::uint16_t secondary_status = 0x1E;
inline constexpr std::uint16_t memory_base = 0x20;
inline constexpr std::uint16_t memory_limit = 0x22;
inline constexpr std::uint16_t prefetchable_base = 0x24;
inline constexpr std::uint16_t prefetchable_limit = 0x26;
inline constexpr std::uint16_t prefetchable_base_upper = 0x28;
inline constexpr std::uint16_t prefetchable_limit_upper = 0x2C;
inline constexpr std::uint16_t bridge_expansion_rom = 0x38;
inline constexpr std::uint16_t bridge_control = 0x3E;
}  // namespace config

/// The command register (6.2.2).
struct Command {
    static constexpr base::Bit<std::uint16_t, 0> io_space{};            // IO
    static constexpr base::Bit<std::uint16_t, 1> memory_space{};        // MEM
    static constexpr base::Bit<std::uint16_t, 2> bus_master{};          // BME
    static constexpr base::Bit<std::uint16_t, 6> parity_response{};     // PERR
    static constexpr base::Bit<std::uint16_t, 8> serr_enable{};         // SERR
    static constexpr base::Bit<std::uint16_t, 10> interrupt_disable{};  // INTX_DISABLE
    static constexpr std::uint16_t writable = io_space.mask | memory_space.mask | bus_master.mask |
                                              parity_response.mask | serr_enable.mask |
                                              interrupt_disable.mask;
};

/// The status register (6.2.3).
struct Status {
    static constexpr base::Bit<std::uint16_t, 3> interrupt{};          // INTERRUPT
    static constexpr base::Bit<std::uint16_t, 4> capabilities_list{};  // CAP_LIST
    /// The error bits: 8 and 11 to 15.
    static constexpr std::uint16_t write_1_to_clear = 0xF900;
};

/// The header type register (6.2.1).
struct HeaderTypeRegister {
    static constexpr base::Field<std::uint8_t, 6, 0> layout{};
    static constexpr base::Bit<std::uint8_t, 7> multi_function{};
};

/// Low dword of a base address register (6.2.5.1).
struct BarRegister {
    static constexpr base::Bit<std::uint32_t, 0> io{};
    static constexpr base::Bit<std::uint32_t, 2> is_64_bit{};
    static constexpr base::Bit<std::uint32_t, 3> prefetchable{};
    static constexpr std::uint32_t memory_address = 0xFFFF'FFF0;
    static constexpr std::uint32_t io_address = 0xFFFF'FFFC;
};

/// The expansion ROM base address register (6.2.5.2).
struct RomRegister {
    static constexpr base::Bit<std::uint32_t, 0> enable{};
    static constexpr std::uint32_t address = 0xFFFF'F800;
};

/// Capability ids (PCI Code and ID Assignment 1.11, 2).
namespace capability {
inline constexpr std::uint8_t power_management = 0x01;
inline constexpr std::uint8_t msi = 0x05;
inline constexpr std::uint8_t vendor_specific = 0x09;
inline constexpr std::uint8_t express = 0x10;
inline constexpr std::uint8_t msix = 0x11;
}  // namespace capability

/// Class codes: base class, sub-class, interface (PCI Code and ID Assignment 1.11, 1).
namespace class_code {
inline constexpr std::uint32_t host_bridge = 0x06'00'00;
inline constexpr std::uint32_t isa_bridge = 0x06'01'00;
inline constexpr std::uint32_t pci_bridge = 0x06'04'00;
}  // namespace class_code

}  // namespace cupule::pci
