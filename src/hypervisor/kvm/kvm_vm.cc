#include "hypervisor/kvm/kvm_vm.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <set>
#include <utility>

#include "base/assert.h"
#include "base/log.h"
#include "hypervisor/kvm/kvm_cpuid.h"

namespace cupule::hypervisor {
namespace {

// Intel VMX without unrestricted guest needs four pages below 4 GiB that the guest does not use
// (api.rst 4.36, 4.41): between the IOAPIC and the local APIC's page.
constexpr std::uint64_t identity_map_address = 0xFEFF'C000;
constexpr std::uint64_t tss_address = 0xFEFF'D000;

constexpr std::size_t routes_max = 4096;
constexpr std::uint32_t isa_irqs = 16;

int kick_signal() {
    return SIGRTMIN;
}

void install_kick_handler() {
    struct sigaction action {};
    action.sa_handler = [](int) {};  // Only to end KVM_RUN; hence no SA_RESTART.
    sigemptyset(&action.sa_mask);
    sigaction(kick_signal(), &action, nullptr);
}

/// Everything but the kick stays with the control thread.
void block_other_signals() {
    sigset_t set;
    sigfillset(&set);
    sigdelset(&set, kick_signal());
    pthread_sigmask(SIG_SETMASK, &set, nullptr);
}

kvm_irq_routing_entry chip_route(std::uint32_t gsi, std::uint32_t chip, std::uint32_t pin) {
    kvm_irq_routing_entry entry{};
    entry.gsi = gsi;
    entry.type = KVM_IRQ_ROUTING_IRQCHIP;
    entry.u.irqchip.irqchip = chip;
    entry.u.irqchip.pin = pin;
    return entry;
}

/// The 8259s' input of an ISA IRQ.
kvm_irq_routing_entry pic_route(std::uint32_t gsi, std::uint32_t irq) {
    return chip_route(gsi, irq < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, irq % 8);
}

/// The GSI of KVM by which eventfds assert an input of its IOAPIC. PCI's have one beside the
/// input's own, so that they can lead to the 8259s too while lines that are driven do not: for
/// those the model of the ISA bridge does that.
std::uint32_t level_gsi(std::uint32_t input) {
    return input < isa_irqs ? input : kernel_ioapic_inputs + input - isa_irqs;
}
constexpr std::uint32_t first_message_gsi = 2 * kernel_ioapic_inputs - isa_irqs;

kvm_irq_routing_entry message_route(std::uint32_t gsi, const irq::MsiMessage& message) {
    kvm_irq_routing_entry entry{};
    entry.gsi = gsi;
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = static_cast<std::uint32_t>(message.address);
    entry.u.msi.address_hi = static_cast<std::uint32_t>(message.address >> 32);
    entry.u.msi.data = message.data;
    return entry;
}

}  // namespace

base::Result<std::unique_ptr<KvmVm>> KvmVm::create(const VmSpec& spec, KvmIrqchip irqchip) {
    CUPULE_ASSERT(spec.vcpus > 0 && spec.apic_ids.size() == spec.vcpus);
    CUPULE_TRY_ASSIGN(auto device, KvmDevice::open());
    if (spec.vcpus > device->vcpus_max()) {
        return base::fail("{} vCPUs are asked for, this host's KVM allows {}", spec.vcpus,
                          device->vcpus_max());
    }
    base::FileDescriptor fd(kvm_ioctl(device->fd(), KVM_CREATE_VM, std::uintptr_t{0}));
    if (!fd) {
        return base::fail_errno(errno, "KVM cannot create a VM");
    }
    std::unique_ptr<KvmVm> vm(new KvmVm(spec, std::move(device), std::move(fd)));
    CUPULE_TRY(vm->reserve_pages());
    CUPULE_TRY(irqchip == KvmIrqchip::kernel ? vm->create_kernel_irqchip()
                                             : vm->create_split_irqchip());
    if (spec.owns_processors) {
        vm->leave_halting_to_guest();
    }
    CUPULE_TRY(vm->create_vcpus());
    install_kick_handler();
    return vm;
}

KvmVm::KvmVm(VmSpec spec, std::unique_ptr<KvmDevice> device, base::FileDescriptor fd)
    : spec_(std::move(spec)), device_(std::move(device)), fd_(std::move(fd)) {}

KvmVm::~KvmVm() {
    pause();
    {
        event::MutexLock lock(run_mutex_);
        ending_ = true;
    }
    run_changed_.notify_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
    std::unique_ptr<LevelEvents> events;
    {
        event::MutexLock lock(routing_mutex_);
        events = std::move(level_events_);
    }
    events.reset();
}

base::Result<void> KvmVm::reserve_pages() {
    std::uint64_t identity_map = identity_map_address;
    if (kvm_ioctl(fd_.get(), KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0 ||
        kvm_ioctl(fd_.get(), KVM_SET_TSS_ADDR, std::uintptr_t{tss_address}) < 0) {
        return base::fail_errno(errno, "KVM refuses its own pages at {:#x}", identity_map_address);
    }
    return {};
}

void KvmVm::leave_halting_to_guest() {
    const auto offered = static_cast<std::uint32_t>(device_->extension(KVM_CAP_X86_DISABLE_EXITS));
    kvm_enable_cap capability{.cap = KVM_CAP_X86_DISABLE_EXITS, .flags = 0, .args = {}, .pad = {}};
    capability.args[0] = offered & (KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE);
    if ((offered & KVM_X86_DISABLE_EXITS_HLT) == 0 ||
        kvm_ioctl(fd_.get(), KVM_ENABLE_CAP, &capability) < 0) {
        base::log_warning(
            "this host's KVM does not let a guest halt its processors itself: halts still exit");
    }
}

base::Result<void> KvmVm::create_split_irqchip() {
    kvm_enable_cap capability{.cap = KVM_CAP_SPLIT_IRQCHIP, .flags = 0, .args = {}, .pad = {}};
    capability.args[0] = Ioapic82093aa::pins;
    if (kvm_ioctl(fd_.get(), KVM_ENABLE_CAP, &capability) < 0) {
        return base::fail_errno(errno, "KVM cannot leave the IOAPIC to this process");
    }
    SplitIrqchipHost& host = *this;
    chips_ = std::make_unique<SplitIrqchip>(host);
    return {};
}

base::Result<void> KvmVm::create_kernel_irqchip() {
    if (kvm_ioctl(fd_.get(), KVM_CREATE_IRQCHIP, std::uintptr_t{0}) < 0) {
        return base::fail_errno(errno, "KVM cannot create the interrupt controllers");
    }
    for (std::uint32_t id = KVM_IRQCHIP_PIC_MASTER; id <= KVM_IRQCHIP_IOAPIC; ++id) {
        kvm_irqchip chip{};
        chip.chip_id = id;
        if (kvm_ioctl(fd_.get(), KVM_GET_IRQCHIP, &chip) < 0) {
            return base::fail_errno(errno, "KVM does not give the state of interrupt controller {}",
                                    id);
        }
        power_on_chips_.push_back(chip);
    }
    event::MutexLock lock(routing_mutex_);
    return apply_routes();
}

base::Result<void> KvmVm::create_vcpus() {
    CUPULE_TRY_ASSIGN(const KvmCpuid supported, device_->supported_cpuid());
    CUPULE_TRY_ASSIGN(const std::vector<std::uint32_t> msr_indices, device_->msr_indices());
    const VcpuTraits traits{.vcpus = spec_.vcpus,
                            .apic_id_max = *std::ranges::max_element(spec_.apic_ids),
                            .tsc_deadline = device_->extension(KVM_CAP_TSC_DEADLINE_TIMER) > 0,
                            .owns_processors = spec_.owns_processors};
    for (unsigned i = 0; i < spec_.vcpus; ++i) {
        const std::uint32_t apic_id = spec_.apic_ids[i];
        CUPULE_TRY_ASSIGN(auto vcpu, KvmVcpu::create(*device_, fd_.get(), i, apic_id));
        CUPULE_TRY(vcpu->set_cpuid(make_vcpu_cpuid(supported, apic_id, traits)));
        CUPULE_TRY(vcpu->keep_power_on_state(msr_indices));
        vcpus_.push_back(std::move(vcpu));
    }
    return {};
}

// The run.

base::Result<void> KvmVm::start(io::IoClient& client, VmEvents& events) {
    CUPULE_TRY(start_threads());
    {
        event::MutexLock lock(run_mutex_);
        CUPULE_ASSERT(!running_);
        client_ = &client;
        if (chips_) {
            chips_->set_next(client);
            client_ = chips_.get();
        }
        events_ = &events;
        for (const auto& vcpu : vcpus_) {
            vcpu->clear_interrupt();
        }
        pause_requested_.store(false);
        active_ = spec_.vcpus;
        running_ = true;
    }
    run_changed_.notify_all();
    return {};
}

base::Result<void> KvmVm::start_threads() {
    for (unsigned i = static_cast<unsigned>(threads_.size()); i < spec_.vcpus; ++i) {
        threads_.emplace_back([this, i] { vcpu_thread(i); });
        const pthread_t handle = threads_.back().native_handle();
        pthread_setname_np(handle, fmt::format("vcpu {}", i).c_str());
        if (i < spec_.cpu_affinity.size()) {
            cpu_set_t set;
            CPU_ZERO(&set);
            CPU_SET(spec_.cpu_affinity[i], &set);
            if (const int code = pthread_setaffinity_np(handle, sizeof set, &set); code != 0) {
                return base::fail_errno(code, "cannot pin vCPU {} to CPU {}", i,
                                        spec_.cpu_affinity[i]);
            }
        }
    }
    has_threads_ = true;
    return {};
}

void KvmVm::vcpu_thread(unsigned index) {
    block_other_signals();
    KvmVcpu& vcpu = *vcpus_[index];
    while (wait_until_running()) {
        run_vcpu(vcpu);
        vcpu.complete_access();
        event::MutexLock lock(run_mutex_);
        if (--active_ == 0) {
            running_ = false;
        }
        run_changed_.notify_all();
        while (running_ && !ending_) {
            run_changed_.wait(run_mutex_);
        }
    }
}

bool KvmVm::wait_until_running() {
    event::MutexLock lock(run_mutex_);
    while (!running_ && !ending_) {
        run_changed_.wait(run_mutex_);
    }
    return !ending_;
}

void KvmVm::run_vcpu(KvmVcpu& vcpu) {
    SplitIrqchip* const chips = chips_.get();
    const bool takes_external = chips != nullptr && &vcpu == vcpus_[0].get();
    while (!pause_requested_.load()) {
        if (takes_external) {
            vcpu.take_external(*chips);
        }
        const KvmVcpu::Outcome outcome = vcpu.run(*client_);
        if (outcome.exit == KvmVcpu::Exit::end_of_interrupt && chips != nullptr) {
            chips->end_of_interrupt(outcome.vector);
        } else if (outcome.exit == KvmVcpu::Exit::interrupted && takes_external) {
            // A pause that kicks from here on is seen above: it asks first, then kicks.
            vcpu.clear_interrupt();
        }
        if (outcome.exit == KvmVcpu::Exit::stopped) {
            request_pause();
            events_->vm_stopped(outcome.reason, outcome.detail);
            return;
        }
    }
}

void KvmVm::request_pause() {
    pause_requested_.store(true);
    kick_all();
}

void KvmVm::kick_all() {
    for (std::size_t i = 0; i < threads_.size(); ++i) {
        vcpus_[i]->interrupt();
        pthread_kill(threads_[i].native_handle(), kick_signal());
    }
}

void KvmVm::pause() {
    request_pause();
    event::MutexLock lock(run_mutex_);
    while (running_) {
        run_changed_.wait(run_mutex_);
    }
}

base::Result<void> KvmVm::reset() {
    for (const kvm_irqchip& power_on : power_on_chips_) {
        kvm_irqchip chip = power_on;
        if (kvm_ioctl(fd_.get(), KVM_SET_IRQCHIP, &chip) < 0) {
            return base::fail_errno(errno, "KVM refuses to reset interrupt controller {}",
                                    chip.chip_id);
        }
    }
    for (const auto& vcpu : vcpus_) {
        CUPULE_TRY(vcpu->reset());
    }
    if (chips_) {
        chips_->reset();
    }
    return release_levels();
}

base::Result<void> KvmVm::set_boot_state(const VcpuState& state) {
    return vcpus_[0]->set_boot_state(state);
}

std::uint64_t KvmVm::request_count() const {
    std::uint64_t count = 0;
    for (const auto& vcpu : vcpus_) {
        count += vcpu->requests();
    }
    return count;
}

// Interrupts.

void KvmVm::set_gsi_level(irq::Gsi gsi, bool asserted) {
    if (chips_) {
        drive_gsi(electrical_gsi(gsi), asserted != is_low_active(gsi));
        return;
    }
    kvm_irq_level level{};
    level.irq = gsi.value;
    level.level = asserted ? 1 : 0;
    if (kvm_ioctl(fd_.get(), KVM_IRQ_LINE, &level) < 0) {
        base::log_error("KVM refuses GSI {}: {}", gsi.value, base::errno_text(errno));
    }
}

void KvmVm::drive_gsi(std::uint32_t gsi, bool high) {
    if (chips_) {
        chips_->drive(gsi, high);
    } else {
        Vm::drive_gsi(gsi, high);
    }
}

void KvmVm::watch_end(unsigned pin, const irq::MsiMessage& message) {
    event::MutexLock lock(routing_mutex_);
    watched_[pin] = message;
    if (const auto result = apply_routes(); !result) {
        base::log_error("interrupts of IOAPIC input {} may end unseen: {}", pin,
                        result.error().message);
    }
}

/// From any thread, the boot processor's own too.
void KvmVm::external_interrupt() {
    if (has_threads_) {
        vcpus_[0]->interrupt();
        pthread_kill(threads_[0].native_handle(), kick_signal());
    }
}

void KvmVm::send(const irq::MsiMessage& message) {
    kvm_msi msi{};
    msi.address_lo = static_cast<std::uint32_t>(message.address);
    msi.address_hi = static_cast<std::uint32_t>(message.address >> 32);
    msi.data = message.data;
    // A message to nobody is the guest's affair: real hardware drops it too.
    kvm_ioctl(fd_.get(), KVM_SIGNAL_MSI, &msi);
}

base::Result<void> KvmVm::apply_routes() {
    auto buffer = std::make_unique<KvmList<kvm_irq_routing_entry, routes_max>>();
    std::uint32_t count = 0;
    for (const auto& [pin, message] : watched_) {
        buffer->entries[count++] = message_route(pin, message);
    }
    const unsigned kernel_inputs = chips_ ? 0 : kernel_ioapic_inputs;
    for (std::uint32_t gsi = 0; gsi < kernel_inputs; ++gsi) {
        if (gsi < isa_irqs) {
            buffer->entries[count++] = pic_route(gsi, gsi);
        }
        // ISA IRQ 0 is wired to IOAPIC input 2, where the cascade would be (MADT override).
        if (gsi != 2) {
            buffer->entries[count++] = chip_route(gsi, KVM_IRQCHIP_IOAPIC, gsi == 0 ? 2 : gsi);
        }
    }
    // Behind the inputs' own: KVM tells the last GSI of an input of the end of its interrupts.
    std::set<std::uint32_t> done;
    for (const auto& [eventfd, route] : level_routes_) {
        const std::uint32_t input = route.input;
        if (input < isa_irqs || !done.insert(input).second) {
            continue;
        }
        buffer->entries[count++] = chip_route(level_gsi(input), KVM_IRQCHIP_IOAPIC, input);
        if (const auto irq = pic_inputs_.find(input); irq != pic_inputs_.end()) {
            buffer->entries[count++] = pic_route(level_gsi(input), irq->second);
        }
    }
    for (const auto& [eventfd, route] : message_routes_) {
        buffer->entries[count++] = message_route(route.gsi, route.message);
    }
    buffer->count = count;
    if (kvm_ioctl(fd_.get(), kvm_set_gsi_routing, buffer.get()) < 0) {
        return base::fail_errno(errno, "KVM refuses a table of {} interrupt routes", count);
    }
    return {};
}

std::uint32_t KvmVm::free_message_gsi() const {
    std::vector<std::uint32_t> taken;
    for (const auto& [eventfd, route] : message_routes_) {
        taken.push_back(route.gsi);
    }
    std::uint32_t gsi = chips_ ? gsi_count() : first_message_gsi;
    while (std::ranges::find(taken, gsi) != taken.end()) {
        ++gsi;
    }
    return gsi;
}

base::Result<void> KvmVm::route_message(int eventfd, const irq::MsiMessage& message) {
    event::MutexLock lock(routing_mutex_);
    const auto found = message_routes_.find(eventfd);
    if (found != message_routes_.end()) {
        found->second.message = message;
        return apply_routes();
    }
    const std::uint32_t gsi = free_message_gsi();
    if (gsi + kernel_ioapic_inputs + 16 >= routes_max) {
        return base::fail("all {} interrupt routes of the VM are in use", routes_max);
    }
    message_routes_.emplace(eventfd, MessageRoute{.gsi = gsi, .message = message});
    CUPULE_TRY(apply_routes());
    kvm_irqfd irqfd{};
    irqfd.fd = static_cast<std::uint32_t>(eventfd);
    irqfd.gsi = gsi;
    if (kvm_ioctl(fd_.get(), KVM_IRQFD, &irqfd) < 0) {
        const int code = errno;
        message_routes_.erase(eventfd);
        return base::fail_errno(code, "KVM refuses an interrupt eventfd");
    }
    return {};
}

base::Result<void> KvmVm::route_level(int eventfd, irq::Gsi gsi, int resample_eventfd) {
    if (chips_) {
        CUPULE_TRY_ASSIGN(LevelEvents* const events, level_events());
        return events->add(eventfd, electrical_gsi(gsi), resample_eventfd);
    }
    event::MutexLock lock(routing_mutex_);
    const LevelRoute route{.input = gsi.value, .resample_eventfd = resample_eventfd};
    level_routes_[eventfd] = route;
    CUPULE_TRY(apply_routes());
    auto added = add_level(eventfd, route);
    if (!added) {
        level_routes_.erase(eventfd);
    }
    return added;
}

base::Result<void> KvmVm::add_level(int eventfd, const LevelRoute& route) {
    kvm_irqfd irqfd{};
    irqfd.fd = static_cast<std::uint32_t>(eventfd);
    irqfd.gsi = level_gsi(route.input);
    irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
    irqfd.resamplefd = static_cast<std::uint32_t>(route.resample_eventfd);
    if (kvm_ioctl(fd_.get(), KVM_IRQFD, &irqfd) < 0) {
        return base::fail_errno(errno, "KVM refuses a level interrupt eventfd on GSI {}",
                                route.input);
    }
    return {};
}

void KvmVm::remove_level(int eventfd, const LevelRoute& route) {
    kvm_irqfd irqfd{};
    irqfd.fd = static_cast<std::uint32_t>(eventfd);
    irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
    irqfd.gsi = level_gsi(route.input);
    kvm_ioctl(fd_.get(), KVM_IRQFD, &irqfd);
}

base::Result<void> KvmVm::release_levels() {
    event::MutexLock lock(routing_mutex_);
    // KVM lets an input fall when the last eventfd leaves it.
    for (const auto& [eventfd, route] : level_routes_) {
        remove_level(eventfd, route);
    }
    for (const auto& [eventfd, route] : level_routes_) {
        CUPULE_TRY(add_level(eventfd, route));
        base::signal_eventfd(route.resample_eventfd);
    }
    return {};
}

base::Result<LevelEvents*> KvmVm::level_events() {
    event::MutexLock lock(routing_mutex_);
    if (!level_events_) {
        CUPULE_TRY_ASSIGN(level_events_, LevelEvents::create(*chips_));
    }
    return level_events_.get();
}

void KvmVm::route_to_pic(irq::Gsi gsi, std::optional<std::uint8_t> irq) {
    event::MutexLock lock(routing_mutex_);
    if (chips_ || gsi.value < isa_irqs) {
        return;
    }
    if (irq) {
        pic_inputs_[gsi.value] = *irq;
    } else {
        pic_inputs_.erase(gsi.value);
    }
    if (const auto result = apply_routes(); !result) {
        no_pic_route_.report("GSI {} does not reach the 8259s: {}", gsi.value,
                             result.error().message);
    }
}

void KvmVm::unroute(int eventfd) {
    if (chips_) {
        LevelEvents* events = nullptr;
        {
            event::MutexLock lock(routing_mutex_);
            events = level_events_.get();
        }
        // Not with the lock held: the chips take it.
        if (events != nullptr) {
            events->remove(eventfd);
        }
    }
    event::MutexLock lock(routing_mutex_);
    kvm_irqfd irqfd{};
    irqfd.fd = static_cast<std::uint32_t>(eventfd);
    irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
    if (const auto found = message_routes_.find(eventfd); found != message_routes_.end()) {
        irqfd.gsi = found->second.gsi;
        message_routes_.erase(found);
        kvm_ioctl(fd_.get(), KVM_IRQFD, &irqfd);
    } else if (const auto level = level_routes_.find(eventfd); level != level_routes_.end()) {
        remove_level(eventfd, level->second);
        level_routes_.erase(level);
    }
}

// Memory and doorbells.

base::Result<void> KvmVm::add_device_group(int group_fd) {
    if (!vfio_) {
        kvm_create_device create{};
        create.type = KVM_DEV_TYPE_VFIO;
        if (kvm_ioctl(fd_.get(), KVM_CREATE_DEVICE, &create) < 0) {
            return base::fail_errno(errno, "KVM has no VFIO device");
        }
        vfio_ = base::FileDescriptor(static_cast<int>(create.fd));
    }
    kvm_device_attr attribute{};
    attribute.group = KVM_DEV_VFIO_GROUP;
    attribute.attr = KVM_DEV_VFIO_GROUP_ADD;
    attribute.addr = reinterpret_cast<std::uint64_t>(&group_fd);
    if (kvm_ioctl(vfio_.get(), KVM_SET_DEVICE_ATTR, &attribute) < 0) {
        return base::fail_errno(errno, "KVM does not take a VFIO group");
    }
    return {};
}

void KvmVm::remove_device_group(int group_fd) {
    kvm_device_attr attribute{};
    attribute.group = KVM_DEV_VFIO_GROUP;
    attribute.attr = KVM_DEV_VFIO_GROUP_DEL;
    attribute.addr = reinterpret_cast<std::uint64_t>(&group_fd);
    if (vfio_) {
        kvm_ioctl(vfio_.get(), KVM_SET_DEVICE_ATTR, &attribute);
    }
}

base::Result<void> KvmVm::map(memory::GuestAddress base, std::uint64_t size, std::byte* host,
                              MemoryAccess access) {
    event::MutexLock lock(memory_mutex_);
    std::set<std::uint32_t> taken;
    for (const auto& [address, slot] : slots_) {
        taken.insert(slot);
    }
    std::uint32_t number = 0;
    while (taken.contains(number)) {
        ++number;
    }
    kvm_userspace_memory_region region{};
    region.slot = number;
    region.flags = access == MemoryAccess::read_only ? std::uint32_t{KVM_MEM_READONLY} : 0;
    region.guest_phys_addr = base.value;
    region.memory_size = size;
    region.userspace_addr = reinterpret_cast<std::uint64_t>(host);
    if (kvm_ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &region) < 0) {
        return base::fail_errno(errno, "KVM refuses {:#x} bytes of guest memory at {:#x}", size,
                                base.value);
    }
    slots_.emplace(base.value, number);
    return {};
}

base::Result<void> KvmVm::unmap(memory::GuestAddress base) {
    event::MutexLock lock(memory_mutex_);
    const auto found = slots_.find(base.value);
    if (found == slots_.end()) {
        return base::fail_errno(ENOENT, "no guest memory is mapped at {:#x}", base.value);
    }
    kvm_userspace_memory_region region{};
    region.slot = found->second;
    region.guest_phys_addr = base.value;
    if (kvm_ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &region) < 0) {
        return base::fail_errno(errno, "KVM refuses to unmap guest memory at {:#x}", base.value);
    }
    slots_.erase(found);
    return {};
}

