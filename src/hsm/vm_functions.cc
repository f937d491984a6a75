#include "hsm/vm_functions.h"

#include <utility>

#include "base/bits.h"
#include "pci/config_registers.h"

namespace cupule::hsm {
namespace {

constexpr std::uint64_t last_port = 0xFFFF;
constexpr std::uint64_t last_physical_address = base::mask(52);
/// Where ACRN has the memory window of configuration space.
constexpr std::uint64_t ecam_base = 0xE000'0000;
constexpr std::uint64_t ecam_size = 0x1000'0000;

bool is_rom_register(std::uint64_t offset) {
    return offset >= pci::config::expansion_rom && offset < pci::config::expansion_rom + 4U;
}

}  // namespace

VmFunctions::VmFunctions(unsigned vcpus)
    : ports_("port", last_port, vcpus),
      memory_("memory", last_physical_address, vcpus),
      ecam_(*this) {}

VmFunctions::~VmFunctions() {
    while (!entries_.empty()) {
        remove(io::PciAddress::from_routing_id(entries_.begin()->first));
    }
}

void VmFunctions::add(const FunctionPlace& place, std::unique_ptr<event::Monitor> monitor,
                      std::unique_ptr<VmFunction> function) {
    Entry& entry = entries_[place.bdf.routing_id()];
    entry = {.place = place, .monitor = std::move(monitor), .function = std::move(function)};
    event::MutexLock lock(*entry.monitor);
    entry.function->function().attach({.ports = &ports_,
                                       .memory = &memory_,
                                       .monitor = entry.monitor.get(),
                                       .name = "hypervisor's function"});
    settle(entry);
}

void VmFunctions::settle(const Entry& entry) {
    pci::Function& function = entry.function->function();
    const bool is_endpoint = function.attributes().header_type == pci::HeaderType::endpoint;
    for (unsigned bar = 0; is_endpoint && bar < entry.place.bars.size(); ++bar) {
        function.write_config(pci::config::bar0 + 4ULL * bar, 4, entry.place.bars[bar]);
    }
    function.write_config(pci::config::interrupt_line, 1, entry.place.interrupt_line);
}

VmFunction* VmFunctions::find(io::PciAddress bdf) const {
    const auto found = entries_.find(bdf.routing_id());
    return found != entries_.end() ? found->second.function.get() : nullptr;
}

event::Monitor& VmFunctions::monitor(io::PciAddress bdf) const {
    return *entries_.at(bdf.routing_id()).monitor;
}

void VmFunctions::remove(io::PciAddress bdf) {
    const auto found = entries_.find(bdf.routing_id());
    if (found == entries_.end()) {
        return;
    }
    {
        event::MutexLock lock(*found->second.monitor);
        // Its BARs leave the address spaces.
        found->second.function->function().remove();
    }
    entries_.erase(found);
}

void VmFunctions::reset() {
    for (const auto& [bdf, entry] : entries_) {
        event::MutexLock lock(*entry.monitor);
        entry.function->reset();
        settle(entry);
    }
}

bool VmFunctions::handle(io::IoRequest& request) {
    if (entries_.empty()) {
        return false;
    }
    if (request.kind == io::IoKind::pci_config) {
        return handle_config(request, request.bdf, request.address);
    }
    const bool is_memory = request.kind == io::IoKind::mmio;
    if (is_memory && base::contains(ecam_base, ecam_size, request.address, request.size)) {
        const std::uint64_t offset = request.address - ecam_base;
        return handle_config(
            request, io::PciAddress::from_routing_id(static_cast<std::uint16_t>(offset >> 12)),
            offset & 0xFFF);
    }
    const auto lookup = (is_memory ? memory_ : ports_).lookup(request.vcpu);
    const io::AddressSpace::Visible* const range = lookup.find(request.address, request.size);
    if (range == nullptr) {
        return false;
    }
    const std::uint64_t offset = request.address - range->handler_base;
    event::MutexLock lock(*range->monitor);
    if (request.direction == io::IoDirection::read) {
        request.value = range->handler->read(offset, request.size) & base::ones(request.size);
    } else {
        range->handler->write(offset, request.size, request.value & base::ones(request.size));
    }
    request.state = io::IoState::complete;
    return true;
}

bool VmFunctions::handle_config(io::IoRequest& request, io::PciAddress bdf, std::uint64_t offset) {
    const auto found = entries_.find(bdf.routing_id());
    if (found == entries_.end() ||
        (found->second.place.client_has_rom && is_rom_register(offset))) {
        return false;
    }
    // The window's way of cutting up what is no natural access is that of both.
    const std::uint64_t place = std::uint64_t{bdf.routing_id()} << 12 | offset;
    if (request.direction == io::IoDirection::read) {
        request.value = ecam_.read(place, request.size) & base::ones(request.size);
    } else {
        ecam_.write(place, request.size, request.value & base::ones(request.size));
    }
    request.state = io::IoState::complete;
    return true;
}

std::uint64_t VmFunctions::read_config(io::PciAddress bdf, std::uint64_t offset, unsigned size) {
    const auto found = entries_.find(bdf.routing_id());
    if (found == entries_.end()) {
        return base::ones(size);
    }
    event::MutexLock lock(*found->second.monitor);
    return found->second.function->function().read_config(offset, size);
}

void VmFunctions::write_config(io::PciAddress bdf, std::uint64_t offset, unsigned size,
                               std::uint64_t value) {
    const auto found = entries_.find(bdf.routing_id());
    if (found == entries_.end()) {
        return;
    }
    event::MutexLock lock(*found->second.monitor);
    found->second.function->function().write_config(offset, size, value);
}

}  // namespace cupule::hsm
