#include "hypervisor/acrn/acrn_vm.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>
#include <utility>

#include "base/bits.h"
#include "base/log.h"
#include "hypervisor/acrn/acrn_vcpu_regs.h"

namespace cupule::hypervisor::acrn {
namespace {

base::Result<std::uint64_t> affinity_mask(const VmSpec& spec) {
    std::uint64_t mask = 0;
    for (unsigned i = 0; i < spec.vcpus; ++i) {
        const unsigned cpu = spec.cpu_affinity.empty() ? i : spec.cpu_affinity[i];
        if (cpu >= 64 || (mask & base::bit(cpu)) != 0) {
            return base::fail(
                "physical CPU {} of vCPU {}: ACRN takes 64 CPUs, and each for one vCPU", cpu, i);
        }
        mask |= base::bit(cpu);
    }
    return mask;
}

std::uint64_t vm_flags(const AcrnOptions& options) {
    std::uint64_t flags = 0;
    flags |= options.secure_world ? vm_flag_secure_world : 0;
    flags |= options.lapic_passthrough ? vm_flag_lapic_passthrough : 0;
    flags |= options.realtime ? vm_flag_realtime | vm_flag_completion_polling : 0;
    return flags;
}

/// What an instance before this one, still dying, makes the hypervisor say.
bool may_pass(int result) {
    return result == -EINVAL || result == -EPERM || result == -EBUSY;
}

}  // namespace

base::Result<std::unique_ptr<AcrnVm>> AcrnVm::create(const VmSpec& spec, const AcrnOptions& options,
                                                     std::unique_ptr<HsmPort> hsm) {
    if (spec.vcpus > vcpus_max) {
        return base::fail("{} vCPUs are asked for, ACRN allows {}", spec.vcpus, vcpus_max);
    }
    if (spec.name.size() >= vm_name_size) {
        return base::fail("the name '{}' has {} characters, ACRN allows {}", spec.name,
                          spec.name.size(), vm_name_size - 1);
    }
    CUPULE_TRY_ASSIGN(auto page, RequestPage::create());
    std::unique_ptr<AcrnVm> vm(
        new AcrnVm(std::move(hsm), std::move(page), spec.vcpus, options.realtime));
    CUPULE_TRY(vm->create_vm(spec, options));
    CUPULE_TRY_ASSIGN(vm->interrupts_, AcrnInterruptMonitor::create(*vm->hsm_));
    vm->doorbells_.emplace(*vm->hsm_);
    vm->set_up_events();
    vm->find_gsi_count();
    vm->idle_lines();
    return vm;
}

AcrnVm::AcrnVm(std::unique_ptr<HsmPort> hsm, std::unique_ptr<RequestPage> page, unsigned vcpus,
               bool polled)
    : hsm_(std::move(hsm)), page_(std::move(page)), polled_(polled), vcpus_(vcpus) {}

AcrnVm::~AcrnVm() {
    pause();
    {
        event::MutexLock lock(mutex_);
        ending_ = true;
    }
    turn_.notify_all();
    progress_.notify_all();
    if (has_client_) {
        call(ACRN_IOCTL_DESTROY_IOREQ_CLIENT);  // Wakes the thread at the HSM.
    }
    for (std::thread& thread : threads_) {
        thread.join();
    }
    call(ACRN_IOCTL_PAUSE_VM);
    call(ACRN_IOCTL_DESTROY_VM);
}

base::Result<void> AcrnVm::create_vm(const VmSpec& spec, const AcrnOptions& options) {
    CUPULE_TRY_ASSIGN(const std::uint64_t affinity, affinity_mask(spec));
    acrn_vm_creation creation{};
    std::memcpy(&creation.uuid, spec.name.data(), spec.name.size());
    creation.vm_flag = vm_flags(options);
    creation.ioreq_buf = page_->address();
    creation.cpu_affinity = affinity;
    int result = call(ACRN_IOCTL_CREATE_VM, &creation);
    for (unsigned tries = 1; may_pass(result) && tries < options.create_tries; ++tries) {
        std::this_thread::sleep_for(std::chrono::nanoseconds(options.create_pause_ns));
        result = call(ACRN_IOCTL_CREATE_VM, &creation);
    }
    if (result < 0) {
        return base::fail_errno(-result,
                                "the hypervisor refuses to create '{}' with {} vCPUs on CPUs {:#x} "
                                "(is the name taken, or are CPUs in use?)",
                                spec.name, spec.vcpus, affinity);
    }
    if (creation.vcpu_num != spec.vcpus) {
        return base::fail("the hypervisor gives '{}' {} vCPUs, {} were asked for", spec.name,
                          creation.vcpu_num, spec.vcpus);
    }
    vm_id_ = creation.vmid;
    return {};
}

/// Without a ring (ENOTTY of a kernel that is not ACRN's own) a triple fault is a power-off.
void AcrnVm::set_up_events() {
    auto ring = SharedRing::create(sizeof(VmEvent));
    if (ring && hsm_->call(ioctl_setup_vm_event_ring, (*ring)->address()) >= 0) {
        event::MutexLock lock(events_mutex_);
        event_ring_ = std::move(*ring);
    }
}

bool AcrnVm::take_triple_fault() {
    event::MutexLock lock(events_mutex_);
    bool found = false;
    while (const auto event = event_ring_ ? event_ring_->take() : std::nullopt) {
        found |= event->type == vm_event_triple_fault;
    }
    return found;
}

/// ACRN's IOAPIC has 48 inputs, but not that of every HSM: the last one tells.
void AcrnVm::find_gsi_count() {
    constexpr unsigned small_ioapic_inputs = 24;
    if (drive_line(ioapic_inputs - 1, LineOperation::set_high) < 0) {
        gsi_count_ = small_ioapic_inputs;
    }
}

// The run.

base::Result<void> AcrnVm::start(io::IoClient& client, VmEvents& events) {
    client_ = &client;
    events_ = &events;
    if (!has_client_) {
        if (const int result = call(ACRN_IOCTL_CREATE_IOREQ_CLIENT); result < 0) {
            return base::fail_errno(-result, "the HSM refuses a client for I/O requests");
        }
        has_client_ = true;
    }
    {
        event::MutexLock lock(mutex_);
        running_ = true;
    }
    for (auto i = static_cast<unsigned>(threads_.size()); i < vcpus_; ++i) {
        threads_.emplace_back([this, i] { serve_requests(i); });
    }
    progress_.notify_all();
    if (const int result = call(ACRN_IOCTL_START_VM); result < 0) {
        event::MutexLock lock(mutex_);
        running_ = false;
        return base::fail_errno(-result, "the hypervisor refuses to start the virtual machine");
    }
    return {};
}

void AcrnVm::request_pause() {
    {
        event::MutexLock lock(mutex_);
        if (!running_) {
            return;
        }
        running_ = false;
    }
    progress_.notify_all();
    if (const int result = call(ACRN_IOCTL_PAUSE_VM); result < 0) {
        base::log_warning("the hypervisor does not pause the virtual machine: {}",
                          base::errno_text(-result));
    }
}

void AcrnVm::pause() {
    request_pause();
    event::MutexLock lock(mutex_);
    while (serving_ != 0) {
        progress_.wait(mutex_);
    }
}

base::Result<void> AcrnVm::reset() {
    // What the guest was waiting for when it stopped is answered by the HSM and never seen.
    call(ACRN_IOCTL_CLEAR_VM_IOREQ);
    if (const int result = call(ACRN_IOCTL_RESET_VM); result < 0) {
        return base::fail_errno(-result, "the hypervisor refuses to reset the virtual machine");
    }
    idle_lines();
    return {};
}

base::Result<void> AcrnVm::set_boot_state(const VcpuState& state) {
    CUPULE_TRY_ASSIGN(acrn_vcpu_regs regs, to_acrn(state));
    if (const int result = call(ACRN_IOCTL_SET_VCPU_REGS, &regs); result < 0) {
        return base::fail_errno(-result, "the hypervisor refuses the boot state of vCPU 0");
    }
    return {};
}

// Requests.

void AcrnVm::serve_requests(unsigned thread) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    pthread_setname_np(pthread_self(), fmt::format("hsm client {}", thread).c_str());
    while (const auto vcpu = claim()) {
        serve(*vcpu);
    }
}

