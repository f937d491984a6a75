#pragma once

#include <cstdint>

#include "base/field.h"
#include "virtio/queue_geometry.h"

// SET_VRING_BASE and GET_VRING_BASE: where a ring goes on. Split rings: the next available index.
// Packed ones: two positions of 15 bits, each with its wrap counter above it.
namespace cupule::vhost_user {

namespace packed_base {
inline constexpr base::Field<std::uint32_t, 14, 0, std::uint16_t> available{};
inline constexpr base::Bit<std::uint32_t, 15> available_wrap{};
inline constexpr base::Field<std::uint32_t, 30, 16, std::uint16_t> used{};
inline constexpr base::Bit<std::uint32_t, 31> used_wrap{};
}  // namespace packed_base

/// A split ring's place in the used ring is not in it: that is the used ring's own index.
constexpr virtio::QueuePosition position_of(std::uint32_t number, bool packed) {
    if (!packed) {
        return {.next_available = static_cast<std::uint16_t>(number)};
    }
    return {.next_available = packed_base::available.of(number),
            .next_used = packed_base::used.of(number),
            .available_wrap = packed_base::available_wrap.of(number),
            .used_wrap = packed_base::used_wrap.of(number)};
}

constexpr std::uint32_t base_of(const virtio::QueuePosition& at, bool packed) {
    if (!packed) {
        return at.next_available;
    }
    return packed_base::available.make(at.next_available) |
           packed_base::available_wrap.make(at.available_wrap) |
           packed_base::used.make(at.next_used) | packed_base::used_wrap.make(at.used_wrap);
}

}  // namespace cupule::vhost_user
