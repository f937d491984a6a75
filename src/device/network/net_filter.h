#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace cupule::device {

using MacAddress = std::array<std::uint8_t, 6>;

/// Which frames a network card lets in (Virtio 1.3, 5.1.6.5.1 to 5.1.6.5.3). Lets all in until the
/// driver chooses. A value: written by the control queue, copied to the receiving queues.
struct NetFilter {
    static constexpr std::size_t addresses_max = 64;
    /// Bytes of a frame that a decision needs: addresses and one VLAN tag.
    static constexpr std::size_t head_bytes = 16;

    bool promiscuous = true;
    bool all_multicast = false;
    bool all_unicast = false;
    bool no_multicast = false;
    bool no_unicast = false;
    bool no_broadcast = false;
    /// Only tagged frames of these VLANs pass (CTRL_VLAN); untagged ones always do.
    bool by_vlan = false;
    std::bitset<4096> vlans{};
    MacAddress own{};
    /// At most addresses_max each; a driver with more gets all of the kind.
    bool many_unicast = false;
    bool many_multicast = false;
    std::vector<MacAddress> unicast{};
    std::vector<MacAddress> multicast{};

    /// `head`: the frame from its start, head_bytes of it where it is that long.
    bool passes(std::span<const std::uint8_t> head) const;
};

}  // namespace cupule::device
