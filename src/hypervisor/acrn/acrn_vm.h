#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "event/mutex.h"
#include "hypervisor/acrn/acrn_abi.h"
#include "hypervisor/acrn/acrn_device_assigner.h"
#include "hypervisor/acrn/acrn_doorbells.h"
#include "hypervisor/acrn/acrn_interrupt_monitor.h"
#include "hypervisor/acrn/hsm_port.h"
#include "hypervisor/acrn/request_page.h"
#include "hypervisor/acrn/shared_ring.h"
#include "hypervisor/vm.h"

namespace cupule::hypervisor::acrn {

struct AcrnOptions {
    bool realtime = false;           // --rtvm
    bool lapic_passthrough = false;  // --lapic_pt
    bool secure_world = false;       // --enable_trusty
    /// How often and how long apart the creation of the VM is tried: an instance before this one
    /// may still be dying.
    unsigned create_tries = 10;
    std::uint64_t create_pause_ns = 500'000'000;
};

/// A VM on the ACRN hypervisor, reached through its service module. Processors, local APICs, the
/// IOAPIC and the 8259s are the hypervisor's; requests of the guest come in the shared page. They
/// are served by one thread for each vCPU, of which one at a time waits at the HSM, so that a
/// request of one vCPU never waits behind that of another.
///
/// Differs on purpose from acrn-dm: requests in parallel; an access that the machine stops at (a
/// reset, a power-off) pauses the VM at once, from the thread that serves it.
class AcrnVm : public Vm {
  public:
    /// Creates the VM. `spec.cpu_affinity`: physical CPUs as the hypervisor numbers them, or empty
    /// for the first ones.
    static base::Result<std::unique_ptr<AcrnVm>> create(const VmSpec& spec,
                                                        const AcrnOptions& options,
                                                        std::unique_ptr<HsmPort> hsm);
    ~AcrnVm() override;

    base::Result<void> start(io::IoClient& client, VmEvents& events) override
        CUPULE_EXCLUDES(mutex_);
    void pause() override CUPULE_EXCLUDES(mutex_);
    void request_pause() override CUPULE_EXCLUDES(mutex_);
    base::Result<void> reset() override CUPULE_EXCLUDES(mutex_);
    base::Result<void> set_boot_state(const VcpuState& state) override;
    std::uint64_t request_count() const override { return requests_.load(); }
    InterruptMonitor* interrupt_monitor() override { return interrupts_.get(); }
    DeviceAssigner* device_assigner() override { return &assigner_; }

    void set_gsi_level(irq::Gsi gsi, bool asserted) override;
    /// One call of the HSM, which a timer's tick is worth.
    void pulse_gsi(irq::Gsi gsi) override;
    unsigned gsi_count() const override { return gsi_count_; }
    void send(const irq::MsiMessage& message) override;

    base::Result<void> map(memory::GuestAddress base, std::uint64_t size, std::byte* host,
                           MemoryAccess access) override;
    /// The HSM keeps a guest's RAM until the VM's end: always fails.
    base::Result<void> unmap(memory::GuestAddress base) override;

    base::Result<void> add_doorbell(const io::Doorbell& doorbell) override;
    void remove_doorbell(const io::Doorbell& doorbell) override;

    base::Result<void> route_message(int eventfd, const irq::MsiMessage& message) override;
    /// The HSM's irqfd sends messages only: always fails.
    base::Result<void> route_level(int eventfd, irq::Gsi gsi, int resample_eventfd) override;
    void unroute(int eventfd) override;

  private:
    AcrnVm(std::unique_ptr<HsmPort> hsm, std::unique_ptr<RequestPage> page, unsigned vcpus,
           bool polled);

    base::Result<void> create_vm(const VmSpec& spec, const AcrnOptions& options);
    void find_gsi_count();
    void idle_lines();
    int drive_line(std::uint32_t gsi, LineOperation operation);
    int set_irqfd(int eventfd, std::uint32_t flags, const irq::MsiMessage& message);
    void set_up_events();
    /// Whether the hypervisor has told of a triple fault that nobody has heard of.
    bool take_triple_fault() CUPULE_EXCLUDES(events_mutex_);

    void serve_requests(unsigned thread) CUPULE_EXCLUDES(mutex_);
    /// Waits for a request that no other thread has; empty at the end.
    std::optional<unsigned> claim() CUPULE_EXCLUDES(mutex_);
    /// With the turn at the HSM: as `claim`.
    std::optional<unsigned> claim_at_hsm() CUPULE_REQUIRES(mutex_);
    std::optional<unsigned> find_unclaimed() const CUPULE_REQUIRES(mutex_);
    /// Waits at the HSM, without the lock.
    void attach() CUPULE_REQUIRES(mutex_);
    void serve(unsigned vcpu) CUPULE_EXCLUDES(mutex_);
    void report_lost(int result);

    template <class T>
    int call(unsigned long request, T* argument) {
        return hsm_->call(request, reinterpret_cast<std::uintptr_t>(argument));
    }
    int call(unsigned long request) { return hsm_->call(request, 0); }

    const std::unique_ptr<HsmPort> hsm_;
    const std::unique_ptr<RequestPage> page_;
    std::unique_ptr<AcrnInterruptMonitor> interrupts_;
    AcrnDeviceAssigner assigner_{*hsm_};
    /// After the VM was created.
    std::optional<AcrnDoorbells> doorbells_;
    /// Completion is polled for: the HSM alone says COMPLETE.
    const bool polled_;
    const unsigned vcpus_;
    std::uint16_t vm_id_ = 0;
    unsigned gsi_count_ = ioapic_inputs;
    bool has_client_ = false;
    std::vector<std::thread> threads_;
    std::atomic<std::uint64_t> requests_{0};
    /// What each line was last told, so that a reset lets fall only what stands.
    std::array<std::atomic<bool>, ioapic_inputs> asserted_{};

    /// Written before the run begins, read by the threads during it.
    io::IoClient* client_ = nullptr;
    VmEvents* events_ = nullptr;

    /// Guards the reader's end of the ring, which is empty where the HSM has none. A leaf lock.
    event::Mutex events_mutex_;
    std::unique_ptr<SharedRing> event_ring_ CUPULE_GUARDED_BY(events_mutex_);

    /// Guards who serves which slot.
    event::Mutex mutex_;
    event::Condition turn_;      // the place at the HSM is free
    event::Condition progress_;  // a request has been served, or the run's phase changed
    bool running_ CUPULE_GUARDED_BY(mutex_) = false;
    bool ending_ CUPULE_GUARDED_BY(mutex_) = false;
    bool at_hsm_ CUPULE_GUARDED_BY(mutex_) = false;
    unsigned serving_ CUPULE_GUARDED_BY(mutex_) = 0;
    std::array<bool, vcpus_max> claimed_ CUPULE_GUARDED_BY(mutex_){};
};

}  // namespace cupule::hypervisor::acrn
