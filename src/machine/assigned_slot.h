#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.h"
#include "hypervisor/device_assigner.h"
#include "passthrough/host_topology.h"
#include "pci/bridge.h"
#include "pci/function.h"

namespace cupule::machine {

/// A function of the host that the hypervisor gives to the guest: the function on this machine's
/// bus only keeps its place, and no access ever reaches it. Control thread.
class AssignedSlot {
  public:
    /// `guest`: its place on bus 0. `host_gsi`: where its INTx comes in on the host. `function` is
    /// on the bus with `monitor` as its lock. All outlive this.
    AssignedSlot(hypervisor::DeviceAssigner& assigner, io::PciAddress guest,
                 passthrough::HostAddress host, std::uint32_t host_gsi, pci::Function& function,
                 event::Monitor& monitor);
    ~AssignedSlot() { deassign(); }
    AssignedSlot(const AssignedSlot&) = delete;
    AssignedSlot& operator=(const AssignedSlot&) = delete;

    /// It stands behind a virtual root port in its place; `config` is that of the host's port.
    void set_port(pci::Bridge& bridge, passthrough::HostAddress host,
                  const std::vector<std::uint8_t>& config);
    void set_intx(irq::Gsi gsi) { gsi_ = gsi; }
    /// The registers of the expansion ROM are answered here.
    void keep_rom() { has_rom_ = true; }

    /// After BARs and buses have their numbers, before the VM starts.
    base::Result<void> assign();
    /// The VM is paused or not started.
    void deassign();

  private:
    hypervisor::DeviceAssigner& assigner_;
    const io::PciAddress guest_;
    const io::PciAddress host_;
    const std::uint32_t host_gsi_;
    pci::Function& function_;
    event::Monitor& monitor_;
    bool has_rom_ = false;
    std::optional<irq::Gsi> gsi_;
    pci::Bridge* bridge_ = nullptr;
    hypervisor::HypervisorRootPort port_{};

    // What the hypervisor has been told, and has to be told again to end it.
    std::optional<hypervisor::HypervisorRootPort> made_port_;
    std::optional<hypervisor::AssignedFunction> assigned_;
    std::optional<hypervisor::AssignedIntx> intx_;
};

}  // namespace cupule::machine
