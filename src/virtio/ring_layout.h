#pragma once

#include <array>
#include <bit>
#include <cstdint>

// The bytes of both ring formats in guest memory (Virtio 1.3: split 2.7, packed 2.8). All fields
// are little-endian; Cupule runs on little-endian hosts only.

namespace cupule::virtio {

static_assert(std::endian::native == std::endian::little);

inline constexpr std::uint32_t queue_size_limit = 32768;  // 2.6: both formats
inline constexpr std::uint32_t descriptor_size = 16;

/// Descriptor flags (2.7.5, 2.8.1). The last two exist in packed rings only.
namespace descriptor_flag {
inline constexpr std::uint16_t next = 0x0001;      // VIRTQ_DESC_F_NEXT
inline constexpr std::uint16_t write = 0x0002;     // VIRTQ_DESC_F_WRITE
inline constexpr std::uint16_t indirect = 0x0004;  // VIRTQ_DESC_F_INDIRECT
inline constexpr std::uint16_t avail = 0x0080;     // VIRTQ_DESC_F_AVAIL
inline constexpr std::uint16_t used = 0x8000;      // VIRTQ_DESC_F_USED
}  // namespace descriptor_flag

/// One descriptor of either format as two 64-bit words, so that each half is one load or store:
/// the address, then length (31:0), next or id, and flags. The two formats swap the last two.
struct SplitDescriptor {
    std::uint64_t address = 0;
    std::uint32_t length = 0;
    std::uint16_t flags = 0;
    std::uint16_t next = 0;
};

struct PackedDescriptor {
    std::uint64_t address = 0;
    std::uint32_t length = 0;
    std::uint16_t id = 0;
    std::uint16_t flags = 0;
};

static_assert(sizeof(SplitDescriptor) == descriptor_size);
static_assert(sizeof(PackedDescriptor) == descriptor_size);

template <class Descriptor>
Descriptor make_descriptor(std::uint64_t low, std::uint64_t high) {
    return std::bit_cast<Descriptor>(std::array{low, high});
}

template <class Descriptor>
std::array<std::uint64_t, 2> words_of(const Descriptor& descriptor) {
    return std::bit_cast<std::array<std::uint64_t, 2>>(descriptor);
}

/// Offsets in the split ring's driver area, "available ring" (2.7.6) ...
namespace available_ring {
inline constexpr std::uint32_t flags = 0;
inline constexpr std::uint32_t index = 2;
inline constexpr std::uint16_t flag_no_interrupt = 1;  // VIRTQ_AVAIL_F_NO_INTERRUPT
constexpr std::uint32_t entry(std::uint32_t i) {
    return 4 + 2 * i;
}
constexpr std::uint32_t used_event(std::uint32_t queue_size) {
    return entry(queue_size);
}
constexpr std::uint32_t bytes(std::uint32_t queue_size) {
    return used_event(queue_size) + 2;
}
}  // namespace available_ring

/// ... and in its device area, "used ring" (2.7.8).
namespace used_ring {
inline constexpr std::uint32_t flags = 0;
inline constexpr std::uint32_t index = 2;
inline constexpr std::uint16_t flag_no_notify = 1;  // VIRTQ_USED_F_NO_NOTIFY
constexpr std::uint32_t entry_id(std::uint32_t i) {
    return 4 + 8 * i;
}
constexpr std::uint32_t entry_length(std::uint32_t i) {
    return entry_id(i) + 4;
}
constexpr std::uint32_t avail_event(std::uint32_t queue_size) {
    return entry_id(queue_size);
}
constexpr std::uint32_t bytes(std::uint32_t queue_size) {
    return avail_event(queue_size) + 2;
}
}  // namespace used_ring

/// Event suppression structure of a packed ring (2.8.14): offset and wrap in the low half, flags in
/// the high half of one 32-bit word.
namespace event_suppression {
inline constexpr std::uint32_t bytes = 4;
inline constexpr std::uint16_t enable = 0;         // RING_EVENT_FLAGS_ENABLE
inline constexpr std::uint16_t disable = 1;        // RING_EVENT_FLAGS_DISABLE
inline constexpr std::uint16_t at_descriptor = 2;  // RING_EVENT_FLAGS_DESC
constexpr std::uint32_t make(std::uint16_t offset, bool wrap, std::uint16_t flags) {
    return (std::uint32_t{flags} << 16) | (wrap ? 0x8000U : 0U) | (offset & 0x7FFFU);
}
constexpr std::uint16_t flags_of(std::uint32_t word) {
    return (word >> 16) & 3;
}
}  // namespace event_suppression

/// Whether moving an index from `old_index` to `new_index` passes `event`: the test of EVENT_IDX
/// (2.7.10), in arithmetic modulo 2^16.
constexpr bool passes_event(std::uint16_t event, std::uint16_t new_index, std::uint16_t old_index) {
    return static_cast<std::uint16_t>(new_index - event - 1) <
           static_cast<std::uint16_t>(new_index - old_index);
}

}  // namespace cupule::virtio
