#include "machine/memory_layout.h"

#include <algorithm>

#include "machine/address_map.h"

namespace cupule::machine {

base::Result<MemoryLayout> make_memory_layout(std::uint64_t memory_size,
                                              memory::HugePages huge_pages) {
    MemoryLayout layout;
    layout.low_ram_end = std::min(memory_size, low_ram_end_max);
    const std::uint64_t high_size = memory_size - layout.low_ram_end;
    layout.high_ram_end = high_ram_base + high_size;
    if (layout.high_ram_end > pci_window_64_base) {
        return base::fail("{} MiB of guest memory reach into the 64-bit PCI window at {} GiB",
                          memory_size / mib, pci_window_64_base / gib);
    }
    layout.ram.huge_pages = huge_pages;
    layout.ram.pieces.push_back({{0}, layout.low_ram_end});
    if (high_size > 0) {
        layout.ram.pieces.push_back({{high_ram_base}, high_size});
    }
    using boot::E820Type;
    CUPULE_TRY(layout.e820.add({0, conventional_ram_end, E820Type::ram}));
    CUPULE_TRY(
        layout.e820.add({firmware_tables_base, mib - firmware_tables_base, E820Type::reserved}));
    CUPULE_TRY(layout.e820.add({mib, layout.low_ram_end - mib, E820Type::ram}));
    CUPULE_TRY(layout.e820.add({ecam_base, high_ram_base - ecam_base, E820Type::reserved}));
    if (high_size > 0) {
        CUPULE_TRY(layout.e820.add({high_ram_base, high_size, E820Type::ram}));
    }
    return layout;
}

}  // namespace cupule::machine
