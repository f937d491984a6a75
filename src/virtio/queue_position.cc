#include "virtio/queue_position.h"

#include <utility>

#include "virtio/queue_config.h"
#include "virtio/ring_layout.h"

namespace cupule::virtio {

void move_to(RunningQueue& queue, const memory::GuestMemory& memory, std::uint64_t features,
             QueuePosition position) {
    const QueueGeometry at = queue.queue.geometry();
    QueueConfig config({.size_max = at.size});
    const bool described = config.set_size(at.size) &&
                           config.set_area(QueueArea::descriptors, at.descriptor_area) &&
                           config.set_area(QueueArea::driver, at.driver_area) &&
                           config.set_area(QueueArea::device, at.device_area);
    config.set_position(position);
    if (auto again = std::move(config).activate(memory, features); described && again) {
        queue.queue = std::move(*again);
    }
}

SplitIndices split_indices(const Queue& queue, const memory::GuestMemory& memory) {
    const QueueGeometry& at = queue.geometry();
    return {
        .available = memory.load<std::uint16_t>(at.driver_area + available_ring::index).value_or(0),
        .used = memory.load<std::uint16_t>(at.device_area + used_ring::index).value_or(0)};
}

}  // namespace cupule::virtio
