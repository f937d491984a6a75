#pragma once

#include <cstdint>

#include "memory/guest_memory.h"
#include "virtio/device.h"

namespace cupule::virtio {

/// Makes `queue`, which somebody else has served (vhost, vhost-user), a queue of the same geometry
/// that goes on at `position`. `features` are those negotiated. It stays as it is when its rings
/// are not in RAM any more.
void move_to(RunningQueue& queue, const memory::GuestMemory& memory, std::uint64_t features,
             QueuePosition position);

/// How far a split ring has come, as its two indices in memory say.
struct SplitIndices {
    std::uint16_t available = 0;
    std::uint16_t used = 0;
};
SplitIndices split_indices(const Queue& queue, const memory::GuestMemory& memory);

}  // namespace cupule::virtio
