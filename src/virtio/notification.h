#pragma once

#include <cstdint>

#include "base/field.h"

namespace cupule::virtio {

/// What a driver writes to a doorbell with VIRTIO_F_NOTIFICATION_DATA (Virtio 1.3, 2.9, 4.1.5.2):
/// the queue, and how far it has made buffers available. A hint that costs nothing to ignore: the
/// ring says the same and is what counts.
struct Notification {
    std::uint16_t queue = 0;        // queue index, or queue_notif_config_data when negotiated
    std::uint16_t next_offset = 0;  // packed: place in the ring; split: with wrap, the index
    bool next_wrap = false;

    static constexpr base::Field<std::uint32_t, 15, 0, std::uint16_t> queue_field{};    // vq_index
    static constexpr base::Field<std::uint32_t, 30, 16, std::uint16_t> offset_field{};  // next_off
    static constexpr base::Bit<std::uint32_t, 31> wrap_field{};                         // next_wrap

    static constexpr Notification parse(std::uint32_t written) {
        return {.queue = queue_field.of(written),
                .next_offset = offset_field.of(written),
                .next_wrap = wrap_field.of(written)};
    }

    /// Split rings: the 16-bit available index, whose top bit is what packed rings call wrap.
    constexpr std::uint16_t available_index() const {
        return static_cast<std::uint16_t>(next_offset | (next_wrap ? 0x8000U : 0U));
    }
};

}  // namespace cupule::virtio
