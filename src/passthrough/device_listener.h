#pragma once

#include "hypervisor/vm.h"
#include "passthrough/vfio_domain.h"

namespace cupule::passthrough {

/// Tells a VM of VFIO's descriptors, so that the guest's memory types suit what its devices see. A
/// VM that refuses costs a warning.
class DeviceListener : public VfioDomain::Listener {
  public:
    /// `vm` outlives it.
    explicit DeviceListener(hypervisor::Vm& vm) : vm_(vm) {}
    void descriptor_added(int fd) override;
    void descriptor_removed(int fd) override;

  private:
    hypervisor::Vm& vm_;
};

}  // namespace cupule::passthrough
