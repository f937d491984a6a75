#include "pci/bus.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "pci/bridge.h"

namespace cupule::pci {

base::Result<void> Bus::add(unsigned device, unsigned number, Function& function,
                            event::Monitor& monitor, std::string name) {
    return add_entry(device, number,
                     {.function = &function, .monitor = &monitor, .name = std::move(name)});
}

base::Result<void> Bus::add(unsigned device, unsigned number, Bridge& bridge,
                            event::Monitor& monitor, std::string name) {
    CUPULE_TRY(add_entry(device, number,
                         {.function = &bridge.function(),
                          .monitor = &monitor,
                          .bridge = &bridge,
                          .name = std::move(name)}));
    bridges_.push_back(at(device, number));
    return {};
}

base::Result<void> Bus::add_entry(unsigned device, unsigned number, BusEntry entry) {
    if (device >= devices_per_bus || number >= functions_per_device) {
        return base::fail(
            "pci slot {}:{} of '{}' does not exist: slots are 0 to 31, functions 0 to 7", device,
            number, entry.name);
    }
    BusEntry& place = entries_[device][number];
    if (place.function != nullptr) {
        return base::fail("pci slot {}:{} is wanted by '{}' and taken by '{}'", device, number,
                          entry.name, place.name);
    }
    place = std::move(entry);
    event::MutexLock lock(*place.monitor);
    place.function->attach({.ports = &spaces_.ports,
                            .memory = &spaces_.memory,
                            .monitor = place.monitor,
                            .name = fmt::format("{:02x}.{} {}", device, number, place.name)});
    update_multi_function(device);
    return {};
}

void Bus::update_multi_function(unsigned device) {
    auto& functions = entries_[device];
    const auto present = std::ranges::count_if(
        functions, [](const BusEntry& entry) { return entry.function != nullptr; });
    for (BusEntry& entry : functions) {
        if (entry.function != nullptr) {
            entry.function->set_multi_function(present > 1);
        }
    }
}

std::optional<unsigned> Bus::free_device() const {
    for (unsigned device = 0; device < devices_per_bus; ++device) {
        if (std::ranges::all_of(entries_[device],
                                [](const BusEntry& entry) { return entry.function == nullptr; })) {
            return device;
        }
    }
    return std::nullopt;
}

const BusEntry* Bus::at(unsigned device, unsigned number) const {
    CUPULE_ASSERT(device < devices_per_bus && number < functions_per_device);
    const BusEntry& entry = entries_[device][number];
    return entry.function != nullptr ? &entry : nullptr;
}

base::Result<void> Bus::validate() const {
    for (unsigned device = 0; device < devices_per_bus; ++device) {
        if (entries_[device][0].function != nullptr) {
            continue;
        }
        for (unsigned number = 1; number < functions_per_device; ++number) {
            const BusEntry& entry = entries_[device][number];
            if (entry.function != nullptr) {
                return base::fail(
                    "pci slot {}:{} ('{}') has no function 0 beside it, so a guest would not find "
                    "it: put a device at {}:0 too",
                    device, number, entry.name, device);
            }
        }
    }
    for (const BusEntry* entry : bridges_) {
        if (auto behind = entry->bridge->secondary().validate(); !behind) {
            return std::unexpected(behind.error().in(entry->name));
        }
    }
    return {};
}

void Bus::for_each(
    const std::function<void(unsigned device, unsigned number, const BusEntry&)>& visit) const {
    for (unsigned device = 0; device < devices_per_bus; ++device) {
        for (unsigned number = 0; number < functions_per_device; ++number) {
            if (const BusEntry* entry = at(device, number)) {
                visit(device, number, *entry);
            }
        }
    }
}

}  // namespace cupule::pci
