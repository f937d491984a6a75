#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "hypervisor/vm.h"
#include "passthrough/bus_reset.h"
#include "passthrough/dma_domain.h"

namespace cupule::passthrough {

/// A function of the host that vfio-pci has.
struct VfioPlace {
    std::string name{};  // "0000:00:02.0"
    unsigned group = 0;  // of the IOMMU
    /// "/dev/vfio/devices/vfio0"; empty: the kernel has none (before Linux 6.6, or left out).
    std::string character_device{};
    bool interrupts_remapped = true;
};

/// EPERM, as the host cannot remap interrupts: what that means and how to go on. `module`, of the
/// kernel, has the parameter that accepts the risk.
std::unexpected<base::Error> interrupts_not_remapped(std::string_view module);

/// The IOMMU domain of one guest and the way to its devices: one of VFIO's two interfaces. Control
/// thread, but for `closing` and what DmaDomain has. Destroyed after the devices in it.
class VfioDomain : public DmaDomain {
  public:
    /// Hears of the descriptors by which KVM knows VFIO's devices (Linux
    /// Documentation/virt/kvm/devices/vfio.rst).
    class Listener {
      public:
        virtual ~Listener() = default;
        /// Before the device can be used.
        virtual void descriptor_added(int fd) = 0;
        /// Before it is closed.
        virtual void descriptor_removed(int fd) = 0;
    };

    /// Takes the function into the domain, with what cannot be separated from it; nothing happens
    /// when it is in already.
    virtual base::Result<void> admit(const VfioPlace& place) = 0;
    /// The descriptor of a function that was admitted.
    virtual base::Result<base::FileDescriptor> open_device(const VfioPlace& place) = 0;
    /// The owner of that descriptor is about to close it, so that the host can have the device. Any
    /// thread.
    virtual void closing(const std::string& name) = 0;

    /// Whether a function that a bus reset touches is in this domain, where nobody else has it.
    virtual bool owns(const BusReset::Member& member) const = 0;
    /// The descriptors that show the kernel that all of `bus` is.
    virtual std::vector<int> reset_proof(const BusReset& bus) const = 0;
    BusResets& bus_resets() { return bus_resets_; }

  private:
    BusResets bus_resets_;
};

/// A listener that passes it on to KVM.
class VmListener : public VfioDomain::Listener {
  public:
    /// `vm` outlives it.
    explicit VmListener(hypervisor::Vm& vm) : vm_(vm) {}
    void descriptor_added(int fd) override;
    void descriptor_removed(int fd) override { vm_.remove_device_group(fd); }

  private:
    hypervisor::Vm& vm_;
};

}  // namespace cupule::passthrough
