#pragma once

#include <cstdint>
#include <span>

#include "virtio/queue_geometry.h"
#include "virtio/ring_layout.h"

namespace cupule::virtio {

/// A record of the chains that a split queue has taken and not handed back, kept where it outlives
/// this process, so that another one can go on (vhost-user's inflight area). Called by the queue,
/// on its thread, before the driver can see what is recorded.
class InflightLog {
  public:
    virtual ~InflightLog() = default;
    /// The chain that begins at `head` was taken.
    virtual void taken(std::uint16_t head) = 0;
    /// It has been written to the used ring; the driver does not see it yet.
    virtual void put(std::uint16_t head) = 0;
    /// The driver sees all that was put: the used ring's index is `used_index` now.
    virtual void published(std::uint16_t used_index) = 0;
};

/// The same of a packed queue, whose ring forgets what was taken out of it: the record has copies.
/// Called by the ring, on the queue's thread.
class PackedInflightLog {
  public:
    virtual ~PackedInflightLog() = default;
    /// A chain was taken: its descriptors as they stood in the ring. The last one's id is its name.
    virtual void taken(std::span<const PackedDescriptor> chain) = 0;
    /// It is among those that are shown next.
    virtual void put(std::uint16_t id) = 0;
    /// All that was put is about to be shown; then the ring stands at `position`.
    virtual void publishing(const QueuePosition& position) = 0;
    /// The driver sees it.
    virtual void published() = 0;
};

}  // namespace cupule::virtio
