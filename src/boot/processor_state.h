#pragma once

#include <cstdint>

#include "base/error.h"
#include "hypervisor/vcpu_state.h"
#include "memory/guest_memory.h"

namespace cupule::boot {

/// Selectors of the loader's GDT: what Linux calls __BOOT_CS, __BOOT_DS and __BOOT_TSS.
inline constexpr std::uint16_t boot_code_selector = 0x10;
inline constexpr std::uint16_t boot_data_selector = 0x18;
inline constexpr std::uint16_t boot_task_selector = 0x20;

/// Writes the GDT for 32-bit protected mode and gives the state that begins at `entry` with flat
/// 4 GiB segments, paging and interrupts off, an empty IDT and a 32-bit TSS with base 0 and limit
/// 0x67 (the Xen PVH start ABI asks for it, the other protocols do not mind).
base::Result<hypervisor::VcpuState> enter_protected_mode(const memory::GuestMemory& memory,
                                                         std::uint32_t entry);

/// Writes GDT and page tables for long mode and gives the state that begins at `entry`. The first
/// 4 GiB are identity-mapped with 2 MiB pages, writable and executable.
base::Result<hypervisor::VcpuState> enter_long_mode(const memory::GuestMemory& memory,
                                                    std::uint64_t entry);

}  // namespace cupule::boot
