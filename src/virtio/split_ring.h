#pragma once

#include <cstdint>

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

    RingArea descriptors_;
    RingArea available_;
    RingArea used_;
    std::uint16_t size_;
    RingFeatures features_;

    std::uint16_t available_end_;  // the driver's index as last read
    std::uint16_t next_available_;
    std::uint16_t next_used_;
    std::uint16_t published_used_;
};

}  // namespace cupule::virtio
