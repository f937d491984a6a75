#pragma once

#include <cstdint>
#include <vector>

#include "virtio/chain_builder.h"
#include "virtio/inflight_log.h"
#include "virtio/queue_geometry.h"
#include "virtio/ring_layout.h"

namespace cupule::virtio {

/// The device's side of a packed ring (Virtio 1.3, 2.8). One thread.
///
/// Memory order:
///  - a chain is available when its first descriptor's flags say so; the driver writes them last
///    (2.8.21). Length, id and flags are one 64-bit load-acquire, so the flags that were checked
///    came with the values that are used; addresses and the chain's other descriptors are loaded
///    after it.
///  - used descriptors are written as one 64-bit word each, all but the batch's first at once; the
///    first is held back until `publish`, which stores it last, fully ordered. The driver waits at
///    that descriptor (2.8.2), so the batch shows as a whole.
///  - event suppression structures are one 32-bit word each; "store mine, then look at yours" as in
///    SplitRing.
class PackedRing {
  public:
    PackedRing(const RingAreas& areas, std::uint16_t size, RingFeatures features,
               QueuePosition position);

    using Descriptors = std::vector<PackedDescriptor>;
    /// Where the ring tells what it takes and hands back.
    struct Record {
        PackedInflightLog& log;
        /// Chains that an earlier process took, to take first, the last one at the front: each at
        /// least one descriptor. They fill the ring from the used to the available position.
        std::vector<Descriptors> again;
        /// The chain that is being taken.
        Descriptors seen{};
    };
    /// From now on; the record outlives the ring. Before the first chain is taken.
    void keep_record(Record& record);

    static constexpr QueueFault poll_fault = QueueFault::ring_overrun;
    Availability poll();
    /// Takes the next chain. Only after `poll` said `some`.
    QueueFault take(ChainBuilder& builder);
    void put_used(std::uint16_t id, std::uint16_t descriptors, std::uint32_t written);
    bool unpublished() const { return batch_ != 0; }
    bool publish();
    void disable_notifications();
    Availability enable_notifications();

    QueuePosition position() const {
        return {.next_available = available_.index,
                .next_used = used_.index,
                .available_wrap = available_.wrap,
                .used_wrap = used_.wrap};
    }

  private:
    /// Where the second half of a descriptor is.
    static constexpr std::uint32_t high_half(std::uint16_t index) {
        return index * descriptor_size + 8;
    }
    /// A place in the ring and the counter that flips each time round (2.8.1).
    struct Place {
        std::uint16_t index = 0;
        bool wrap = true;
    };
    Place advance(Place place, std::uint32_t count) const;
    QueueFault add(ChainBuilder& builder, const PackedDescriptor& descriptor) const;
    QueueFault take_again(ChainBuilder& builder);
    void hide_unpublished();
    bool driver_wants_interrupt(std::uint32_t batch) const;

    RingArea ring_;
    RingArea driver_events_;
    RingArea device_events_;
    std::uint16_t size_;
    RingFeatures features_;

    Place available_;
    Place used_;
    std::uint32_t in_flight_ = 0;       // descriptors taken and not put back
    std::uint64_t available_high_ = 0;  // second half of the descriptor that `poll` found
    bool polled_ = false;               // available_high_ is of available_
    std::uint32_t batch_ = 0;           // descriptors put and not published
    std::uint32_t batch_first_ = 0;     // offset and value of the word held back
    std::uint64_t batch_first_high_ = 0;

    Record* record_ = nullptr;
};

// What each chain goes through, where the queue can see it.

inline PackedRing::Place PackedRing::advance(Place place, std::uint32_t count) const {
    const std::uint32_t index = place.index + count;
    if (index < size_) {
        return {static_cast<std::uint16_t>(index), place.wrap};
    }
    return {static_cast<std::uint16_t>(index - size_), !place.wrap};
}

inline Availability PackedRing::poll() {
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

inline QueueFault PackedRing::add(ChainBuilder& builder, const PackedDescriptor& descriptor) const {
    const bool indirect = (descriptor.flags & descriptor_flag::indirect) != 0;
    return indirect ? builder.add_packed_table(descriptor)
                    : builder.add(descriptor.address, descriptor.length,
                                  (descriptor.flags & descriptor_flag::write) != 0);
}

inline QueueFault PackedRing::take(ChainBuilder& builder) {
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

inline void PackedRing::put_used(std::uint16_t id, std::uint16_t descriptors,
                                 std::uint32_t written) {
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

}  // namespace cupule::virtio
