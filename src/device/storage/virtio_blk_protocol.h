#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bits.h"

// Virtio 1.3, 5.2: what driver and device of a disk say to each other.
namespace cupule::device::virtio_blk {

inline constexpr std::uint64_t sector_bytes =
    512;  // the unit of requests, whatever the sector size

namespace feature {
inline constexpr std::uint64_t seg_max = base::bit(2);        // VIRTIO_BLK_F_SEG_MAX
inline constexpr std::uint64_t ro = base::bit(5);             // VIRTIO_BLK_F_RO
inline constexpr std::uint64_t blk_size = base::bit(6);       // VIRTIO_BLK_F_BLK_SIZE
inline constexpr std::uint64_t flush = base::bit(9);          // VIRTIO_BLK_F_FLUSH
inline constexpr std::uint64_t topology = base::bit(10);      // VIRTIO_BLK_F_TOPOLOGY
inline constexpr std::uint64_t config_wce = base::bit(11);    // VIRTIO_BLK_F_CONFIG_WCE
inline constexpr std::uint64_t mq = base::bit(12);            // VIRTIO_BLK_F_MQ
inline constexpr std::uint64_t discard = base::bit(13);       // VIRTIO_BLK_F_DISCARD
inline constexpr std::uint64_t write_zeroes = base::bit(14);  // VIRTIO_BLK_F_WRITE_ZEROES
}  // namespace feature

namespace request {
inline constexpr std::uint32_t in = 0;             // VIRTIO_BLK_T_IN
inline constexpr std::uint32_t out = 1;            // VIRTIO_BLK_T_OUT
inline constexpr std::uint32_t flush = 4;          // VIRTIO_BLK_T_FLUSH
inline constexpr std::uint32_t get_id = 8;         // VIRTIO_BLK_T_GET_ID
inline constexpr std::uint32_t discard = 11;       // VIRTIO_BLK_T_DISCARD
inline constexpr std::uint32_t write_zeroes = 13;  // VIRTIO_BLK_T_WRITE_ZEROES
inline constexpr std::size_t id_bytes = 20;

/// What a request begins with (struct virtio_blk_req).
struct Header {
    std::uint32_t type;
    std::uint32_t reserved;
    std::uint64_t sector;
};
/// What a DISCARD or WRITE_ZEROES lists (struct virtio_blk_discard_write_zeroes).
struct Segment {
    std::uint64_t sector;
    std::uint32_t sectors;
    std::uint32_t flags;
};
inline constexpr std::uint32_t unmap_flag = 1;
}  // namespace request

namespace outcome {
inline constexpr std::uint8_t ok = 0;           // VIRTIO_BLK_S_OK
inline constexpr std::uint8_t io_error = 1;     // VIRTIO_BLK_S_IOERR
inline constexpr std::uint8_t unsupported = 2;  // VIRTIO_BLK_S_UNSUPP
}  // namespace outcome

/// struct virtio_blk_config (5.2.4).
namespace config {
inline constexpr std::size_t capacity = 0;
inline constexpr std::size_t seg_max = 12;
inline constexpr std::size_t blk_size = 20;
inline constexpr std::size_t physical_block_exp = 24;
inline constexpr std::size_t min_io_size = 26;
inline constexpr std::size_t writeback = 32;
inline constexpr std::size_t num_queues = 34;
inline constexpr std::size_t max_discard_sectors = 36;
inline constexpr std::size_t max_discard_seg = 40;
inline constexpr std::size_t discard_sector_alignment = 44;
inline constexpr std::size_t max_write_zeroes_sectors = 48;
inline constexpr std::size_t max_write_zeroes_seg = 52;
inline constexpr std::size_t write_zeroes_may_unmap = 56;
inline constexpr std::size_t bytes = 60;
}  // namespace config

}  // namespace cupule::device::virtio_blk
