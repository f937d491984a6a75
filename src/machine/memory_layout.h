#pragma once

#include <cstdint>

#include "base/error.h"
#include "boot/e820.h"
#include "memory/guest_memory.h"

namespace cupule::machine {

/// Where a guest's RAM lies, for the hypervisor and for the guest.
struct MemoryLayout {
    memory::RamLayout ram;
    boot::E820Map e820;
    std::uint64_t low_ram_end = 0;
    /// End of the RAM above 4 GiB, or 4 GiB when there is none.
    std::uint64_t high_ram_end = 0;
};

/// `memory_size` in bytes, a multiple of 4 KiB: up to 2 GiB below the PCI hole, the rest from 4
/// GiB.
base::Result<MemoryLayout> make_memory_layout(std::uint64_t memory_size,
                                              memory::HugePages huge_pages);

}  // namespace cupule::machine
