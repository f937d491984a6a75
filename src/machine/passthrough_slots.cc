#include "machine/passthrough_slots.h"

#include <utility>

#include "base/log.h"
#include "passthrough/vfio_device.h"

namespace cupule::machine {
namespace {

std::string place_of(const SlotOptions& slot) {
    return fmt::format("-s {}:{},{}", slot.slot, slot.function, slot.device);
}

passthrough::ResetChoice reset_choice(const passthrough::SlotText& text) {
    if (text.no_reset) {
        return passthrough::ResetChoice::never;
    }
    return text.d3hot_reset ? passthrough::ResetChoice::power_state_too
                            : passthrough::ResetChoice::best;
}

}  // namespace

struct PassthroughSlots::Slot {
    SlotOptions place;
    passthrough::SlotText text;
    const passthrough::HostFunction* host = nullptr;
    std::unique_ptr<passthrough::PassthroughDevice> device{};
    event::Monitor* monitor = nullptr;
};

PassthroughSlots::PassthroughSlots(const PciDeviceContext& context) : context_(context) {}

PassthroughSlots::~PassthroughSlots() {
    slots_.clear();
    if (const auto unmapped = unmap_memory(); !unmapped) {
        base::log_warning("{}", unmapped.error().message);
    }
}

base::Result<std::unique_ptr<PassthroughSlots>> PassthroughSlots::create(
    const std::vector<SlotOptions>& slots, const PciDeviceContext& context) {
    std::unique_ptr<PassthroughSlots> made(new PassthroughSlots(context));
    for (const SlotOptions& slot : slots) {
        if (slot.device != "passthru") {
            continue;
        }
        auto text = passthrough::parse_slot_text(slot.options);
        if (!text) {
            return std::unexpected(text.error().in(place_of(slot)));
        }
        made->slots_.push_back(
            std::make_unique<Slot>(Slot{.place = slot, .text = std::move(*text)}));
    }
    return made;
}

base::Result<passthrough::VfioContainer*> PassthroughSlots::container() {
    if (!container_) {
        CUPULE_TRY_ASSIGN(container_, passthrough::VfioContainer::create());
    }
    return container_.get();
}

base::Result<std::unique_ptr<passthrough::HostDevice>> PassthroughSlots::open_host(
    const Slot& slot) {
    CUPULE_TRY_ASSIGN(const auto topology, passthrough::HostTopology::read());
    const passthrough::HostFunction* host = topology.find(*slot.text.address);
    if (host == nullptr || !host->iommu_group) {
        return base::fail("no such device");
    }
    CUPULE_TRY_ASSIGN(passthrough::VfioContainer* const domain, container());
    CUPULE_TRY(domain->add_group(*host->iommu_group));
    CUPULE_TRY(map_memory());
    CUPULE_TRY_ASSIGN(auto device, passthrough::VfioDevice::open(*domain, *host->iommu_group,
                                                                 slot.text.address->text(),
                                                                 reset_choice(slot.text)));
    return device;
}

base::Result<void> PassthroughSlots::add(const SlotOptions& place, pci::Bus& root) {
    for (const auto& slot : slots_) {
        if (slot->place.slot != place.slot || slot->place.function != place.function) {
            continue;
        }
        auto host = open_host(*slot);
        if (!host) {
            return std::unexpected(host.error().in(place_of(place)));
        }
        slot->monitor = &context_.parts.new_monitor();
        auto device = passthrough::PassthroughDevice::create(
            std::move(*host), {.keep_intx = slot->text.keep_gsi},
            {.vm = context_.vm, .loop = context_.loop, .monitor = *slot->monitor});
        if (!device) {
            return std::unexpected(device.error().in(place_of(place)));
        }
        slot->device = std::move(*device);
        CUPULE_TRY(root.add(place.slot, place.function, slot->device->function(), *slot->monitor,
                            place.device));
        context_.parts.add(
            fmt::format("00:{:02x}.{} {}", place.slot, place.function, place.device),
            *slot->device, *slot->monitor);
    }
    return {};
}

void PassthroughSlots::connect_intx(const pci::IntxRouter& router) {
    for (const auto& slot : slots_) {
        const auto gsi = router.gsi_of(slot->device->function());
        if (gsi) {
            event::MutexLock lock(*slot->monitor);
            slot->device->connect_intx(*gsi);
        }
    }
}

base::Result<void> PassthroughSlots::unmap_memory() {
    if (!container_ || !std::exchange(memory_mapped_, false)) {
        return {};
    }
    return passthrough::unmap_guest_memory(*container_, context_.memory);
}

base::Result<void> PassthroughSlots::map_memory() {
    if (!container_ || memory_mapped_) {
        return {};
    }
    CUPULE_TRY(passthrough::map_guest_memory(*container_, context_.memory));
    memory_mapped_ = true;
    return {};
}

}  // namespace cupule::machine
