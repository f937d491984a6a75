#pragma once

#include <cstdint>

#include "pci/express_capability.h"
#include "pci/function.h"
#include "snapshot/device.h"

// Host bridge, the function at 00:00.0 that stands for the chip set.
//
// Models: its identity and an express capability, by which guests recognise a PCI Express chip set.
// Leaves out: every chip-specific register; the hypervisor and the machine have their work.
// Differs on purpose: nothing. The express capability says "root port" as acrn-dm's does although
// the header is of type 0; Linux looks at a root port's type only together with class 0604.
// Document: PCI Local Bus 3.0; PCI Express Base 3.1, 7.8.
namespace cupule::device {

/// Which identity guests see: acrn-dm's `hostbridge` (1275:1275) or `amd_hostbridge` (1022:7432).
enum class HostBridgeModel : std::uint8_t { acrn, amd };

class HostBridge : public snapshot::Device {
  public:
    explicit HostBridge(HostBridgeModel model = HostBridgeModel::acrn);

    pci::Function& function() { return function_; }

    void reset() override { function_.reset(); }
    void visit(snapshot::Visitor& visitor) override { function_.visit(visitor); }

  private:
    pci::Function function_;
    pci::ExpressCapability express_;
};

}  // namespace cupule::device
