#include "virtio/packed_ring.h"

#include <utility>

#include "base/bits.h"

namespace cupule::virtio {
namespace {

constexpr std::uint32_t high_half(std::uint16_t index) {
    return index * descriptor_size + 8;
}

}  // namespace

PackedRing::PackedRing(const RingAreas& areas, std::uint16_t size, RingFeatures features,
                       QueuePosition position)
    : ring_(areas.descriptors),
      driver_events_(areas.driver),
      device_events_(areas.device),
      size_(size),
      features_(features),
      available_{position.next_available, position.available_wrap},
      used_{position.next_used, position.used_wrap} {
    // What is in flight between the two places is lost to whoever restores; a drained queue has
    // none.
    in_flight_ = base::wrapping_sub<std::uint32_t>(
        available_.index + (available_.wrap != used_.wrap ? size_ : 0U), used_.index);
    if (in_flight_ > size_) {
        in_flight_ = 0;
    }
}

void PackedRing::keep_record(Record& record) {
    record_ = &record;
    hide_unpublished();
}

/// A process that ended in the middle of a batch left used descriptors behind the first one, which
/// the driver would come to before they are used.
void PackedRing::hide_unpublished() {
    Place place = used_;
    for (std::uint32_t count = 0; count < in_flight_; ++count) {
        const auto high = ring_.load<std::uint64_t>(high_half(place.index));
        auto descriptor = make_descriptor<PackedDescriptor>(0, high);
        const bool used = (descriptor.flags & descriptor_flag::used) != 0;
        if (used == place.wrap) {
            descriptor.flags = place.wrap ? descriptor_flag::avail : descriptor_flag::used;
            ring_.store<std::uint64_t>(high_half(place.index), words_of(descriptor)[1]);
        }
        place = advance(place, 1);
    }
}

PackedRing::Place PackedRing::advance(Place place, std::uint32_t count) const {
    const std::uint32_t index = place.index + count;
    if (index < size_) {
        return {static_cast<std::uint16_t>(index), place.wrap};
    }
    return {static_cast<std::uint16_t>(index - size_), !place.wrap};
}

Availability PackedRing::poll() {
    if (polled_ || (record_ != nullptr && !record_->again.empty())) {
        return Availability::some;
    }
    const auto high =
        ring_.load<std::uint64_t>(high_half(available_.index), std::memory_order_acquire);
    const std::uint16_t flags = make_descriptor<PackedDescriptor>(0, high).flags;
    const bool avail = (flags & descriptor_flag::avail) != 0;
    const bool used = (flags & descriptor_flag::used) != 0;
    if (avail != available_.wrap || used == available_.wrap) {
        return Availability::none;
    }
    if (in_flight_ >= size_) {
        return Availability::broken;
    }
    available_high_ = high;
    polled_ = true;
    return Availability::some;
}

QueueFault PackedRing::add(ChainBuilder& builder, const PackedDescriptor& descriptor) const {
    const bool indirect = (descriptor.flags & descriptor_flag::indirect) != 0;
    return indirect ? builder.add_packed_table(descriptor)
                    : builder.add(descriptor.address, descriptor.length,
                                  (descriptor.flags & descriptor_flag::write) != 0);
}

QueueFault PackedRing::take_again(ChainBuilder& builder) {
    const Descriptors chain = std::move(record_->again.back());
    record_->again.pop_back();
    for (const PackedDescriptor& descriptor : chain) {
        if (const QueueFault fault = add(builder, descriptor); fault != QueueFault::none) {
            return fault;
        }
    }
    builder.slot().id = chain.back().id;
    builder.slot().descriptors = static_cast<std::uint16_t>(chain.size());
    return QueueFault::none;  // in flight since the position was set
}

QueueFault PackedRing::take(ChainBuilder& builder) {
    if (record_ != nullptr && !record_->again.empty()) {
        return take_again(builder);
    }
    if (record_ != nullptr) {
        record_->seen.clear();
    }
    Place place = available_;
    std::uint64_t high = available_high_;
    for (std::uint32_t count = 1;; ++count) {
        const auto low = ring_.load<std::uint64_t>(place.index * descriptor_size);
        const auto descriptor = make_descriptor<PackedDescriptor>(low, high);
        const bool last = (descriptor.flags & descriptor_flag::next) == 0;
        if (const QueueFault fault = add(builder, descriptor); fault != QueueFault::none) {
            return fault;
        }
        if (record_ != nullptr) {
            record_->seen.push_back(descriptor);
        }
        place = advance(place, 1);
        if (last) {
            // The id is in the chain's last descriptor (2.8.6).
            builder.slot().id = descriptor.id;
            builder.slot().descriptors = static_cast<std::uint16_t>(count);
            in_flight_ += count;
            available_ = place;
            polled_ = false;
            if (record_ != nullptr) {
                record_->log.taken(record_->seen);
            }
            return QueueFault::none;
        }
        if (count == size_) {
            return QueueFault::chain_loops;
        }
        if (in_flight_ + count == size_) {
            return QueueFault::ring_overrun;
        }
        high = ring_.load<std::uint64_t>(high_half(place.index));
    }
}

void PackedRing::put_used(std::uint16_t id, std::uint16_t descriptors, std::uint32_t written) {
    const auto flags = static_cast<std::uint16_t>(
        (used_.wrap ? descriptor_flag::avail | descriptor_flag::used : 0) |
        (written > 0 ? descriptor_flag::write : 0));
    const std::uint64_t high =
        words_of(PackedDescriptor{.address = 0, .length = written, .id = id, .flags = flags})[1];
    if (batch_ == 0) {
        batch_first_ = high_half(used_.index);
        batch_first_high_ = high;
    } else {
        ring_.store<std::uint64_t>(high_half(used_.index), high);
    }
    used_ = advance(used_, descriptors);
    batch_ += descriptors;
    in_flight_ -= descriptors;
    if (record_ != nullptr) {
        record_->log.put(id);
    }
}

bool PackedRing::publish() {
    if (record_ != nullptr) {
        record_->log.publishing(position());
    }
    ring_.store_fully_ordered<std::uint64_t>(batch_first_, batch_first_high_);
    if (record_ != nullptr) {
        record_->log.published();
    }
    const std::uint32_t batch = batch_;
    batch_ = 0;
    return driver_wants_interrupt(batch);
}

bool PackedRing::driver_wants_interrupt(std::uint32_t batch) const {
    const auto word = driver_events_.load<std::uint32_t>(0, std::memory_order_seq_cst);
    const std::uint16_t flags = event_suppression::flags_of(word);
    if (flags != event_suppression::at_descriptor || !features_.event_idx) {
        return flags != event_suppression::disable;
    }
    // The event's place, brought to this time round; modulo 2^16 like the window test (2.8.10).
    auto event = static_cast<std::uint16_t>(word & 0x7FFF);
    if (((word & 0x8000) != 0) != used_.wrap) {
        event = static_cast<std::uint16_t>(event - size_);
    }
    return passes_event(
        event, used_.index,
        static_cast<std::uint16_t>(base::wrapping_sub<std::uint32_t>(used_.index, batch)));
}

void PackedRing::disable_notifications() {
    device_events_.store<std::uint32_t>(
        0, event_suppression::make(0, false, event_suppression::disable));
}

Availability PackedRing::enable_notifications() {
    const std::uint16_t flags =
        features_.event_idx ? event_suppression::at_descriptor : event_suppression::enable;
    device_events_.store_fully_ordered<std::uint32_t>(
        0, event_suppression::make(available_.index, available_.wrap, flags));
    return poll();
}

}  // namespace cupule::virtio
