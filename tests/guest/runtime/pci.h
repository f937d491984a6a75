/// PCI configuration space by both mechanisms.
///
/// Document: PCI Local Bus Specification 3.0, 3.2.2.3.2; PCI Express Base 4.0, 7.2.2 (ECAM).
#pragma once

#include <cstdint>

#include "runtime/cpu.h"

namespace cupule::guest {

/// Bus in bits 15:8, device in 7:3, function in 2:0.
using PciAddress = std::uint16_t;

inline constexpr std::uint16_t pci_address_port = 0xCF8;
inline constexpr std::uint16_t pci_data_port = 0xCFC;

inline void pci_select(PciAddress address, std::uint32_t offset) {
    out32(pci_address_port, 0x80000000U | (std::uint32_t{address} << 8) | (offset & 0xFC));
}

/// By CF8/CFC; `offset` below 256, naturally aligned for T.
template <typename T>
[[nodiscard]] T pci_read(PciAddress address, std::uint32_t offset) {
    pci_select(address, offset);
    return in<T>(static_cast<std::uint16_t>(pci_data_port + (offset & 3)));
}

template <typename T>
void pci_write(PciAddress address, std::uint32_t offset, T value) {
    pci_select(address, offset);
    out<T>(static_cast<std::uint16_t>(pci_data_port + (offset & 3)), value);
}

/// Where a register is in the ECAM window at `base`.
[[nodiscard]] inline std::uint64_t ecam_address(std::uint64_t base, PciAddress address,
                                                std::uint32_t offset) {
    return base + (std::uint64_t{address} << 12) + offset;
}

/// Calls `visit(address)` for every function on buses 0 to `last_bus`.
template <typename Visit>
void for_each_pci_function(std::uint32_t last_bus, Visit visit) {
    for (std::uint32_t device = 0; device < (last_bus + 1) * 32; ++device) {
        for (std::uint32_t function = 0; function < 8; ++function) {
            const auto address = static_cast<PciAddress>(device * 8 + function);
            if (pci_read<std::uint16_t>(address, 0) == 0xFFFF) {
                if (function == 0) {
                    break;
                }
                continue;
            }
            visit(address);
            const bool multi_function = (pci_read<std::uint8_t>(address, 0x0E) & 0x80) != 0;
            if (function == 0 && !multi_function) {
                break;
            }
        }
    }
}

}  // namespace cupule::guest
