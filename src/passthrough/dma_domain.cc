#include "passthrough/dma_domain.h"

#include <span>

namespace cupule::passthrough {

base::Result<void> map_guest_memory(DmaDomain& domain, const memory::GuestMemory& memory) {
    const std::span<const memory::RamRegion> regions = memory.regions();
    for (std::size_t i = 0; i < regions.size(); ++i) {
        auto mapped = domain.map(regions[i].base, regions[i].size, regions[i].host);
        if (mapped) {
            continue;
        }
        for (const memory::RamRegion& before : regions.first(i)) {
            // The first refusal is what the user has to hear of.
            static_cast<void>(domain.unmap(before.base, before.size));
        }
        return mapped;
    }
    return {};
}

base::Result<void> unmap_guest_memory(DmaDomain& domain, const memory::GuestMemory& memory) {
    base::Result<void> result;
    for (const memory::RamRegion& region : memory.regions()) {
        if (auto unmapped = domain.unmap(region.base, region.size); !unmapped) {
            result = std::unexpected(unmapped.error());
        }
    }
    return result;
}

}  // namespace cupule::passthrough
