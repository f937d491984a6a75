#include "pci/config_router.h"

#include "base/bits.h"
#include "pci/bridge.h"

namespace cupule::pci {
namespace {

/// The bus with this number somewhere behind `bus`, or nullptr. Each step goes down one level, so
/// that a guest's numbers cannot make it go round.
const Bus* find_behind(const Bus& bus, std::uint8_t number) {
    const Bus* level = &bus;
    while (level != nullptr) {
        const Bus* next = nullptr;
        for (const BusEntry* entry : level->bridges()) {
            const Bridge::BusNumbers numbers = entry->bridge->bus_numbers();
            // Secondary 0 is the power-on value: the bridge forwards nothing yet.
            if (numbers.secondary == 0 || number < numbers.secondary ||
                number > numbers.subordinate) {
                continue;
            }
            if (number == numbers.secondary) {
                return &entry->bridge->secondary();
            }
            next = &entry->bridge->secondary();
            break;
        }
        level = next;
    }
    return nullptr;
}

}  // namespace

const BusEntry* ConfigRouter::find(io::PciAddress bdf) const {
    if (bdf.device >= devices_per_bus || bdf.function >= functions_per_device) {
        return nullptr;
    }
    const Bus* bus = bdf.bus == 0 ? &root_ : find_behind(root_, bdf.bus);
    return bus != nullptr ? bus->at(bdf.device, bdf.function) : nullptr;
}

std::uint64_t ConfigRouter::read_config(io::PciAddress bdf, std::uint64_t offset, unsigned size) {
    const BusEntry* entry = find(bdf);
    if (entry == nullptr) {
        return base::ones(size);
    }
    event::MutexLock lock(*entry->monitor);
    return entry->function->read_config(offset, size);
}

void ConfigRouter::write_config(io::PciAddress bdf, std::uint64_t offset, unsigned size,
                                std::uint64_t value) {
    const BusEntry* entry = find(bdf);
    if (entry == nullptr) {
        return;
    }
    event::MutexLock lock(*entry->monitor);
    entry->function->write_config(offset, size, value);
}

std::string_view ConfigRouter::function_name(io::PciAddress bdf) const {
    const BusEntry* entry = find(bdf);
    return entry != nullptr ? std::string_view(entry->name) : std::string_view{};
}

std::string_view ConfigRouter::config_register_name(std::uint64_t offset) const {
    return pci::config_register_name(offset);
}

}  // namespace cupule::pci
