#pragma once

#include <cstdint>
#include <span>

#include "backend/net_port.h"
#include "device/network/net_filter.h"
#include "virtio/device_state.h"

namespace cupule::device::net {

/// What the configuration area shows (Virtio 1.3, 5.1.4).
struct Configuration {
    /// Packed by `pack`.
    std::uint64_t mac = 0;
    bool link_up = true;
    std::uint16_t pairs = 1;
    std::uint16_t mtu = 0;
    /// RSS is offered.
    bool steers = false;
};

/// `size` bytes at `offset`, little-endian; zeros past the end.
std::uint64_t read(const Configuration& configuration, std::uint64_t offset, unsigned size);

/// Six bytes, the first one lowest.
std::uint64_t pack(const MacAddress& mac);
MacAddress unpack(std::uint64_t mac);

/// `mac` after a driver's write to the configuration area. Only drivers of the legacy interface may
/// write it, and have no need where there is a command (5.1.4.3).
std::uint64_t write_mac(std::uint64_t mac, std::uint64_t features, std::uint64_t offset,
                        unsigned size, std::uint64_t value);

/// Bytes of the header in front of frames (5.1.6.1).
std::size_t header_bytes(std::uint64_t features);

/// Feature bits of both directions for what a back end can do.
std::uint64_t offload_features(const backend::NetOffloads& offloads);
/// Work that the guest takes from us, from feature bits.
backend::NetOffloads guest_offloads(std::uint64_t features);

/// Features that need others (5.1.3.1).
std::span<const virtio::FeatureDependency> dependencies();

}  // namespace cupule::device::net
