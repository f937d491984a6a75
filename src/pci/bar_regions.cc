#include "pci/bar_regions.h"

#include "base/assert.h"
#include "base/bits.h"

namespace cupule::pci {

void BarRegions::add(std::uint64_t offset, std::uint64_t size, io::IoHandler& handler) {
    CUPULE_ASSERT(size != 0);
    for (const Region& other : regions_) {
        CUPULE_ASSERT(offset >= other.offset + other.size || offset + size <= other.offset);
    }
    regions_.push_back({.offset = offset, .size = size, .handler = &handler});
}

const BarRegions::Region* BarRegions::find(std::uint64_t offset, unsigned size) const {
    for (const Region& region : regions_) {
        if (base::contains(region.offset, region.size, offset, size)) {
            return &region;
        }
    }
    return nullptr;
}

std::uint64_t BarRegions::read(std::uint64_t offset, unsigned size) {
    const Region* region = find(offset, size);
    return region != nullptr ? region->handler->read(offset - region->offset, size)
                             : base::ones(size);
}

void BarRegions::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (const Region* region = find(offset, size)) {
        region->handler->write(offset - region->offset, size, value);
    }
}

std::string_view BarRegions::register_name(std::uint64_t offset) const {
    const Region* region = find(offset, 1);
    return region != nullptr ? region->handler->register_name(offset - region->offset)
                             : std::string_view{};
}

}  // namespace cupule::pci
