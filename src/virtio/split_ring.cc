#include "virtio/split_ring.h"

#include <algorithm>

namespace cupule::virtio {

SplitRing::SplitRing(const RingAreas& areas, std::uint16_t size, RingFeatures features,
                     QueuePosition position)
    : descriptors_(areas.descriptors),
      available_(areas.driver),
      used_(areas.device),
      size_(size),
      features_(features),
      available_end_(position.next_available),
      next_available_(position.next_available),
      next_used_(position.next_used),
      published_used_(position.next_used) {}

Availability SplitRing::refresh() {
    const auto end =
        available_.load<std::uint16_t>(available_ring::index, std::memory_order_acquire);
    if (end == next_available_) {
        return Availability::none;
    }
    // Counted from what was handed back, so that chains in flight count too: a driver has `size`
    // descriptors and no more chains than that. Bounds all that the device holds for this queue.
    if (static_cast<std::uint16_t>(end - next_used_) > size_) {
        return Availability::broken;
    }
    available_end_ = end;
    const auto count = std::min<unsigned>(static_cast<std::uint16_t>(end - next_available_),
                                          lines_max * available_of_a_line);
    for (unsigned later = available_of_a_line; later < count; later += available_of_a_line) {
        const auto index = static_cast<std::uint16_t>(next_available_ + later);
        available_.prefetch(available_ring::entry(slot(index)));
    }
    for (std::uint16_t i = 0; i < ahead; ++i) {
        prefetch(static_cast<std::uint16_t>(next_available_ + i));
    }
    return Availability::some;
}

bool SplitRing::publish() {
    const std::uint16_t before = published_used_;
    published_used_ = next_used_;
    used_.store_fully_ordered<std::uint16_t>(used_ring::index, next_used_);
    if (features_.event_idx) {
        const auto event = available_.load<std::uint16_t>(available_ring::used_event(size_),
                                                          std::memory_order_seq_cst);
        return passes_event(event, next_used_, before);
    }
    const auto flags =
        available_.load<std::uint16_t>(available_ring::flags, std::memory_order_seq_cst);
    return (flags & available_ring::flag_no_interrupt) == 0;
}

void SplitRing::disable_notifications() {
    // With EVENT_IDX an event index that is not moved on is what suppresses (2.7.10).
    if (!features_.event_idx) {
        used_.store<std::uint16_t>(used_ring::flags, used_ring::flag_no_notify);
    }
}

Availability SplitRing::enable_notifications() {
    if (features_.event_idx) {
        used_.store_fully_ordered<std::uint16_t>(used_ring::avail_event(size_), next_available_);
    } else {
        used_.store_fully_ordered<std::uint16_t>(used_ring::flags, 0);
    }
    return poll();
}

}  // namespace cupule::virtio
