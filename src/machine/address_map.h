#pragma once

#include <cstdint>

// Guest physical addresses and ports of the PC, as acrn-dm places them (docs/memory_map.md).
namespace cupule::machine {

inline constexpr std::uint64_t mib = std::uint64_t{1} << 20;
inline constexpr std::uint64_t gib = std::uint64_t{1} << 30;

/// RAM below the PCI hole ends here at the latest; the rest begins at `high_ram_base`.
inline constexpr std::uint64_t low_ram_end_max = 2 * gib;
inline constexpr std::uint64_t high_ram_base = 4 * gib;
/// RAM as firmware sees it below 1 MiB; from here to 1 MiB are tables, reserved.
inline constexpr std::uint64_t conventional_ram_end = 0xA'0000;
inline constexpr std::uint64_t firmware_tables_base = 0xF'0000;

inline constexpr std::uint64_t pci_window_32_base = low_ram_end_max;
inline constexpr std::uint64_t ecam_base = 0xE000'0000;
inline constexpr std::uint64_t ecam_size = 0x1000'0000;
inline constexpr std::uint64_t pci_window_32_end = ecam_base;
/// For devices of the host that are not PCI (acrn-dm's window for MMIO devices).
inline constexpr std::uint64_t platform_window_base = 0xF000'0000;
inline constexpr std::uint64_t platform_window_end = 0xFE00'0000;
inline constexpr std::uint64_t pci_window_64_base = 256 * gib;
inline constexpr std::uint64_t pci_window_64_end = 512 * gib;
inline constexpr std::uint64_t pci_ports_base = 0x2000;
inline constexpr std::uint64_t pci_ports_end = 0x1'0000;

inline constexpr std::uint64_t ioapic_base = 0xFEC0'0000;
inline constexpr std::uint64_t hpet_base = 0xFED0'0000;
inline constexpr std::uint64_t local_apic_base = 0xFEE0'0000;

inline constexpr std::uint64_t pit_port = 0x40;
inline constexpr std::uint64_t i8042_data_port = 0x60;
inline constexpr std::uint64_t i8042_command_port = 0x64;
inline constexpr std::uint64_t system_control_port = 0x61;
inline constexpr std::uint64_t rtc_port = 0x70;
inline constexpr std::uint64_t post_port = 0x80;
inline constexpr std::uint64_t post_port_second = 0x84;
inline constexpr std::uint64_t smi_command_port = 0xB2;
inline constexpr std::uint64_t debug_exit_port = 0xF4;
inline constexpr std::uint64_t pm1_event_port = 0x400;
inline constexpr std::uint64_t pm1_control_port = 0x404;
inline constexpr std::uint64_t pm_timer_port = 0x408;
inline constexpr std::uint16_t gpe0_port = 0x40C;

inline constexpr std::uint32_t keyboard_irq = 1;
inline constexpr std::uint32_t mouse_irq = 12;
inline constexpr std::uint32_t rtc_irq = 8;
inline constexpr std::uint32_t sci_irq = 9;
inline constexpr std::uint32_t first_intx_gsi = 16;

/// General-purpose events: something on the PCI bus came or went.
inline constexpr std::uint8_t bus_check_event = 0;

}  // namespace cupule::machine
