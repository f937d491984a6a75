#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

// What a socket device and its driver say to each other (Virtio 1.3, 5.10), little-endian.
namespace cupule::device::vsock {

/// struct virtio_vsock_hdr (5.10.6).
struct __attribute__((packed)) Header {
    std::uint64_t source_cid = 0;
    std::uint64_t target_cid = 0;
    std::uint32_t source_port = 0;
    std::uint32_t target_port = 0;
    /// Of the data behind it, in bytes.
    std::uint32_t length = 0;
    std::uint16_t type = 0;
    std::uint16_t operation = 0;
    std::uint32_t flags = 0;
    /// The sender's buffer, and how much it has taken out of it so far, modulo 2^32.
    std::uint32_t buffer_bytes = 0;
    std::uint32_t forwarded_bytes = 0;
};
static_assert(sizeof(Header) == 44);

inline constexpr std::uint16_t type_stream = 1;  // VIRTIO_VSOCK_TYPE_STREAM

namespace operation {
inline constexpr std::uint16_t request = 1;         // VIRTIO_VSOCK_OP_REQUEST
inline constexpr std::uint16_t response = 2;        // VIRTIO_VSOCK_OP_RESPONSE
inline constexpr std::uint16_t reset = 3;           // VIRTIO_VSOCK_OP_RST
inline constexpr std::uint16_t shutdown = 4;        // VIRTIO_VSOCK_OP_SHUTDOWN
inline constexpr std::uint16_t data = 5;            // VIRTIO_VSOCK_OP_RW
inline constexpr std::uint16_t credit_update = 6;   // VIRTIO_VSOCK_OP_CREDIT_UPDATE
inline constexpr std::uint16_t credit_request = 7;  // VIRTIO_VSOCK_OP_CREDIT_REQUEST
}  // namespace operation

/// Flags of a shutdown: what its sender will not do any more (5.10.6.6).
namespace will_not {
inline constexpr std::uint32_t receive = 1;  // VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE
inline constexpr std::uint32_t send = 2;     // VIRTIO_VSOCK_SHUTDOWN_F_SEND
inline constexpr std::uint32_t both = receive | send;
}  // namespace will_not

inline constexpr std::uint64_t host_cid = 2;  // VMADDR_CID_HOST

/// A connection, among those of one guest with its host.
struct Ports {
    std::uint32_t host = 0;
    std::uint32_t guest = 0;
    auto operator<=>(const Ports&) const = default;
};

}  // namespace cupule::device::vsock
