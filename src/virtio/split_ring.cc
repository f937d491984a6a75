#include "virtio/split_ring.h"

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

Availability SplitRing::poll() {
    if (next_available_ != available_end_) {
        return Availability::some;
    }
    return refresh();
}

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
    return Availability::some;
}

SplitDescriptor SplitRing::load_descriptor(std::uint16_t index) const {
    const std::uint32_t offset = index * descriptor_size;
    const auto low = descriptors_.load<std::uint64_t>(offset);
    const auto high = descriptors_.load<std::uint64_t>(offset + 8);
    return make_descriptor<SplitDescriptor>(low, high);
}

QueueFault SplitRing::take(ChainBuilder& builder) {
    const auto head = available_.load<std::uint16_t>(available_ring::entry(slot(next_available_)));
    const QueueFault fault = take_again(builder, head);
    if (fault == QueueFault::none) {
        ++next_available_;
    }
    return fault;
}

QueueFault SplitRing::take_again(ChainBuilder& builder, std::uint16_t head) {
    if (head >= size_) {
        return QueueFault::head_out_of_range;
    }
    std::uint16_t index = head;
    for (std::uint32_t count = 0; count < size_; ++count) {
        const SplitDescriptor descriptor = load_descriptor(index);
        const bool last = (descriptor.flags & descriptor_flag::next) == 0;
        const bool indirect = (descriptor.flags & descriptor_flag::indirect) != 0;
        const QueueFault fault =
            indirect ? builder.add_split_table(descriptor)
                     : builder.add(descriptor.address, descriptor.length,
                                   (descriptor.flags & descriptor_flag::write) != 0);
        if (fault != QueueFault::none) {
            return fault;
        }
        if (last) {
            builder.slot().id = head;
            builder.slot().descriptors = 1;
            return QueueFault::none;
        }
        index = descriptor.next;
        if (index >= size_) {
            return QueueFault::next_out_of_range;
        }
    }
    return QueueFault::chain_loops;
}

void SplitRing::put_used(std::uint16_t id, std::uint16_t /*descriptors*/, std::uint32_t written) {
    const std::uint32_t i = slot(next_used_);
    used_.store<std::uint32_t>(used_ring::entry_id(i), id);
    used_.store<std::uint32_t>(used_ring::entry_length(i), written);
    ++next_used_;
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
