#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hypervisor/interrupt_monitor.h"
#include "machine/passthrough_slots.h"

namespace cupule::machine {

/// The interrupts of functions passed through by VFIO, on KVM: they go into the guest without a
/// visit here, so the host kernel's own counters (/proc/interrupts) tell how many there were. A
/// delay holds the messages of all such functions; INTx is not delayed.
class PassthroughInterrupts : public hypervisor::InterruptMonitor {
  public:
    /// `slots` outlives it. `listing`: the kernel's counters.
    explicit PassthroughInterrupts(PassthroughSlots& slots,
                                   std::string listing = "/proc/interrupts")
        : slots_(slots), listing_(std::move(listing)) {}

    base::Result<std::vector<Count>> counts() override;
    base::Result<void> delay(std::uint32_t delay_ms) override;
    void let_through() override;

  private:
    PassthroughSlots& slots_;
    const std::string listing_;
};

/// Of the lines of /proc/interrupts those that VFIO has for one of the functions ("0000:03:00.0"):
/// Linux's number of the interrupt, and the sum over all processors.
std::vector<hypervisor::InterruptMonitor::Count> count_vfio_interrupts(
    std::string_view text, const std::vector<std::string>& functions);

}  // namespace cupule::machine
