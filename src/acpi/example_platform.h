/// For tests: a machine that has everything the tables can describe, and reading of tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "acpi/platform.h"

namespace cupule::acpi {

/// Like acrn-dm's PC: RAM to 2 GiB, ECAM at 0xE0000000, PCI windows at 0x80000000 and 256 GiB,
/// COM1 to COM5, INTx of every slot.
[[nodiscard]] inline PlatformDescription example_platform(std::uint32_t processors = 4) {
    PlatformDescription platform;
    for (std::uint32_t id = 0; id < processors; ++id) {
        platform.processors.push_back({.apic_id = id, .objects = {}});
    }
    platform.io_apics = {IoApic{.pins = 48}};
    platform.power.gpe0 = PortRange{.base = 0x420, .size = 8};
    platform.pci.bus_check_event = 10;
    platform.legacy.serial_ports = {
        {1, 0x3F8, 4}, {2, 0x2F8, 3}, {3, 0x3E8, 6}, {4, 0x2E8, 7}, {5, 0x9000, 10}};
    platform.pci.memory_windows = {{0x8000'0000, 0x6000'0000}};
    platform.pci.memory_windows_64 = {{0x40'0000'0000, 0x40'0000'0000}};
    for (std::uint8_t device = 0; device < 16; ++device) {
        for (std::uint8_t pin = 0; pin < 4; ++pin) {
            const std::uint32_t gsi = 16 + (device + pin) % 8U;
            const auto link = static_cast<std::uint8_t>((device + pin) % 8);
            platform.pci.routes.push_back({device, pin, gsi, link});
        }
    }
    platform.reserved_ports = {{0x84, 1}, {0x400, 0x80}, {0x1000, 0x200}};
    platform.reserved_memory = {{0xF000'0000, 0x0E00'0000}, {0x8000000000, 0x1'0000'0000}};
    return platform;
}

/// The little-endian number of `size` bytes at `offset`, as a guest reads it.
[[nodiscard]] inline std::uint64_t number_at(const std::vector<std::uint8_t>& bytes,
                                             std::size_t offset, std::size_t size) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
        value |= std::uint64_t{bytes.at(offset + i)} << (8 * i);
    }
    return value;
}

}  // namespace cupule::acpi
