#pragma once

#include "hypervisor/acrn/acrn_abi.h"
#include "hypervisor/acrn/hsm_port.h"
#include "hypervisor/device_assigner.h"

namespace cupule::hypervisor::acrn {

/// Device assignment by the HSM's calls.
class AcrnDeviceAssigner : public DeviceAssigner {
  public:
    /// `hsm` outlives it.
    explicit AcrnDeviceAssigner(HsmPort& hsm) : hsm_(hsm) {}

    base::Result<void> assign(const AssignedFunction& function) override;
    void deassign(const AssignedFunction& function) override;
    base::Result<void> connect_intx(const AssignedIntx& intx) override;
    void disconnect_intx(const AssignedIntx& intx) override;
    base::Result<void> assign_memory(const AssignedMemory& memory) override;
    void deassign_memory(const AssignedMemory& memory) override;
    base::Result<void> create(const HypervisorFunction& function) override;
    void destroy(const HypervisorFunction& function) override;

  private:
    template <class T>
    int call(unsigned long request, T argument) {
        return hsm_.call(request, reinterpret_cast<std::uintptr_t>(&argument));
    }

    HsmPort& hsm_;
};

}  // namespace cupule::hypervisor::acrn
