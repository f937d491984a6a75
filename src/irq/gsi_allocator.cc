#include "irq/gsi_allocator.h"

#include <algorithm>

#include "base/assert.h"

namespace cupule::irq {

GsiAllocator::GsiAllocator(Gsi first, Gsi last) : first_(first) {
    CUPULE_ASSERT(first <= last);
    users_.resize(last.value - first.value + 1);
}

Gsi GsiAllocator::allocate() {
    const auto least = std::ranges::min_element(users_);
    ++*least;
    return {first_.value + static_cast<std::uint32_t>(least - users_.begin())};
}

unsigned GsiAllocator::users(Gsi gsi) const {
    CUPULE_ASSERT(gsi >= first_ && gsi.value - first_.value < users_.size());
    return users_[gsi.value - first_.value];
}

}  // namespace cupule::irq
