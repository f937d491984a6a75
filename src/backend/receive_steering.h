#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cupule::backend {

/// What frames a hash is made of (Virtio 1.3, 5.1.6.4.3.1), with the specification's bits.
namespace hash_type {
inline constexpr std::uint32_t ipv4 = 1;   // VIRTIO_NET_HASH_TYPE_IPv4
inline constexpr std::uint32_t tcpv4 = 2;  // VIRTIO_NET_HASH_TYPE_TCPv4
inline constexpr std::uint32_t udpv4 = 4;  // VIRTIO_NET_HASH_TYPE_UDPv4
inline constexpr std::uint32_t ipv6 = 8;
inline constexpr std::uint32_t tcpv6 = 16;
inline constexpr std::uint32_t udpv6 = 32;
inline constexpr std::uint32_t all = ipv4 | tcpv4 | udpv4 | ipv6 | tcpv6 | udpv6;
}  // namespace hash_type

/// Which pair a frame comes in by (5.1.6.5.7): a Toeplitz hash over its addresses and ports, cut by
/// a mask, is an index into a table.
struct ReceiveSteering {
    static constexpr std::size_t key_bytes = 40;
    static constexpr std::size_t table_length_max = 128;

    /// Of hash_type::all.
    std::uint32_t hash_types = 0;
    std::array<std::uint8_t, key_bytes> key{};
    /// The pair for frames that have no hash.
    std::uint16_t unclassified = 0;
    /// Pairs: a power of two of them, at most table_length_max.
    std::vector<std::uint16_t> table{0};

    bool operator==(const ReceiveSteering&) const = default;
};

/// The longest input of a hash: two IPv6 addresses and two ports.
inline constexpr std::size_t hash_input_bytes = 36;

/// A Toeplitz hash as a table: the hash of an input is the exclusive or of `[i][input[i]]` over its
/// bytes, because each bit of the input adds 32 bits of the key that depend on its place alone.
using ToeplitzTables = std::array<std::array<std::uint32_t, 256>, hash_input_bytes>;

/// Fills `tables` for a key.
void make_toeplitz_tables(const std::array<std::uint8_t, ReceiveSteering::key_bytes>& key,
                          ToeplitzTables& tables);

}  // namespace cupule::backend
