#include "hsm/user_vm.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/bits.h"
#include "base/field.h"
#include "base/log.h"
#include "hypervisor/acrn/acrn_vcpu_regs.h"

namespace cupule::hsm {
namespace {

using hypervisor::acrn::LineOperation;

constexpr std::uint64_t pci_address_port = 0xCF8;
constexpr std::uint64_t pci_data_port = 0xCFC;
constexpr std::uint64_t keyboard_port = 0x64;
constexpr std::uint64_t pulse_reset = 0xFE;
constexpr std::uint64_t reset_port = 0xCF9;
constexpr std::uint64_t pm1a_control_port = 0x404;

// Configuration mechanism #1 with ACRN's extended register bits (PCI Local Bus 3.0, 3.2.2.3.2).
constexpr std::uint32_t pci_enable = std::uint32_t{1} << 31;

// PM1 control (ACPI 6.5, 4.8.3.2.1).
constexpr std::uint64_t sleep_enable = 1U << 13;    // SLP_EN
constexpr std::uint64_t sleep_type_off = 5U << 10;  // SLP_TYP of S5

constexpr std::size_t segments_max = 256;

std::string name_of(const acrn_vm_creation& creation) {
    const char* const bytes = reinterpret_cast<const char*>(&creation.uuid);
    return {bytes, strnlen(bytes, sizeof creation.uuid)};
}

/// One vCPU on each physical CPU of the mask, in their order; one that floats without a mask.
base::Result<hypervisor::VmSpec> spec_of(const acrn_vm_creation& creation,
                                         const std::vector<PhysicalCpu>& cpus) {
    hypervisor::VmSpec spec{.name = name_of(creation)};
    const auto count = static_cast<unsigned>(std::popcount(creation.cpu_affinity));
    if (count > hypervisor::acrn::vcpus_max) {
        return base::fail_errno(EINVAL, "'{}' wants {} vCPUs, a VM has up to {}", spec.name, count,
                                hypervisor::acrn::vcpus_max);
    }
    spec.vcpus = std::max(count, 1U);
    for (unsigned cpu = 0; cpu < 64; ++cpu) {
        if ((creation.cpu_affinity & base::bit(cpu)) == 0) {
            continue;
        }
        if (cpu >= cpus.size() || !cpus[cpu].host_cpu) {
            return base::fail_errno(EINVAL, "'{}' wants physical CPU {}, which is not there",
                                    spec.name, cpu);
        }
        spec.cpu_affinity.push_back(*cpus[cpu].host_cpu);
        spec.apic_ids.push_back(cpus[cpu].lapic_id);
    }
    if (spec.apic_ids.empty()) {
        spec.apic_ids.push_back(0);
    }
    return spec;
}

}  // namespace

base::Result<std::shared_ptr<UserVm>> UserVm::create(
    ServiceParts& service, acrn_vm_creation& creation,
    const std::shared_ptr<const ClientProcess>& client) {
    CUPULE_TRY_ASSIGN(const hypervisor::VmSpec spec, spec_of(creation, service.cpus));
    auto claim = service.registry.claim(spec.name);
    if (!claim) {
        return base::fail_errno(EINVAL, "a VM named '{}' exists, or there are too many", spec.name);
    }
    CUPULE_TRY_ASSIGN(auto page, open_client_page(client, creation.ioreq_buf));
    CUPULE_TRY_ASSIGN(auto vm, service.make_vm(spec));
    creation.vmid = claim->id();
    creation.vcpu_num = static_cast<std::uint16_t>(spec.vcpus);
    return std::shared_ptr<UserVm>(new UserVm(service, std::move(claim), std::move(vm),
                                              std::move(page), spec.vcpus, creation.vm_flag));
}

UserVm::UserVm(ServiceParts& service, std::unique_ptr<VmRegistry::Claim> claim,
               std::unique_ptr<hypervisor::Vm> vm, std::unique_ptr<ClientPage> page, unsigned vcpus,
               std::uint64_t flags)
    : claim_(std::move(claim)),
      realtime_((flags & hypervisor::acrn::vm_flag_realtime) != 0),
      vm_(std::move(vm)),
      requests_(std::move(page), vcpus,
                (flags & hypervisor::acrn::vm_flag_completion_polling) != 0),
      eventfds_(*vm_),
      devices_(service.devices, *vm_, claim_->id(), vcpus) {}

UserVm::~UserVm() {
    stop();
}

void UserVm::stop() {
    event::MutexLock lock(life_);
    vm_->request_pause();
    requests_.abandon();
    vm_->pause();
    requests_.destroy_client();
    phase_ = Phase::paused;
}

// The state machine.

int UserVm::start() {
    event::MutexLock lock(life_);
    if (phase_ != Phase::created) {
        return -EPERM;
    }
    requests_.resume();
    if (const auto result = vm_->start(*this, *this); !result) {
        base::log_error("VM {} does not start: {}", id(), result.error().message);
        requests_.abandon();
        return -EINVAL;
    }
    phase_ = Phase::running;
    return 0;
}

int UserVm::pause() {
    event::MutexLock lock(life_);
    if (phase_ == Phase::running && realtime_ && !ready_to_power_off_) {
        return -EPERM;
    }
    // In this order no vCPU enters the guest with an answer that nobody gave.
    vm_->request_pause();
    requests_.abandon();
    vm_->pause();
    phase_ = Phase::paused;
    return 0;
}

int UserVm::reset() {
    event::MutexLock lock(life_);
    if (phase_ != Phase::paused) {
        return -EPERM;
    }
    if (const auto result = vm_->reset(); !result) {
        base::log_error("VM {} cannot be reset: {}", id(), result.error().message);
        return -EINVAL;
    }
    requests_.free_all();
    devices_.reset();
    pci_address_ = 0;
    ready_to_power_off_ = false;
    phase_ = Phase::created;
    return 0;
}

int UserVm::check_destroy() {
    event::MutexLock lock(life_);
    return phase_ == Phase::paused ? 0 : -EPERM;
}

int UserVm::set_vcpu_regs(const acrn_vcpu_regs& regs) {
    event::MutexLock lock(life_);
    if (phase_ == Phase::running) {
        return -EPERM;
    }
    // The others start by INIT and SIPI.
    if (regs.vcpu_id != 0) {
        return -EINVAL;
    }
    const auto state = hypervisor::acrn::from_acrn(regs.vcpu_regs);
    if (!state || !vm_->set_boot_state(*state)) {
        return -EINVAL;
    }
    return 0;
}

// Memory and interrupts.

int UserVm::map_ram(const acrn_vm_memmap& segment, const ClientProcess& caller) {
    constexpr std::uint64_t page_size = hypervisor::acrn::page_size;
    // Beyond what any processor of today has, of either kind; sums of two do not wrap.
    constexpr std::uint64_t address_end = std::uint64_t{1} << 57;
    const std::uint64_t addresses = segment.user_vm_pa | segment.vma_base | segment.len;
    if (segment.len == 0 || !base::is_aligned(addresses, page_size) || addresses >= address_end) {
        return -EINVAL;
    }
    event::MutexLock lock(life_);
    if (memory_.size() >= segments_max) {
        return -ENOMEM;
    }
    auto range = caller.share(segment.vma_base, segment.len, ClientProcess::Need::any);
    if (!range) {
        base::log_warning("VM {}: {}", id(), range.error().message);
        return range.error().code == ENOMEM ? -ENOMEM : -EFAULT;
    }
    const auto access = (segment.attr & ACRN_MEM_ACCESS_WRITE) != 0
                            ? hypervisor::MemoryAccess::read_write
                            : hypervisor::MemoryAccess::read_only;
    if (const auto result = vm_->map(memory::GuestAddress{segment.user_vm_pa}, segment.len,
                                     (*range)->data(), access);
        !result) {
        base::log_warning("VM {}: {}", id(), result.error().message);
        return -EINVAL;
    }
    std::byte* const host = (*range)->data();
    memory_.push_back(std::move(*range));
    return devices_.add_ram({.base = {segment.user_vm_pa}, .size = segment.len, .host = host});
}

int UserVm::set_irqline(std::uint64_t argument) {
    const auto gsi = static_cast<std::uint32_t>(argument);
    if (gsi >= vm_->gsi_count()) {
        return -EINVAL;
    }
    switch (static_cast<LineOperation>(argument >> 32)) {
        case LineOperation::set_high:
            vm_->drive_gsi(gsi, true);
            return 0;
        case LineOperation::set_low:
            vm_->drive_gsi(gsi, false);
            return 0;
        case LineOperation::raising_pulse:
            vm_->drive_gsi(gsi, true);
            vm_->drive_gsi(gsi, false);
            return 0;
        case LineOperation::falling_pulse:
            vm_->drive_gsi(gsi, false);
            vm_->drive_gsi(gsi, true);
            return 0;
    }
    return -EINVAL;
}

int UserVm::inject_msi(const acrn_msi_entry& entry) {
    vm_->send({.address = entry.msi_addr, .data = static_cast<std::uint32_t>(entry.msi_data)});
    return 0;
}

int UserVm::set_up_asyncio(const ClientProcess& caller, std::uint64_t address) {
    hypervisor::acrn::SharedRingHeader header{};
    if (const int result = check_ring(caller, address, sizeof(std::uint64_t), header); result < 0) {
        return result;
    }
    return has_asyncio_.exchange(true) ? -EEXIST : 0;
}

// Requests of the guest.

void UserVm::handle(io::IoRequest& request) {
    if (realtime_) {
        note_power_off(request);
    }
    if (request.kind == io::IoKind::port && handle_pci_ports(request)) {
        return;
    }
    if (!devices_.handle(request) && !eventfds_.handle(request)) {
        requests_.handle(request);
    }
}

/// Completes what the address port does; turns a data port's access into one of configuration
/// space, which is not complete.
bool UserVm::handle_pci_ports(io::IoRequest& request) {
    if (request.address == pci_address_port && request.size == 4) {
        if (request.direction == io::IoDirection::write) {
            pci_address_ = static_cast<std::uint32_t>(request.value);
        } else {
            request.value = pci_address_;
        }
        request.state = io::IoState::complete;
        return true;
    }
    if (request.address < pci_data_port || request.address >= pci_data_port + 4) {
        return false;
    }
    const std::uint32_t selected = pci_address_;
    if ((selected & pci_enable) == 0) {
        request.value = base::ones(request.size);
        request.state = io::IoState::complete;
        return true;
    }
    request.kind = io::IoKind::pci_config;
    request.bdf = io::PciAddress::from_routing_id(static_cast<std::uint16_t>(selected >> 8));
    request.address =
        (selected & 0xFC) | (selected >> 16 & 0xF00) | (request.address - pci_data_port);
    return false;
}

void UserVm::note_power_off(const io::IoRequest& request) {
    if (request.kind != io::IoKind::port || request.direction != io::IoDirection::write) {
        return;
    }
    if (request.address == reset_port ||
        (request.address == keyboard_port && request.value == pulse_reset) ||
        (request.address == pm1a_control_port && (request.value & sleep_enable) != 0)) {
        ready_to_power_off_ = true;
    }
}

/// ACRN tells the device model of a crash by a power-off that the guest never asked for.
void UserVm::vm_stopped(hypervisor::VmStop reason, const std::string& detail) {
    base::log(
        reason == hypervisor::VmStop::internal_error ? base::LogLevel::error : base::LogLevel::info,
        "VM {}: {}", id(), detail);
    ready_to_power_off_ = true;
    if (reason == hypervisor::VmStop::triple_fault) {
        events_.put({.type = hypervisor::acrn::vm_event_triple_fault});
    }
    io::IoRequest request{.kind = io::IoKind::port,
                          .direction = io::IoDirection::write,
                          .state = io::IoState::processing,
                          .size = 2,
                          .vcpu = 0,
                          .address = pm1a_control_port,
                          .value = sleep_enable | sleep_type_off};
    requests_.handle(request);
}

}  // namespace cupule::hsm