base::Result<void> KvmVm::change_doorbell(const io::Doorbell& doorbell, std::uint32_t flags) {
    kvm_ioeventfd event{};
    event.addr = doorbell.address;
    event.len = doorbell.size;
    event.fd = doorbell.eventfd;
    event.datamatch = doorbell.match.value_or(0);
    event.flags = flags;
    event.flags |= doorbell.kind == io::IoKind::port ? std::uint32_t{KVM_IOEVENTFD_FLAG_PIO} : 0;
    event.flags |= doorbell.match ? std::uint32_t{KVM_IOEVENTFD_FLAG_DATAMATCH} : 0;
    if (kvm_ioctl(fd_.get(), KVM_IOEVENTFD, &event) < 0) {
        return base::fail_errno(errno, "KVM refuses a doorbell at {:#x}", doorbell.address);
    }
    return {};
}

base::Result<void> KvmVm::add_doorbell(const io::Doorbell& doorbell) {
    return change_doorbell(doorbell, 0);
}

void KvmVm::remove_doorbell(const io::Doorbell& doorbell) {
    if (const auto result = change_doorbell(doorbell, KVM_IOEVENTFD_FLAG_DEASSIGN); !result) {
        base::log_warning("{}", result.error().message);
    }
}

}  // namespace cupule::hypervisor
