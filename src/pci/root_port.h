#pragma once

#include <cstdint>

#include "pci/bridge.h"
#include "pci/express_capability.h"
#include "snapshot/device.h"

namespace cupule::pci {

/// A PCI Express root port: a bridge whose secondary bus is a link, so that only device 0 stands
/// behind it (PCI Express Base 3.1, 7.3.1). Passthrough adds a PTM capability through
/// `bridge().function().config()`.
class RootPort : public snapshot::Device {
  public:
    /// `attributes`: ids of the port; header type, class and express-ness are set here.
    /// `port_number` differs between the ports of a machine. `link`: speed and width as in Link
    /// Status, 2.5 GT/s and x1 unless said.
    RootPort(Attributes attributes, BusSpaces spaces, std::uint8_t port_number,
             std::uint16_t link = link_gen1_x1);

    Bridge& bridge() { return bridge_; }
    /// Puts a function of the one device behind the port.
    base::Result<void> add(unsigned number, Function& function, event::Monitor& monitor,
                           std::string name);

    void reset() override { bridge_.function().reset(); }
    void visit(snapshot::Visitor& visitor) override { bridge_.function().visit(visitor); }

  private:
    static Attributes as_port(Attributes attributes);
    Bridge bridge_;
    ExpressCapability express_;
};

}  // namespace cupule::pci
