#include "device/network/net_filter.h"

#include <algorithm>

namespace cupule::device {
namespace {

constexpr std::size_t ethernet_bytes = 14;
constexpr MacAddress broadcast{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
constexpr std::uint16_t vlan_tag = 0x8100;  // IEEE 802.1Q TPID

std::uint16_t word_at(std::span<const std::uint8_t> head, std::size_t at) {
    return static_cast<std::uint16_t>(head[at] << 8 | head[at + 1]);
}

}  // namespace

bool NetFilter::passes(std::span<const std::uint8_t> head) const {
    if (head.size() < ethernet_bytes) {
        return false;
    }
    if (by_vlan && head.size() >= head_bytes && word_at(head, 12) == vlan_tag &&
        !vlans[word_at(head, 14) & 0xFFF]) {
        return false;
    }
    if (promiscuous) {
        return true;
    }
    MacAddress to;
    std::copy_n(head.begin(), to.size(), to.begin());
    if (to == broadcast) {
        return !no_broadcast;
    }
    if ((to[0] & 1) != 0) {
        return !no_multicast && (all_multicast || many_multicast ||
                                 std::ranges::find(multicast, to) != multicast.end());
    }
    return !no_unicast && (all_unicast || many_unicast || to == own ||
                           std::ranges::find(unicast, to) != unicast.end());
}

}  // namespace cupule::device
