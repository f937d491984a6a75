#pragma once

#include <cstdint>

#include "base/bits.h"
#include "virtio/chain_builder.h"
#include "virtio/queue_geometry.h"

namespace cupule::virtio {

/// The device's side of a split ring (Virtio 1.3, 2.7). Knows the format and the indices; Queue
/// knows chains in flight and faults. One thread.
///
/// Memory order, by pairs (the driver's half is in 2.7.13):
///  - available index: load-acquire here, against the driver's barrier before its store (2.7.13.3).
///    All entries and descriptors below it are visible then. Read once a batch: `poll` goes back to
///    it only when all that the last read showed has been taken.
///  - used index: a store that releases the entries (2.7.8.2).
///  - "store mine, then look at yours" (used index, then used_event or flags; avail_event or flags,
///    then the available index): needs store-load order on both sides or a wake-up is lost
///    (2.7.7.2, 2.7.10); the store is a sequentially consistent exchange.
///  - everything else (entries, descriptors) is relaxed: ordered by the indices.
class SplitRing {
  public:
    SplitRing(const RingAreas& areas, std::uint16_t size, RingFeatures features,
              QueuePosition position);

    /// What `poll` means by `broken`.
    static constexpr QueueFault poll_fault = QueueFault::available_index_jumped;
    Availability poll();
    /// Takes the next chain. Only after `poll` said `some`.
    QueueFault take(ChainBuilder& builder);
    /// Takes the chain that begins at `head`, which was taken before.
    QueueFault take_again(ChainBuilder& builder, std::uint16_t head);

    /// Writes a used entry; the driver sees it after `publish`.
    void put_used(std::uint16_t id, std::uint16_t descriptors, std::uint32_t written);
    bool unpublished() const { return published_used_ != next_used_; }
    /// Shows the driver all entries put so far, at least one. True when it wants an interrupt for
    /// them.
    bool publish();

    void disable_notifications();
    /// `some`: chains came in before the driver could see that it must notify.
    Availability enable_notifications();

    QueuePosition position() const {
        return {.next_available = next_available_,
                .next_used = next_used_,
                .available_wrap = true,
                .used_wrap = true};
    }

  private:
    std::uint32_t slot(std::uint16_t index) const { return index & (std::uint32_t{size_} - 1); }
    SplitDescriptor load_descriptor(std::uint16_t index) const;
    Availability refresh();
    void prefetch(std::uint16_t index);

    /// Chains between the one that is taken and the one whose descriptor is fetched into the cache.
    static constexpr std::uint16_t ahead = 8;
    /// Entries in a cache line.
    static constexpr std::uint16_t available_of_a_line = 32;
    static constexpr std::uint16_t used_of_a_line = 8;
    static constexpr std::uint16_t descriptors_of_a_line = 4;
    /// Lines of the available ring that are fetched when new chains are seen.
    static constexpr std::uint16_t lines_max = 4;

    RingArea descriptors_;
    RingArea available_;
    RingArea used_;
    std::uint16_t size_;
    RingFeatures features_;

    std::uint16_t available_end_;  // the driver's index as last read
    std::uint16_t next_available_;
    std::uint16_t next_used_;
    std::uint16_t published_used_;
    /// The last that was fetched: of the descriptors, where neighbours follow each other.
    std::uint16_t prefetched_line_ = 0xFFFF;
};

// What each chain goes through, where the queue can see it.

inline Availability SplitRing::poll() {
    if (next_available_ != available_end_) {
        return Availability::some;
    }
    return refresh();
}

inline SplitDescriptor SplitRing::load_descriptor(std::uint16_t index) const {
    const std::uint32_t offset = index * descriptor_size;
    const auto low = descriptors_.load<std::uint64_t>(offset);
    const auto high = descriptors_.load<std::uint64_t>(offset + 8);
    return make_descriptor<SplitDescriptor>(low, high);
}

/// Has the processor fetch the first descriptor of the chain at a place of the available ring. A
/// hint: the driver may have changed the place by the time the chain is taken.
inline void SplitRing::prefetch(std::uint16_t index) {
    const auto distance = base::wrapping_sub(available_end_, index);
    if (distance == 0 || distance > size_) {
        return;
    }
    const auto head = available_.load<std::uint16_t>(available_ring::entry(slot(index)));
    const auto line = static_cast<std::uint16_t>(head / descriptors_of_a_line);
    if (line != prefetched_line_ && head < size_) {
        prefetched_line_ = line;
        descriptors_.prefetch(head * descriptor_size);
    }
}

inline QueueFault SplitRing::take(ChainBuilder& builder) {
    const auto head = available_.load<std::uint16_t>(available_ring::entry(slot(next_available_)));
    prefetch(static_cast<std::uint16_t>(next_available_ + ahead));
    const QueueFault fault = take_again(builder, head);
    if (fault == QueueFault::none) {
        ++next_available_;
    }
    return fault;
}

inline QueueFault SplitRing::take_again(ChainBuilder& builder, std::uint16_t head) {
    if (head >= size_) {
        return QueueFault::head_out_of_range;
    }
    std::uint16_t index = head;
    const SplitDescriptor first = load_descriptor(head);
    if ((first.flags & (descriptor_flag::next | descriptor_flag::indirect)) == 0) {
        builder.slot().id = head;
        builder.slot().descriptors = 1;
        return builder.add_only(first.address, first.length,
                                (first.flags & descriptor_flag::write) != 0);
    }
    for (std::uint32_t count = 0; count < size_; ++count) {
        const SplitDescriptor descriptor = count == 0 ? first : load_descriptor(index);
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

inline void SplitRing::put_used(std::uint16_t id, std::uint16_t /*descriptors*/,
                                std::uint32_t written) {
    const std::uint32_t i = slot(next_used_);
    used_.store<std::uint32_t>(used_ring::entry_id(i), id);
    used_.store<std::uint32_t>(used_ring::entry_length(i), written);
    ++next_used_;
    if (i % used_of_a_line == 0) {
        const auto later = static_cast<std::uint16_t>(next_used_ + 2 * used_of_a_line);
        used_.prefetch_to_write(used_ring::entry_id(slot(later)));
    }
}

}  // namespace cupule::virtio
