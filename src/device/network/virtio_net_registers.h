#pragma once

#include <cstdint>

#include "base/bits.h"

// Virtio 1.3, 5.1: numbers of the network device, with the specification's names.

namespace cupule::device::net {

namespace feature {
inline constexpr std::uint64_t csum = base::bit(0);                 // VIRTIO_NET_F_CSUM
inline constexpr std::uint64_t guest_csum = base::bit(1);           // VIRTIO_NET_F_GUEST_CSUM
inline constexpr std::uint64_t ctrl_guest_offloads = base::bit(2);  // .._F_CTRL_GUEST_OFFLOADS
inline constexpr std::uint64_t mtu = base::bit(3);                  // VIRTIO_NET_F_MTU
inline constexpr std::uint64_t mac = base::bit(5);                  // VIRTIO_NET_F_MAC
inline constexpr std::uint64_t guest_tso4 = base::bit(7);           // VIRTIO_NET_F_GUEST_TSO4
inline constexpr std::uint64_t guest_tso6 = base::bit(8);           // VIRTIO_NET_F_GUEST_TSO6
inline constexpr std::uint64_t guest_ecn = base::bit(9);            // VIRTIO_NET_F_GUEST_ECN
inline constexpr std::uint64_t host_tso4 = base::bit(11);           // VIRTIO_NET_F_HOST_TSO4
inline constexpr std::uint64_t host_tso6 = base::bit(12);           // VIRTIO_NET_F_HOST_TSO6
inline constexpr std::uint64_t host_ecn = base::bit(13);            // VIRTIO_NET_F_HOST_ECN
inline constexpr std::uint64_t mrg_rxbuf = base::bit(15);           // VIRTIO_NET_F_MRG_RXBUF
inline constexpr std::uint64_t status = base::bit(16);              // VIRTIO_NET_F_STATUS
inline constexpr std::uint64_t ctrl_vq = base::bit(17);             // VIRTIO_NET_F_CTRL_VQ
inline constexpr std::uint64_t ctrl_rx = base::bit(18);             // VIRTIO_NET_F_CTRL_RX
inline constexpr std::uint64_t ctrl_vlan = base::bit(19);           // VIRTIO_NET_F_CTRL_VLAN
inline constexpr std::uint64_t ctrl_rx_extra = base::bit(20);       // VIRTIO_NET_F_CTRL_RX_EXTRA
inline constexpr std::uint64_t mq = base::bit(22);                  // VIRTIO_NET_F_MQ
inline constexpr std::uint64_t ctrl_mac_addr = base::bit(23);       // VIRTIO_NET_F_CTRL_MAC_ADDR
inline constexpr std::uint64_t guest_uso4 = base::bit(54);          // VIRTIO_NET_F_GUEST_USO4
inline constexpr std::uint64_t guest_uso6 = base::bit(55);          // VIRTIO_NET_F_GUEST_USO6
inline constexpr std::uint64_t host_uso = base::bit(56);            // VIRTIO_NET_F_HOST_USO
inline constexpr std::uint64_t rss = base::bit(60);                 // VIRTIO_NET_F_RSS
/// What CTRL_GUEST_OFFLOADS may switch (5.1.6.5.6.1).
inline constexpr std::uint64_t guest_offloads =
    guest_csum | guest_tso4 | guest_tso6 | guest_ecn | guest_uso4 | guest_uso6;
}  // namespace feature

/// struct virtio_net_config (5.1.4).
namespace config {
inline constexpr std::uint64_t mac = 0;
inline constexpr std::uint64_t status = 6;
inline constexpr std::uint64_t max_virtqueue_pairs = 8;
inline constexpr std::uint64_t mtu = 10;
inline constexpr std::uint64_t rss_max_key_size = 17;
inline constexpr std::uint64_t rss_max_indirection_table_length = 18;
inline constexpr std::uint64_t supported_hash_types = 20;
inline constexpr std::uint64_t bytes = 24;
inline constexpr std::uint64_t mac_bytes = 6;
inline constexpr std::uint16_t link_up = 1;  // VIRTIO_NET_S_LINK_UP
}  // namespace config

/// struct virtio_net_hdr (5.1.6).
namespace header {
inline constexpr std::uint8_t needs_csum = 1;  // VIRTIO_NET_HDR_F_NEEDS_CSUM
inline constexpr std::uint8_t gso_none = 0;    // VIRTIO_NET_HDR_GSO_NONE
inline constexpr std::uint8_t gso_tcpv4 = 1;   // VIRTIO_NET_HDR_GSO_TCPV4
inline constexpr std::uint8_t gso_tcpv6 = 4;   // VIRTIO_NET_HDR_GSO_TCPV6
inline constexpr std::uint8_t gso_udp_l4 = 5;  // VIRTIO_NET_HDR_GSO_UDP_L4
inline constexpr std::uint8_t gso_ecn = 0x80;  // VIRTIO_NET_HDR_GSO_ECN
inline constexpr std::uint64_t buffers_at = 10;
inline constexpr std::uint64_t legacy_bytes = 10;  // without `num_buffers` (5.1.6.1)
}  // namespace header

/// Control commands: class in the high byte, command in the low one (5.1.6.5).
namespace control {
inline constexpr std::uint16_t rx_promisc = 0x0000;          // VIRTIO_NET_CTRL_RX_PROMISC
inline constexpr std::uint16_t rx_allmulti = 0x0001;         // VIRTIO_NET_CTRL_RX_ALLMULTI
inline constexpr std::uint16_t rx_alluni = 0x0002;           // VIRTIO_NET_CTRL_RX_ALLUNI
inline constexpr std::uint16_t rx_nomulti = 0x0003;          // VIRTIO_NET_CTRL_RX_NOMULTI
inline constexpr std::uint16_t rx_nouni = 0x0004;            // VIRTIO_NET_CTRL_RX_NOUNI
inline constexpr std::uint16_t rx_nobcast = 0x0005;          // VIRTIO_NET_CTRL_RX_NOBCAST
inline constexpr std::uint16_t mac_table_set = 0x0100;       // VIRTIO_NET_CTRL_MAC_TABLE_SET
inline constexpr std::uint16_t mac_addr_set = 0x0101;        // VIRTIO_NET_CTRL_MAC_ADDR_SET
inline constexpr std::uint16_t vlan_add = 0x0200;            // VIRTIO_NET_CTRL_VLAN_ADD
inline constexpr std::uint16_t vlan_del = 0x0201;            // VIRTIO_NET_CTRL_VLAN_DEL
inline constexpr std::uint16_t mq_pairs_set = 0x0400;        // VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET
inline constexpr std::uint16_t mq_rss_config = 0x0401;       // VIRTIO_NET_CTRL_MQ_RSS_CONFIG
inline constexpr std::uint16_t guest_offloads_set = 0x0500;  // .._CTRL_GUEST_OFFLOADS_SET
inline constexpr std::uint8_t ok = 0;                        // VIRTIO_NET_OK
inline constexpr std::uint8_t error = 1;                     // VIRTIO_NET_ERR
}  // namespace control

}  // namespace cupule::device::net
