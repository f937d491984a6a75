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

}  // namespace cupule::virtio
