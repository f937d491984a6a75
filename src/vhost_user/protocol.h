#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bits.h"

// What the two ends of vhost-user say to each other ("Vhost-user Protocol", docs/interop of QEMU
// 7.2): numbers, flags and the layouts of payloads, all in the byte order of the host.
namespace cupule::vhost_user {

/// Requests of the front end.
enum class Request : std::uint32_t {
    get_features = 1,
    set_features = 2,
    set_owner = 3,
    reset_owner = 4,
    set_mem_table = 5,
    set_vring_num = 8,
    set_vring_addr = 9,
    set_vring_base = 10,
    get_vring_base = 11,
    set_vring_kick = 12,
    set_vring_call = 13,
    set_vring_err = 14,
    get_protocol_features = 15,
    set_protocol_features = 16,
    get_queue_num = 17,
    set_vring_enable = 18,
    set_backend_req_fd = 21,
    get_config = 24,
    set_config = 25,
    get_inflight_fd = 31,
    set_inflight_fd = 32,
    reset_device = 34,
};

/// Requests of the back end, on a connection of their own.
enum class BackEndRequest : std::uint32_t {
    config_change = 2,
};

namespace flag {
inline constexpr std::uint32_t version_mask = 3;
inline constexpr std::uint32_t version = 1;
inline constexpr std::uint32_t reply = 1U << 2;
inline constexpr std::uint32_t need_reply = 1U << 3;
}  // namespace flag

/// VHOST_USER_F_PROTOCOL_FEATURES and VHOST_F_LOG_ALL, among the virtio features: between the ends
/// only, never a driver's.
inline constexpr std::uint64_t has_protocol_features = base::bit(30);
inline constexpr std::uint64_t log_all = base::bit(26);

namespace protocol_feature {
inline constexpr std::uint64_t mq = base::bit(0);
inline constexpr std::uint64_t reply_ack = base::bit(3);
inline constexpr std::uint64_t backend_req = base::bit(5);
inline constexpr std::uint64_t config = base::bit(9);
inline constexpr std::uint64_t inflight_shmfd = base::bit(12);
inline constexpr std::uint64_t reset_device = base::bit(13);
}  // namespace protocol_feature

struct Header {
    std::uint32_t request = 0;
    std::uint32_t flags = 0;
    /// Of the payload, in bytes.
    std::uint32_t size = 0;
};
static_assert(sizeof(Header) == 12);

struct VringState {
    std::uint32_t index = 0;
    std::uint32_t number = 0;
};

/// Addresses are the front end's own ("user addresses").
struct VringAddress {
    std::uint32_t index = 0;
    std::uint32_t flags = 0;
    std::uint64_t descriptors = 0;
    std::uint64_t used = 0;
    std::uint64_t available = 0;
    std::uint64_t log = 0;
};
static_assert(sizeof(VringAddress) == 40);

/// SET_VRING_KICK, CALL and ERR: the ring, and whether no descriptor comes with it.
namespace vring_file {
inline constexpr std::uint64_t index_mask = 0xFF;
inline constexpr std::uint64_t no_descriptor = base::bit(8);
}  // namespace vring_file

struct MemoryRegion {
    std::uint64_t guest_address = 0;
    std::uint64_t size = 0;
    std::uint64_t user_address = 0;
    /// Where in its file it begins.
    std::uint64_t file_offset = 0;
};
inline constexpr std::size_t regions_max = 8;

/// SET_MEM_TABLE: a count, then so many regions, each with a descriptor.
struct MemoryTableHead {
    std::uint32_t count = 0;
    std::uint32_t padding = 0;
};

/// GET_CONFIG and SET_CONFIG: followed by `size` bytes.
struct ConfigHead {
    std::uint32_t offset = 0;
    std::uint32_t size = 0;
    std::uint32_t flags = 0;
};
static_assert(sizeof(ConfigHead) == 12);
inline constexpr std::uint32_t config_bytes_max = 256;

/// GET_INFLIGHT_FD and SET_INFLIGHT_FD.
struct Inflight {
    std::uint64_t size = 0;
    std::uint64_t offset = 0;
    std::uint16_t queues = 0;
    std::uint16_t queue_size = 0;
    /// Front ends send 20 bytes or, with C's padding, 24.
    std::uint32_t padding = 0;
};
static_assert(sizeof(Inflight) == 24);
inline constexpr std::uint32_t inflight_bytes_min = 20;

/// The longest payload that any message has.
inline constexpr std::uint32_t payload_bytes_max = sizeof(ConfigHead) + config_bytes_max;
static_assert(sizeof(MemoryTableHead) + regions_max * sizeof(MemoryRegion) <= payload_bytes_max);
/// The most descriptors that any message carries.
inline constexpr std::size_t descriptors_max = regions_max;

}  // namespace cupule::vhost_user
