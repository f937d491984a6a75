#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "event/mutex.h"
#include "hypervisor/kvm/kvm_vcpu.h"
#include "hypervisor/kvm/level_events.h"
#include "hypervisor/vm.h"

namespace cupule::hypervisor {

/// Where the interrupt controllers above the local APICs are.
enum class KvmIrqchip : std::uint8_t {
    kernel,  // in KVM: an IOAPIC of 24 inputs, for which all interrupts are asserted high
    split,   // in this process: an IOAPIC of 48 inputs with polarity (ADR 0009)
};

/// The inputs of the IOAPIC in the kernel.
inline constexpr std::uint32_t kernel_ioapic_inputs = 24;

/// A VM on Linux KVM with the kernel's local APICs. An exit is a function call into the client on
/// the vCPU's own thread: no hop, and no lock that vCPUs share.
class KvmVm : public Vm, private SplitIrqchipHost {
  public:
    /// Creates the VM and its vCPUs; the error names what this host lacks or refuses.
    static base::Result<std::unique_ptr<KvmVm>> create(const VmSpec& spec,
                                                       KvmIrqchip irqchip = KvmIrqchip::kernel);
    ~KvmVm() override;

    base::Result<void> start(io::IoClient& client, VmEvents& events) override
        CUPULE_EXCLUDES(run_mutex_);
    void pause() override CUPULE_EXCLUDES(run_mutex_);
    void request_pause() override;
    base::Result<void> reset() override CUPULE_EXCLUDES(routing_mutex_);
    base::Result<void> set_boot_state(const VcpuState& state) override;
    std::uint64_t request_count() const override;
    base::Result<void> add_device_group(int group_fd) override;
    void remove_device_group(int group_fd) override;

    void set_gsi_level(irq::Gsi gsi, bool asserted) override;
    unsigned gsi_count() const override {
        return chips_ ? Ioapic82093aa::pins : kernel_ioapic_inputs;
    }
    void drive_gsi(std::uint32_t gsi, bool high) override;
    void send(const irq::MsiMessage& message) override;

    base::Result<void> map(memory::GuestAddress base, std::uint64_t size, std::byte* host,
                           MemoryAccess access) override CUPULE_EXCLUDES(memory_mutex_);
    base::Result<void> unmap(memory::GuestAddress base) override CUPULE_EXCLUDES(memory_mutex_);

    base::Result<void> add_doorbell(const io::Doorbell& doorbell) override;
    void remove_doorbell(const io::Doorbell& doorbell) override;

    base::Result<void> route_message(int eventfd, const irq::MsiMessage& message) override
        CUPULE_EXCLUDES(routing_mutex_);
    base::Result<void> route_level(int eventfd, irq::Gsi gsi, int resample_eventfd) override
        CUPULE_EXCLUDES(routing_mutex_);
    void unroute(int eventfd) override CUPULE_EXCLUDES(routing_mutex_);
    void route_to_pic(irq::Gsi gsi, std::optional<std::uint8_t> irq) override
        CUPULE_EXCLUDES(routing_mutex_);

  private:
    KvmVm(VmSpec spec, std::unique_ptr<KvmDevice> device, base::FileDescriptor fd);
    base::Result<void> reserve_pages();
    /// No exits at HLT and PAUSE (api.rst 7.13), where the host can; before there are vCPUs.
    void leave_halting_to_guest();
    base::Result<void> create_kernel_irqchip();
    base::Result<void> create_split_irqchip();
    void watch_end(unsigned pin, const irq::MsiMessage& message) override
        CUPULE_EXCLUDES(routing_mutex_);
    void external_interrupt() override;
    base::Result<void> create_vcpus();
    base::Result<void> start_threads();
    void vcpu_thread(unsigned index) CUPULE_EXCLUDES(run_mutex_);
    /// Parks the thread until the VM runs; false when it ends.
    bool wait_until_running() CUPULE_EXCLUDES(run_mutex_);
    void run_vcpu(KvmVcpu& vcpu);
    void kick_all();
    /// Of our own chips; made when the first is needed.
    base::Result<LevelEvents*> level_events() CUPULE_EXCLUDES(routing_mutex_);
    base::Result<void> apply_routes() CUPULE_REQUIRES(routing_mutex_);
    std::uint32_t free_message_gsi() const CUPULE_REQUIRES(routing_mutex_);
    /// Of an eventfd.
    struct LevelRoute {
        std::uint32_t input = 0;  // of the IOAPIC
        int resample_eventfd = -1;
    };
    base::Result<void> add_level(int eventfd, const LevelRoute& route)
        CUPULE_REQUIRES(routing_mutex_);
    void remove_level(int eventfd, const LevelRoute& route) CUPULE_REQUIRES(routing_mutex_);
    /// What eventfds assert falls, and whoever still interrupts says so again.
    base::Result<void> release_levels() CUPULE_EXCLUDES(routing_mutex_);
    base::Result<void> change_doorbell(const io::Doorbell& doorbell, std::uint32_t flags);

    const VmSpec spec_;
    std::unique_ptr<KvmDevice> device_;
    base::FileDescriptor fd_;
    /// KVM's VFIO device (Linux Documentation/virt/kvm/devices/vfio.rst), once a group needs it.
    base::FileDescriptor vfio_;
    std::vector<std::unique_ptr<KvmVcpu>> vcpus_;
    std::vector<kvm_irqchip> power_on_chips_;
    /// Empty where the kernel has the chips.
    std::unique_ptr<SplitIrqchip> chips_;

    /// Set from any thread; each vCPU looks before it enters the guest.
    std::atomic<bool> pause_requested_{true};
    /// Guards the phase of the run. Taken by vCPU threads only to park.
    event::Mutex run_mutex_;
    event::Condition run_changed_;
    bool running_ CUPULE_GUARDED_BY(run_mutex_) = false;
    bool ending_ CUPULE_GUARDED_BY(run_mutex_) = false;
    unsigned active_ CUPULE_GUARDED_BY(run_mutex_) = 0;
    /// Written before `running_` becomes true, read by vCPU threads while it is.
    io::IoClient* client_ = nullptr;
    VmEvents* events_ = nullptr;
    std::vector<std::thread> threads_;
    /// All of them are there.
    std::atomic<bool> has_threads_{false};

    /// Guards the numbering of memory slots. A leaf lock.
    event::Mutex memory_mutex_;
    /// KVM's memory slot number by guest address.
    std::map<std::uint64_t, std::uint32_t> slots_ CUPULE_GUARDED_BY(memory_mutex_);

    /// Guards the GSI routing table. A leaf lock.
    event::Mutex routing_mutex_;
    struct MessageRoute {
        std::uint32_t gsi = 0;
        irq::MsiMessage message{};
    };
    std::map<int, MessageRoute> message_routes_ CUPULE_GUARDED_BY(routing_mutex_);
    std::unique_ptr<LevelEvents> level_events_ CUPULE_GUARDED_BY(routing_mutex_);
    std::map<int, LevelRoute> level_routes_ CUPULE_GUARDED_BY(routing_mutex_);
    /// Inputs of the 8259s by inputs of the IOAPIC.
    std::map<std::uint32_t, std::uint8_t> pic_inputs_ CUPULE_GUARDED_BY(routing_mutex_);
    base::HostFault no_pic_route_;
    /// By input of our own IOAPIC: the kernel reports the end of these.
    std::map<std::uint32_t, irq::MsiMessage> watched_ CUPULE_GUARDED_BY(routing_mutex_);
};

}  // namespace cupule::hypervisor
