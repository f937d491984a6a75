#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/error.h"
#include "pci/root_port.h"
#include "snapshot/device.h"

namespace cupule::passthrough {

/// What stands above an endpoint that measures time (PCI Express Base 3.1, 6.22 and 7.32).
struct TimeSource {
    /// The endpoint is part of the root complex: no port, nothing above it.
    bool integrated = false;
    /// Of the root port: its identity, link (speed and width as in Link Status), and its PTM
    /// capability and control registers.
    pci::Attributes port{};
    std::uint16_t link_status = 0;
    std::uint32_t capability = 0;
    std::uint32_t control = 0;
};

/// Whether PTM works between an endpoint and what is above it: the endpoint is a requester and the
/// only function of its device; above it is nothing (integrated) or a root port that can be and is
/// the PTM root. `endpoint` and `port` are configuration spaces; `port` is empty where there is
/// none. The error says which of this does not hold.
base::Result<TimeSource> check_time_measurement(std::span<const std::uint8_t> endpoint,
                                                std::span<const std::uint8_t> port);

/// A virtual root port with the identity and the PTM capability of the host's own, which the guest
/// can only read: on, and the root.
class TimePort : public snapshot::Device {
  public:
    TimePort(const TimeSource& source, pci::BusSpaces spaces, std::uint8_t port_number);

    pci::RootPort& port() { return port_; }
    void reset() override { port_.reset(); }
    void visit(snapshot::Visitor& visitor) override { port_.visit(visitor); }

  private:
    pci::RootPort port_;
};

}  // namespace cupule::passthrough
