#pragma once

#include <memory>

#include "hypervisor/acrn/hsm_port.h"
#include "hypervisor/interrupt_monitor.h"

namespace cupule::hypervisor::acrn {

/// ACRN's own count of a VM's passed-through interrupts, and its delay of them (VM_INTR_MONITOR).
class AcrnInterruptMonitor : public InterruptMonitor {
  public:
    /// `hsm` outlives it.
    static base::Result<std::unique_ptr<AcrnInterruptMonitor>> create(HsmPort& hsm);
    ~AcrnInterruptMonitor() override;
    AcrnInterruptMonitor(const AcrnInterruptMonitor&) = delete;
    AcrnInterruptMonitor& operator=(const AcrnInterruptMonitor&) = delete;

    base::Result<std::vector<Count>> counts() override;
    base::Result<void> delay(std::uint32_t delay_ms) override;

  private:
    AcrnInterruptMonitor(HsmPort& hsm, void* page) : hsm_(hsm), page_(page) {}
    base::Result<void> call();

    HsmPort& hsm_;
    /// The HSM keeps it pinned for the VM's life.
    void* const page_;
};

}  // namespace cupule::hypervisor::acrn
