#include "hsm/vm_session.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "hypervisor/acrn/acrn_abi.h"

namespace cupule::hsm {
namespace {

/// The page of VM_INTR_MONITOR: a command, how many numbers follow, and these.
struct InterruptMonitorHeader {
    std::uint32_t command = 0;
    std::uint32_t count = 0;
};

bool has_reserved(const acrn_vcpu_regs& regs) {
    bool any = false;
    for (const auto value : regs.reserved) {
        any |= value != 0;
    }
    for (const auto value : regs.vcpu_regs.reserved_32) {
        any |= value != 0;
    }
    for (const auto value : regs.vcpu_regs.reserved_64) {
        any |= value != 0;
    }
    for (std::size_t i = 0; i < std::size(regs.vcpu_regs.gdt.reserved); ++i) {
        any |= (regs.vcpu_regs.gdt.reserved[i] | regs.vcpu_regs.idt.reserved[i]) != 0;
    }
    return any;
}

/// Loads the T at `argument` and hands it to `use`; EFAULT where there is none.
template <class T, class Use>
int with(std::uint64_t argument, const ClientProcess& caller, Use use) {
    const std::optional<T> value = caller.load<T>(argument);
    return value ? use(*value) : -EFAULT;
}

int set_vcpu_regs(UserVm& vm, std::uint64_t argument, const ClientProcess& caller) {
    return with<acrn_vcpu_regs>(argument, caller, [&](const acrn_vcpu_regs& regs) {
        return has_reserved(regs) ? -EINVAL : vm.set_vcpu_regs(regs);
    });
}

int set_memseg(UserVm& vm, std::uint64_t argument, const ClientProcess& caller) {
    return with<acrn_vm_memmap>(argument, caller, [&](const acrn_vm_memmap& segment) {
        switch (segment.type) {
            case ACRN_MEMMAP_RAM:
                return vm.map_ram(segment, caller);
            case ACRN_MEMMAP_MMIO:
                return vm.add_device(
                    -EPERM, [&](VmDevices& devices) { return devices.map_host_memory(segment); });
            default:
                return -EINVAL;
        }
    });
}

int unset_memseg(UserVm& vm, std::uint64_t argument, const ClientProcess& caller) {
    return with<acrn_vm_memmap>(argument, caller, [&](const acrn_vm_memmap& segment) {
        if (segment.type != ACRN_MEMMAP_MMIO) {
            return -EINVAL;
        }
        return vm.remove_device(
            -EPERM, [&](VmDevices& devices) { return devices.unmap_host_memory(segment); });
    });
}

int notify(UserVm& vm, std::uint64_t argument, const ClientProcess& caller) {
    return with<acrn_ioreq_notify>(argument, caller, [&](const acrn_ioreq_notify& request) {
        return request.reserved != 0 ? -EINVAL : vm.requests().notify(request.vcpu);
    });
}

/// Nothing is passed through, so there is nothing to count and nothing to delay.
int monitor_interrupts(std::uint64_t argument, const ClientProcess& caller) {
    auto header = caller.load<InterruptMonitorHeader>(argument);
    if (!header) {
        return -EFAULT;
    }
    header->count = 0;
    return caller.store(argument, *header) ? 0 : -EFAULT;
}

/// The host's performance and idle states are not the guest's affair: there are none.
int cpu_state(std::uint64_t argument, const ClientProcess& caller) {
    return with<std::uint64_t>(argument, caller, [&](std::uint64_t command) {
        switch (command & PMCMD_TYPE_MASK) {
            case ACRN_PMCMD_GET_PX_CNT:
            case ACRN_PMCMD_GET_CX_CNT:
                return caller.store(argument, std::uint64_t{0}) ? 0 : -EFAULT;
            case ACRN_PMCMD_GET_PX_DATA:
            case ACRN_PMCMD_GET_CX_DATA:
                return -EINVAL;
            default:
                return 0;
        }
    });
}

/// A call that brings a device, or takes it away, with the T at `argument`.
template <class T, auto Change>
int add_device(UserVm& vm, std::uint64_t argument, const ClientProcess& caller,
               int refusal = -EINVAL) {
    return with<T>(argument, caller, [&](const T& value) {
        return vm.add_device(refusal, [&](VmDevices& devices) { return (devices.*Change)(value); });
    });
}

template <class T, auto Change>
int remove_device(UserVm& vm, std::uint64_t argument, const ClientProcess& caller,
                  int refusal = -EINVAL) {
    return with<T>(argument, caller, [&](const T& value) {
        return vm.remove_device(refusal,
                                [&](VmDevices& devices) { return (devices.*Change)(value); });
    });
}

int change_devices(UserVm& vm, std::uint32_t request, std::uint64_t argument,
                   const ClientProcess& caller) {
    switch (request) {
        case ACRN_IOCTL_ASSIGN_PCIDEV:
            return add_device<acrn_pcidev, &VmDevices::assign>(vm, argument, caller);
        case ACRN_IOCTL_DEASSIGN_PCIDEV:
            return remove_device<acrn_pcidev, &VmDevices::deassign>(vm, argument, caller);
        case ACRN_IOCTL_SET_PTDEV_INTR:
            return add_device<acrn_ptdev_irq, &VmDevices::connect_intx>(vm, argument, caller,
                                                                        -EPERM);
        case ACRN_IOCTL_RESET_PTDEV_INTR:
            return remove_device<acrn_ptdev_irq, &VmDevices::disconnect_intx>(vm, argument, caller,
                                                                              -EPERM);
        case ACRN_IOCTL_ASSIGN_MMIODEV:
            return add_device<acrn_mmiodev, &VmDevices::assign_memory>(vm, argument, caller);
        case ACRN_IOCTL_DEASSIGN_MMIODEV:
            return remove_device<acrn_mmiodev, &VmDevices::deassign_memory>(vm, argument, caller);
        case ACRN_IOCTL_CREATE_VDEV:
            return add_device<acrn_vdev, &VmDevices::create>(vm, argument, caller);
        case ACRN_IOCTL_DESTROY_VDEV:
            return remove_device<acrn_vdev, &VmDevices::destroy>(vm, argument, caller);
        default:
            return -ENOTTY;
    }
}

int call_vm(UserVm& vm, std::uint32_t request, std::uint64_t argument,
            const ClientProcess& caller) {
    switch (request) {
        case ACRN_IOCTL_START_VM:
            return vm.start();
        case ACRN_IOCTL_PAUSE_VM:
            return vm.pause();
        case ACRN_IOCTL_RESET_VM:
            return vm.reset();
        case ACRN_IOCTL_SET_VCPU_REGS:
            return set_vcpu_regs(vm, argument, caller);
        case ACRN_IOCTL_INJECT_MSI:
            return with<acrn_msi_entry>(argument, caller, [&](const acrn_msi_entry& entry) {
                return vm.inject_msi(entry);
            });
        case ACRN_IOCTL_VM_INTR_MONITOR:
            return monitor_interrupts(argument, caller);
        case ACRN_IOCTL_SET_IRQLINE:
            return vm.set_irqline(argument);
        case ACRN_IOCTL_NOTIFY_REQUEST_FINISH:
            return notify(vm, argument, caller);
        case ACRN_IOCTL_CREATE_IOREQ_CLIENT:
            return vm.requests().create_client();
        case ACRN_IOCTL_DESTROY_IOREQ_CLIENT:
            return vm.requests().destroy_client();
        case ACRN_IOCTL_CLEAR_VM_IOREQ:
            vm.requests().clear();
            return 0;
        case ACRN_IOCTL_SET_MEMSEG:
            return set_memseg(vm, argument, caller);
        case ACRN_IOCTL_UNSET_MEMSEG:
            return unset_memseg(vm, argument, caller);
        case ACRN_IOCTL_PM_GET_CPU_STATE:
            return cpu_state(argument, caller);
        case ACRN_IOCTL_IOEVENTFD:
            return with<acrn_ioeventfd>(argument, caller, [&](const acrn_ioeventfd& change) {
                return vm.eventfds().change_doorbell(change, caller);
            });
        case ACRN_IOCTL_IRQFD:
            return with<acrn_irqfd>(argument, caller, [&](const acrn_irqfd& change) {
                return vm.eventfds().change_interrupt(change, caller);
            });
        case hypervisor::acrn::ioctl_setup_asyncio:
            return vm.set_up_asyncio(caller, argument);
        case hypervisor::acrn::ioctl_setup_vm_event_ring:
            return vm.events().set_page(caller.keep(), argument);
        case hypervisor::acrn::ioctl_setup_vm_event_fd:
            return vm.events().set_eventfd(static_cast<int>(argument), caller);
        default:
            return change_devices(vm, request, argument, caller);
    }
}

}  // namespace

std::shared_ptr<UserVm> VmSession::vm() {
    event::MutexLock lock(mutex_);
    return vm_;
}

int VmSession::call(std::uint32_t request, std::uint64_t argument, const ClientProcess& caller) {
    if (request == ACRN_IOCTL_CREATE_VM) {
        return create(argument, caller);
    }
    const std::shared_ptr<UserVm> vm = this->vm();
    if (!vm) {
        return -EINVAL;
    }
    if (request == ACRN_IOCTL_DESTROY_VM) {
        return destroy(vm);
    }
    return call_vm(*vm, request, argument, caller);
}

int VmSession::create(std::uint64_t argument, const ClientProcess& caller) {
    auto creation = caller.load<acrn_vm_creation>(argument);
    if (!creation) {
        return -EFAULT;
    }
    if (creation->reserved0 != 0 || creation->reserved1 != 0) {
        return -EINVAL;
    }
    {
        event::MutexLock lock(mutex_);
        if (vm_ || creating_) {
            return -EINVAL;
        }
        creating_ = true;
    }
    auto vm = UserVm::create(service_, *creation, caller.keep());
    const bool told = vm && caller.store(argument, *creation);
    event::MutexLock lock(mutex_);
    creating_ = false;
    if (!vm) {
        base::log_warning("a VM is refused: {}", vm.error().message);
        return -EINVAL;
    }
    if (!told) {
        return -EFAULT;
    }
    vm_ = std::move(*vm);
    return 0;
}

int VmSession::destroy(const std::shared_ptr<UserVm>& vm) {
    if (const int result = vm->check_destroy(); result < 0) {
        return result;
    }
    release();
    return 0;
}

void VmSession::attach(std::uint64_t id, RequestSlots::AttachDone done) {
    if (const std::shared_ptr<UserVm> vm = this->vm()) {
        vm->requests().attach(id, std::move(done));
    } else {
        done(-EINVAL);
    }
}

void VmSession::interrupt(std::uint64_t id) {
    if (const std::shared_ptr<UserVm> vm = this->vm()) {
        vm->requests().interrupt(id);
    }
}

void VmSession::release() {
    std::shared_ptr<UserVm> ending;
    {
        event::MutexLock lock(mutex_);
        ending = std::exchange(vm_, nullptr);
    }
    if (ending) {
        // Another call may still hold the VM for a moment: what waits must not keep it longer.
        ending->stop();
    }
}

}  // namespace cupule::hsm
