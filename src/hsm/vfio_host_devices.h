#pragma once

#include <map>
#include <memory>
#include <vector>

#include "hsm/host_devices.h"
#include "hypervisor/vm.h"
#include "passthrough/driver_binding.h"
#include "passthrough/host_topology.h"
#include "passthrough/slot_options.h"
#include "passthrough/vfio_container.h"

namespace cupule::hsm {

/// Functions of this host by VFIO. One that no driver has, or pci-stub (to which users of acrn-dm
/// bind it), goes to vfio-pci for as long as the VM has it.
class VfioHostDevices : public HostDevices {
  public:
    /// `vm` outlives it.
    explicit VfioHostDevices(hypervisor::Vm& vm) : listener_(vm) {}
    ~VfioHostDevices() override;

    base::Result<std::unique_ptr<passthrough::HostDevice>> open(io::PciAddress address,
                                                                std::span<const RamPiece> ram,
                                                                bool intx) override;
    void given_back(io::PciAddress address) override;
    base::Result<void> add_ram(const RamPiece& piece) override;

  private:
    base::Result<void> admit(const passthrough::VfioPlace& place);
    base::Result<void> map_ram(std::span<const RamPiece> ram);
    void close_domain();

    passthrough::VfioKernel kernel_;
    passthrough::VmListener listener_;
    const passthrough::DriverBinding binding_{};
    std::unique_ptr<passthrough::VfioContainer> container_;
    bool ram_mapped_ = false;
    struct Open {
        /// vfio-pci has it for this VM only.
        bool borrowed = false;
        bool intx = false;
    };
    /// What is open, as slots of one guest.
    std::vector<passthrough::SlotText> open_slots() const;

    std::map<passthrough::HostAddress, Open> open_;
};

}  // namespace cupule::hsm
