#pragma once

#include <cstdint>

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

}  // namespace cupule::virtio
