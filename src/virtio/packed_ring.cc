#include "virtio/packed_ring.h"

#include <utility>

#include "base/bits.h"

namespace cupule::virtio {
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