std::optional<unsigned> AcrnVm::claim() {
    event::MutexLock lock(mutex_);
    while (at_hsm_ && !ending_) {
        turn_.wait(mutex_);
    }
    if (ending_) {
        return std::nullopt;
    }
    at_hsm_ = true;
    const auto vcpu = claim_at_hsm();
    at_hsm_ = false;
    turn_.notify_one();
    return vcpu;
}

std::optional<unsigned> AcrnVm::claim_at_hsm() {
    // While another thread serves a request, waiting at the HSM would return at once (the request
    // is not finished): the page is looked at instead, at first often and then less.
    constexpr std::uint64_t look_first_ns = 20'000;
    constexpr std::uint64_t look_last_ns = 1'000'000;
    std::uint64_t look_ns = look_first_ns;
    while (!ending_) {
        if (!running_) {
            progress_.wait(mutex_);
            continue;
        }
        if (const auto vcpu = find_unclaimed()) {
            claimed_[*vcpu] = true;
            ++serving_;
            return vcpu;
        }
        if (serving_ == 0) {
            attach();
            look_ns = look_first_ns;
        } else {
            progress_.wait_for(mutex_, look_ns);
            look_ns = std::min(look_ns * 2, look_last_ns);
        }
    }
    return std::nullopt;
}

