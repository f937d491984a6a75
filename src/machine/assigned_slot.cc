#include "machine/assigned_slot.h"

#include <utility>

#include "passthrough/config_image.h"
#include "pci/config_registers.h"

namespace cupule::machine {
namespace {

/// Of a host with one PCI segment, as ACRN's.
io::PciAddress bdf_of(const passthrough::HostAddress& address) {
    return {.bus = address.bus, .device = address.device, .function = address.function};
}

}  // namespace

AssignedSlot::AssignedSlot(hypervisor::DeviceAssigner& assigner, io::PciAddress guest,
                           passthrough::HostAddress host, std::uint32_t host_gsi,
                           pci::Function& function, event::Monitor& monitor)
    : assigner_(assigner),
      guest_(guest),
      host_(bdf_of(host)),
      host_gsi_(host_gsi),
      function_(function),
      monitor_(monitor) {}

void AssignedSlot::set_port(pci::Bridge& bridge, passthrough::HostAddress host,
                            const std::vector<std::uint8_t>& config) {
    using namespace passthrough;
    bridge_ = &bridge;
    port_ = {.guest = guest_, .host = bdf_of(host)};
    const ConfigReader read = config_reader(config);
    const ConfigImage image = read_config_image(read, static_cast<unsigned>(config.size()));
    if (const auto* const express = image.find(pci::capability::express)) {
        constexpr std::uint64_t capabilities = 4;      // Device Capabilities
        constexpr std::uint64_t max_payload_mask = 7;  // Max_Payload_Size Supported
        port_.max_payload =
            static_cast<std::uint8_t>(read(express->offset + capabilities, 4) & max_payload_mask);
    }
    if (const auto* const time = image.find_extended(host_capability::precision_time_measurement)) {
        port_.time_offset = time->offset;
    }
}

base::Result<void> AssignedSlot::assign() {
    hypervisor::AssignedFunction wanted{.guest = guest_, .host = host_, .model_has_rom = has_rom_};
    if (bridge_ != nullptr) {
        port_.secondary_bus = bridge_->bus_numbers().secondary;
        CUPULE_TRY(assigner_.create(port_));
        made_port_ = port_;
        wanted.guest = {.bus = port_.secondary_bus, .device = 0, .function = 0};
    }
    {
        event::MutexLock lock(monitor_);
        const pci::ConfigSpace& config = function_.config();
        wanted.interrupt_line = config.get<std::uint8_t>(pci::config::interrupt_line);
        wanted.interrupt_pin = config.get<std::uint8_t>(pci::config::interrupt_pin);
        for (unsigned bar = 0; bar < wanted.bars.size(); ++bar) {
            wanted.bars[bar] =
                config.get<std::uint32_t>(static_cast<std::uint16_t>(pci::config::bar0 + 4 * bar));
        }
    }
    CUPULE_TRY(assigner_.assign(wanted));
    assigned_ = wanted;
    if (!gsi_) {
        return {};
    }
    const hypervisor::AssignedIntx intx{
        .guest = wanted.guest, .host = host_, .gsi = *gsi_, .host_gsi = host_gsi_};
    CUPULE_TRY(assigner_.connect_intx(intx));
    intx_ = intx;
    return {};
}

void AssignedSlot::deassign() {
    if (const auto intx = std::exchange(intx_, std::nullopt)) {
        assigner_.disconnect_intx(*intx);
    }
    if (const auto assigned = std::exchange(assigned_, std::nullopt)) {
        assigner_.deassign(*assigned);
    }
    if (const auto port = std::exchange(made_port_, std::nullopt)) {
        assigner_.destroy(*port);
    }
}

}  // namespace cupule::machine
