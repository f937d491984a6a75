#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/net_port.h"
#include "base/error.h"
#include "event/event_loop.h"

namespace cupule::backend {

/// A port of the host that leads to one of the guest.
struct HostForward {
    bool udp = false;
    /// Network byte order; 0: all addresses of the host, the address DHCP gives the guest.
    std::uint32_t host_address = 0;
    std::uint32_t guest_address = 0;
    std::uint16_t host_port = 0;
    std::uint16_t guest_port = 0;

    bool operator==(const HostForward&) const = default;
};

/// The user network: a NAT router inside this process (libslirp) that needs no privilege.
struct SlirpOptions {
    /// The guest reaches nothing but what is forwarded to it.
    bool restricted = false;
    /// 10.0.2.2 leads to the host's own 127.0.0.1.
    bool host_loopback = true;
    std::vector<HostForward> forwards{};

    bool operator==(const SlirpOptions&) const = default;
};

/// The network 10.0.2.0/24 and fec0::/64: router and host .2, name server .3, the guest gets .15 by
/// DHCP. Fails when a host port is taken. On the thread of `loop`; loop and monitor outlive it.
base::Result<std::unique_ptr<NetPort>> open_slirp_port(const SlirpOptions& options,
                                                       event::EventLoop& loop,
                                                       event::Monitor& monitor);

}  // namespace cupule::backend