std::optional<unsigned> AcrnVm::find_unclaimed() const {
    for (unsigned vcpu = 0; vcpu < vcpus_; ++vcpu) {
        if (!claimed_[vcpu] && page_->is_ours(vcpu)) {
            return vcpu;
        }
    }
    return std::nullopt;
}

void AcrnVm::attach() {
    mutex_.unlock();
    const int result = call(ACRN_IOCTL_ATTACH_IOREQ_CLIENT);
    if (result < 0 && result != -EINTR && result != -ENODEV) {
        report_lost(result);
    }
    mutex_.lock();
    if (result < 0 && result != -EINTR) {
        ending_ = true;
        turn_.notify_all();
    }
}

void AcrnVm::report_lost(int result) {
    request_pause();
    events_->vm_stopped(
        VmStop::internal_error,
        fmt::format("the ACRN hypervisor service module is gone: {}", base::errno_text(-result)));
}

void AcrnVm::serve(unsigned vcpu) {
    auto request = page_->read(vcpu);
    // The hypervisor tells of a crash before it makes a power-off of it.
    if (request && request->kind == io::IoKind::port && take_triple_fault()) {
        request_pause();
        events_->vm_stopped(VmStop::triple_fault, "the guest's processor shut itself down");
    } else if (request) {
        requests_.fetch_add(1, std::memory_order_relaxed);
        client_->handle(*request);
    } else {
        base::log_error("the HSM sends a request of vCPU {} that no ACRN has", vcpu);
        request.emplace(io::IoRequest{.value = ~std::uint64_t{0}});
    }
    {
        event::MutexLock lock(mutex_);
        // After a pause the answer is withheld: the guest must not run past a reset it asked for.
        if (running_) {
            page_->answer(vcpu, request->value);
            if (!polled_) {
                page_->complete(vcpu);
            }
            acrn_ioreq_notify notify{};
            notify.vmid = vm_id_;
            notify.vcpu = vcpu;
            mutex_.unlock();
            call(ACRN_IOCTL_NOTIFY_REQUEST_FINISH, &notify);
            mutex_.lock();
        }
        claimed_[vcpu] = false;
        --serving_;
    }
    progress_.notify_all();
}

// Interrupts.

int AcrnVm::drive_line(std::uint32_t gsi, LineOperation operation) {
    const std::uint64_t argument = static_cast<std::uint64_t>(operation) << 32 | gsi;
    return hsm_->call(ACRN_IOCTL_SET_IRQLINE, argument);
}

