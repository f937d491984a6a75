#include "hypervisor/acrn/acrn_device_assigner.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace cupule::hypervisor::acrn {
namespace {

std::string text(io::PciAddress address) {
    return fmt::format("{:02x}:{:02x}.{}", address.bus, address.device, address.function);
}

acrn_pcidev to_acrn(const AssignedFunction& function) {
    acrn_pcidev device{};
    device.type = function.model_has_rom ? ACRN_PTDEV_QUIRK_ASSIGN : 0;
    device.virt_bdf = function.guest.routing_id();
    device.phys_bdf = function.host.routing_id();
    device.intr_line = function.interrupt_line;
    device.intr_pin = function.interrupt_pin;
    std::ranges::copy(function.bars, device.bar);
    return device;
}

acrn_ptdev_irq to_acrn(const AssignedIntx& intx) {
    acrn_ptdev_irq irq{};
    irq.type = ACRN_PTDEV_IRQ_INTX;
    irq.virt_bdf = intx.guest.routing_id();
    irq.phys_bdf = intx.host.routing_id();
    irq.intx.virt_pin = intx.gsi.value;
    irq.intx.phys_pin = intx.host_gsi;
    return irq;
}

acrn_mmiodev to_acrn(const AssignedMemory& memory) {
    acrn_mmiodev device{};
    std::memcpy(device.name, memory.name.data(), std::min(memory.name.size(), sizeof device.name));
    device.res[0] = {.user_vm_pa = memory.guest.value,
                     .service_vm_pa = memory.host,
                     .size = memory.size,
                     .mem_type = ACRN_MEM_TYPE_UC};
    return device;
}

acrn_vdev make_vdev(std::uint16_t vendor, std::uint16_t id, io::PciAddress guest) {
    acrn_vdev device{};
    device.id.fields.vendor = vendor;
    device.id.fields.device = id;
    device.slot = guest.routing_id();
    return device;
}

acrn_vdev to_acrn(const HypervisorRootPort& port) {
    acrn_vdev device = make_vdev(root_port_vendor, root_port_device, port.guest);
    const RootPortArguments arguments{.host_bdf = port.host.routing_id(),
                                      .max_payload = port.max_payload,
                                      .primary_bus = port.guest.bus,
                                      .secondary_bus = port.secondary_bus,
                                      .subordinate_bus = port.secondary_bus,
                                      .ptm_capable = 1,
                                      .ptm_offset = port.time_offset};
    std::memcpy(device.args, &arguments, sizeof arguments);
    return device;
}

acrn_vdev to_acrn(const HypervisorSharedMemory& memory) {
    acrn_vdev device = make_vdev(shared_memory_vendor, shared_memory_device, memory.guest);
    std::ranges::copy(memory.bars, device.io_addr);
    device.io_size[shared_memory_bar] = memory.size;
    std::memcpy(device.args, memory.name.data(),
                std::min(memory.name.size(), shared_memory_name_size - 1));
    return device;
}

acrn_vdev to_acrn(const HypervisorSerial& serial) {
    acrn_vdev device = make_vdev(serial_vendor, serial_device, serial.guest);
    std::ranges::copy(serial.bars, device.io_addr);
    std::memcpy(device.args, &serial.index, sizeof serial.index);
    return device;
}

acrn_vdev to_acrn(const HypervisorFunction& function) {
    return std::visit([](const auto& one) { return to_acrn(one); }, function);
}

io::PciAddress guest_of(const HypervisorFunction& function) {
    return std::visit([](const auto& one) { return one.guest; }, function);
}

/// What cannot be undone is the hypervisor's to keep; nothing here can mend it.
void note(int result, const char* what, const std::string& whose) {
    if (result < 0) {
        base::log_warning("the hypervisor does not {} {}: {}", what, whose,
                          base::errno_text(-result));
    }
}

}  // namespace

base::Result<void> AcrnDeviceAssigner::assign(const AssignedFunction& function) {
    const int result = call(ACRN_IOCTL_ASSIGN_PCIDEV, to_acrn(function));
    if (result < 0) {
        const char* const hint = result == -ENODEV ? " (is it there, no bridge, and nobody else's?)"
                                 : result == -EBUSY ? " (somebody has it)"
                                                    : "";
        return base::fail_errno(-result, "the hypervisor does not assign the host's {} as {}{}",
                                text(function.host), text(function.guest), hint);
    }
    return {};
}

void AcrnDeviceAssigner::deassign(const AssignedFunction& function) {
    note(call(ACRN_IOCTL_DEASSIGN_PCIDEV, to_acrn(function)), "take back", text(function.host));
}

base::Result<void> AcrnDeviceAssigner::connect_intx(const AssignedIntx& intx) {
    const int result = call(ACRN_IOCTL_SET_PTDEV_INTR, to_acrn(intx));
    if (result < 0) {
        return base::fail_errno(-result,
                                "the hypervisor does not lead the host's GSI {} of {} to GSI {}",
                                intx.host_gsi, text(intx.host), intx.gsi.value);
    }
    return {};
}

void AcrnDeviceAssigner::disconnect_intx(const AssignedIntx& intx) {
    note(call(ACRN_IOCTL_RESET_PTDEV_INTR, to_acrn(intx)), "disconnect INTx of", text(intx.host));
}

base::Result<void> AcrnDeviceAssigner::assign_memory(const AssignedMemory& memory) {
    const int result = call(ACRN_IOCTL_ASSIGN_MMIODEV, to_acrn(memory));
    if (result < 0) {
        return base::fail_errno(
            -result, "the hypervisor does not assign {:#x} bytes of the host at {:#x}{}",
            memory.size, memory.host, result == -ENOTTY ? " (its service module is too old)" : "");
    }
    return {};
}

void AcrnDeviceAssigner::deassign_memory(const AssignedMemory& memory) {
    note(call(ACRN_IOCTL_DEASSIGN_MMIODEV, to_acrn(memory)), "take back", memory.name);
}

base::Result<void> AcrnDeviceAssigner::create(const HypervisorFunction& function) {
    const acrn_vdev device = to_acrn(function);
    const int result = call(ACRN_IOCTL_CREATE_VDEV, device);
    if (result < 0) {
        return base::fail_errno(-result, "the hypervisor has no function {:04x}:{:04x} for {}{}",
                                device.id.fields.vendor, device.id.fields.device,
                                text(guest_of(function)),
                                result == -ENOTTY   ? " (its service module is too old)"
                                : result == -EINVAL ? " (is it in the hypervisor's scenario, by "
                                                      "this name and size?)"
                                                    : "");
    }
    return {};
}

void AcrnDeviceAssigner::destroy(const HypervisorFunction& function) {
    note(call(ACRN_IOCTL_DESTROY_VDEV, to_acrn(function)), "end its function",
         text(guest_of(function)));
}

}  // namespace cupule::hypervisor::acrn
