#pragma once

#include <cstdint>

#include "memory/guest_address.h"
#include "virtio/ring_area.h"

namespace cupule::virtio {

/// Where a queue lies: what the driver chose, never changed while the queue runs.
struct QueueGeometry {
    std::uint16_t size = 0;
    memory::GuestAddress descriptor_area{};  // split: descriptor table; packed: the ring
    memory::GuestAddress driver_area{};      // split: available ring; packed: driver events
    memory::GuestAddress device_area{};      // split: used ring; packed: device events

    bool operator==(const QueueGeometry&) const = default;
};

/// The same as host memory.
struct RingAreas {
    RingArea descriptors;
    RingArea driver;
    RingArea device;
};

/// How far a queue has come. All zeros and both wrap counters set is a fresh queue; other values
/// come from a snapshot or from vhost-user. A split ring ignores the wrap counters; a packed ring's
/// positions are below its size.
struct QueuePosition {
    std::uint16_t next_available = 0;
    std::uint16_t next_used = 0;
    bool available_wrap = true;
    bool used_wrap = true;

    bool operator==(const QueuePosition&) const = default;
};

/// What the ring formats need to know of the negotiation.
struct RingFeatures {
    bool event_idx = false;
    bool indirect = false;
};

/// Whether a ring holds a chain that was not taken yet.
enum class Availability : std::uint8_t { none, some, broken };

}  // namespace cupule::virtio