/// INTx idles high, everything below low.
void AcrnVm::idle_lines() {
    for (std::uint32_t gsi = 0; gsi < gsi_count_; ++gsi) {
        const bool low_active = is_low_active({gsi});
        if (asserted_[gsi].exchange(false) || low_active) {
            drive_line(electrical_gsi({gsi}),
                       low_active ? LineOperation::set_high : LineOperation::set_low);
        }
    }
}

void AcrnVm::set_gsi_level(irq::Gsi gsi, bool asserted) {
    asserted_[gsi.value].store(asserted);
    const bool high = asserted != is_low_active(gsi);
    const int result =
        drive_line(electrical_gsi(gsi), high ? LineOperation::set_high : LineOperation::set_low);
    if (result < 0) {
        base::log_error("the HSM refuses GSI {}: {}", gsi.value, base::errno_text(-result));
    }
}

void AcrnVm::pulse_gsi(irq::Gsi gsi) {
    const int result =
        drive_line(electrical_gsi(gsi), is_low_active(gsi) ? LineOperation::falling_pulse
                                                           : LineOperation::raising_pulse);
    if (result < 0) {
        base::log_error("the HSM refuses GSI {}: {}", gsi.value, base::errno_text(-result));
    }
}

void AcrnVm::send(const irq::MsiMessage& message) {
    acrn_msi_entry entry{};
    entry.msi_addr = message.address;
    entry.msi_data = message.data;
    // A message to nobody is the guest's affair: real hardware drops it too.
    call(ACRN_IOCTL_INJECT_MSI, &entry);
}

int AcrnVm::set_irqfd(int eventfd, std::uint32_t flags, const irq::MsiMessage& message) {
    acrn_irqfd irqfd{};
    irqfd.fd = eventfd;
    irqfd.flags = flags;
    irqfd.msi.msi_addr = message.address;
    irqfd.msi.msi_data = message.data;
    return call(ACRN_IOCTL_IRQFD, &irqfd);
}

base::Result<void> AcrnVm::route_message(int eventfd, const irq::MsiMessage& message) {
    // An eventfd that is there already is refused: take the old route away first.
    set_irqfd(eventfd, ACRN_IRQFD_FLAG_DEASSIGN, {});
    if (const int result = set_irqfd(eventfd, 0, message); result < 0) {
        return base::fail_errno(-result, "the HSM refuses an interrupt eventfd");
    }
    return {};
}

base::Result<void> AcrnVm::route_level(int /*eventfd*/, irq::Gsi gsi, int /*resample_eventfd*/) {
    return base::fail_errno(ENOTSUP, "ACRN has no level interrupt eventfd (GSI {})", gsi.value);
}

void AcrnVm::unroute(int eventfd) {
    set_irqfd(eventfd, ACRN_IRQFD_FLAG_DEASSIGN, {});
}

// Memory and doorbells.

base::Result<void> AcrnVm::map(memory::GuestAddress base, std::uint64_t size, std::byte* host,
                               MemoryAccess access) {
    acrn_vm_memmap segment{};
    segment.type = ACRN_MEMMAP_RAM;
    segment.attr = ACRN_MEM_TYPE_WB | (access == MemoryAccess::read_write
                                           ? ACRN_MEM_ACCESS_RWX
                                           : ACRN_MEM_ACCESS_READ | ACRN_MEM_ACCESS_EXEC);
    segment.user_vm_pa = base.value;
    segment.vma_base = reinterpret_cast<std::uint64_t>(host);
    segment.len = size;
    if (const int result = call(ACRN_IOCTL_SET_MEMSEG, &segment); result < 0) {
        return base::fail_errno(-result, "the HSM refuses {:#x} bytes of guest memory at {:#x}",
                                size, base.value);
    }
    return {};
}

base::Result<void> AcrnVm::unmap(memory::GuestAddress base) {
    return base::fail_errno(ENOTSUP, "ACRN cannot take guest memory at {:#x} away again",
                            base.value);
}

base::Result<void> AcrnVm::add_doorbell(const io::Doorbell& doorbell) {
    return doorbells_->add(doorbell);
}

void AcrnVm::remove_doorbell(const io::Doorbell& doorbell) {
    doorbells_->remove(doorbell);
}

}  // namespace cupule::hypervisor::acrn
