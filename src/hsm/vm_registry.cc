#include "hsm/vm_registry.h"

#include <algorithm>

namespace cupule::hsm {

VmRegistry::Claim::~Claim() {
    registry_.release(id_);
}

std::unique_ptr<VmRegistry::Claim> VmRegistry::claim(const std::string& name) {
    event::MutexLock lock(mutex_);
    const bool is_taken =
        std::ranges::any_of(names_, [&](const auto& item) { return item.second == name; });
    if (is_taken || names_.size() >= vms_max) {
        return nullptr;
    }
    std::uint16_t id = 1;  // 0 is the Service VM's.
    while (names_.contains(id)) {
        ++id;
    }
    names_.emplace(id, name);
    return std::make_unique<Claim>(*this, id);
}

void VmRegistry::release(std::uint16_t id) {
    event::MutexLock lock(mutex_);
    names_.erase(id);
}

}  // namespace cupule::hsm
