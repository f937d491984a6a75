#pragma once

#include <linux/kvm.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "hypervisor/kvm/kvm_device.h"
#include "hypervisor/kvm/split_irqchip.h"
#include "hypervisor/vm.h"

namespace cupule::hypervisor {

/// One virtual processor: its descriptor, its shared kvm_run page, and the state it had when new.
/// The run loop's thread belongs to KvmVm; this class is used by one thread at a time, but for
/// `interrupt`.
class KvmVcpu {
  public:
    static base::Result<std::unique_ptr<KvmVcpu>> create(const KvmDevice& device, int vm_fd,
                                                         unsigned index, std::uint32_t apic_id);
    ~KvmVcpu();
    KvmVcpu(const KvmVcpu&) = delete;
    KvmVcpu& operator=(const KvmVcpu&) = delete;

    base::Result<void> set_cpuid(const KvmCpuid& cpuid);
    /// Remembers the present state as the one `reset` returns to.
    base::Result<void> keep_power_on_state(const std::vector<std::uint32_t>& msr_indices);
    base::Result<void> reset();
    base::Result<void> set_boot_state(const VcpuState& state);

    /// How one stay in the guest ended.
    enum class Exit : std::uint8_t { handled, interrupted, end_of_interrupt, stopped };
    struct Outcome {
        Exit exit = Exit::handled;
        VmStop reason = VmStop::internal_error;
        std::string detail{};
        /// Of the level interrupt that ended.
        std::uint8_t vector = 0;
    };
    /// Takes an interrupt of the 8259s if the processor is ready for one, or else sees to it that
    /// `run` returns when it is. Before `run`, on the boot processor of a VM with `chips`.
    void take_external(SplitIrqchip& chips);
    /// Enters the guest until it exits; hands its access to `client`.
    Outcome run(io::IoClient& client);
    /// Finishes an instruction whose access was answered, without entering the guest.
    void complete_access();
    /// Makes a `run` that is under way, or the next one, return `interrupted` (with the kick
    /// signal).
    void interrupt() { std::atomic_ref(run_->immediate_exit).store(1); }
    void clear_interrupt() { std::atomic_ref(run_->immediate_exit).store(0); }

    std::uint64_t requests() const { return requests_.load(std::memory_order_relaxed); }

  private:
    struct PowerOnState;

    KvmVcpu(base::FileDescriptor fd, kvm_run* run, std::size_t run_size, unsigned index);
    void handle_port(io::IoClient& client);
    void handle_mmio(io::IoClient& client);
    Outcome internal_error() const;
    Outcome stopped(VmStop reason, std::string detail) const;
    std::string describe_position() const;
    void keep_msrs(const std::vector<std::uint32_t>& indices);
    void restore_msrs();
    void count_request() {
        requests_.store(requests_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }

    base::FileDescriptor fd_;
    kvm_run* run_;
    std::size_t run_size_;
    const unsigned index_;
    std::unique_ptr<PowerOnState> power_on_;
    std::atomic<std::uint64_t> requests_{0};
};

}  // namespace cupule::hypervisor
