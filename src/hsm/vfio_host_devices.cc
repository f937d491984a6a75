#include "hsm/vfio_host_devices.h"

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "passthrough/host_checks.h"
#include "passthrough/vfio_device.h"

namespace cupule::hsm {
namespace {

passthrough::HostAddress host_address(io::PciAddress address) {
    return {.bus = address.bus, .device = address.device, .function = address.function};
}

}  // namespace

VfioHostDevices::~VfioHostDevices() {
    while (!open_.empty()) {
        const passthrough::HostAddress address = open_.begin()->first;
        given_back({address.bus, address.device, address.function});
    }
}

base::Result<std::unique_ptr<passthrough::HostDevice>> VfioHostDevices::open(
    io::PciAddress address, std::span<const RamPiece> ram, bool intx) {
    const passthrough::HostAddress place = host_address(address);
    CUPULE_TRY_ASSIGN(const auto host, passthrough::HostTopology::read());
    const passthrough::SlotText slot{.address = place, .keep_gsi = intx};
    std::vector<passthrough::SlotText> others = open_slots();
    std::vector<const passthrough::SlotText*> slots{&slot};
    for (const passthrough::SlotText& other : others) {
        slots.push_back(&other);
    }
    CUPULE_TRY(passthrough::check_host_functions(host, slots));
    const passthrough::HostFunction& function = *host.find(place);
    const bool borrowed = passthrough::must_bind(function, slot);
    if (borrowed) {
        CUPULE_TRY(binding_.bind(function, passthrough::BindingTime::until_run_ends));
    }
    const auto record = binding_.record(function);
    open_[place] = {
        .borrowed =
            borrowed || (record && record->time == passthrough::BindingTime::until_run_ends),
        .intx = intx};
    const auto fail =
        [&](base::Error error) -> base::Result<std::unique_ptr<passthrough::HostDevice>> {
        given_back(address);
        return std::unexpected(std::move(error));
    };
    const passthrough::VfioPlace at{.name = place.text(), .group = *function.iommu_group};
    if (auto entered = admit(at); !entered) {
        return fail(std::move(entered.error()));
    }
    if (auto mapped = map_ram(ram); !mapped) {
        return fail(std::move(mapped.error()));
    }
    auto device = passthrough::VfioDevice::open(kernel_, *container_, at,
                                                passthrough::ResetChoice::best_when_all_are_in);
    if (!device) {
        return fail(std::move(device.error()));
    }
    const auto now = passthrough::HostTopology::read();
    if (auto checked = now ? passthrough::check_routed_interrupt(*now, slot, slots)
                           : base::Result<void>(std::unexpected(now.error()));
        !checked) {
        *device = nullptr;
        return fail(std::move(checked.error()));
    }
    return std::move(*device);
}

std::vector<passthrough::SlotText> VfioHostDevices::open_slots() const {
    std::vector<passthrough::SlotText> slots;
    for (const auto& [address, open] : open_) {
        slots.push_back({.address = address, .keep_gsi = open.intx});
    }
    return slots;
}

base::Result<void> VfioHostDevices::admit(const passthrough::VfioPlace& place) {
    if (!container_) {
        CUPULE_TRY_ASSIGN(container_, passthrough::VfioContainer::create(kernel_, listener_));
    }
    return container_->admit(place);
}

base::Result<void> VfioHostDevices::map_ram(std::span<const RamPiece> ram) {
    if (ram_mapped_) {
        return {};
    }
    // What a refusal leaves mapped goes with the domain.
    for (const RamPiece& piece : ram) {
        CUPULE_TRY(container_->map(piece.base, piece.size, piece.host));
    }
    ram_mapped_ = true;
    return {};
}

base::Result<void> VfioHostDevices::add_ram(const RamPiece& piece) {
    return ram_mapped_ ? container_->map(piece.base, piece.size, piece.host) : base::Result<void>{};
}

void VfioHostDevices::given_back(io::PciAddress address) {
    const passthrough::HostAddress place = host_address(address);
    const auto found = open_.find(place);
    if (found == open_.end()) {
        return;
    }
    const bool borrowed = found->second.borrowed;
    open_.erase(found);
    if (open_.empty()) {
        close_domain();
    }
    if (!borrowed) {
        return;
    }
    const auto host = passthrough::HostTopology::read();
    const passthrough::HostFunction* const function = host ? host->find(place) : nullptr;
    if (function == nullptr) {
        return;
    }
    if (const auto given = binding_.unbind(*function); !given) {
        base::log_warning("{}: its driver does not have it back: {}", place.text(),
                          given.error().message);
    }
}

void VfioHostDevices::close_domain() {
    container_.reset();
    ram_mapped_ = false;
}

}  // namespace cupule::hsm
