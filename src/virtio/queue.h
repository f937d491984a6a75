#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "memory/guest_memory.h"
#include "virtio/descriptor_chain.h"
#include "virtio/inflight_log.h"
#include "virtio/packed_ring.h"
#include "virtio/queue_fault.h"
#include "virtio/queue_geometry.h"
#include "virtio/split_ring.h"

namespace cupule::virtio {

/// Counts since activation.
struct QueueStatistics {
    std::uint64_t requests = 0;    // chains taken
    std::uint64_t batches = 0;     // publishes of something
    std::uint64_t interrupts = 0;  // of these, the ones the driver wanted to hear of
};

/// A running virtqueue of either format. Made by QueueConfig::activate, destroyed to stop; its
/// geometry cannot change in between. It moves into the one worker that serves it and moves back:
/// one thread at a time, no lock.
///
/// A device's loop, with lost wake-ups impossible:
///     for (;;) {
///         queue.disable_notifications();
///         while (Chain chain = queue.pop()) { ... queue.push_used(std::move(chain), written); }
///         if (queue.publish()) { interrupt the driver }
///         if (!queue.enable_notifications()) { break; }   // sleep until the next kick
///     }
///
/// A driver that breaks the ring's rules breaks the queue: `fault` says why, `pop` finds nothing
/// more, chains already taken may still end, and the device asks for a reset. Nothing a driver
/// writes makes any call fail in another way, take unbounded time, or touch anything but RAM.
class Queue {
  public:
    Queue(Queue&&) = default;
    Queue& operator=(Queue&&) = default;

    /// The next chain, empty when there is none or the queue is broken. Shared indices are read
    /// once a batch: when all that the last look showed has been taken.
    Chain pop();

    /// From now on tells `log`, which outlives the queue, of each chain. The chains that begin at
    /// `again`, which an earlier process took, come first, in that order. A split queue, before the
    /// first chain is taken.
    void keep_log(InflightLog& log, std::vector<std::uint16_t> again);

    /// The same for a packed queue: `again` has the descriptors of each such chain, and the queue's
    /// position says that they are in flight.
    void keep_log(PackedInflightLog& log, std::vector<PackedRing::Descriptors> again);

    /// Fills `to` from its start; returns how many there were.
    std::size_t pop(std::span<Chain> to);

    /// Hands a chain back. `written` is how many bytes of its writable half were written, from the
    /// start, at most all. The driver sees it after `publish`. With IN_ORDER the queue holds it
    /// back until all chains before it have come back (2.7.9). A chain of another queue, or of this
    /// one before a reset, is dropped.
    void push_used(Chain chain, std::uint32_t written);
    /// The same for several, in order, of which nothing was written.
    void push_used(std::span<Chain> chains);

    /// Shows the driver, at once, all that was pushed since it was last shown something. True: the
    /// driver wants an interrupt for what it was shown since the last call (2.7.7, 2.7.10, 2.8.14).
    [[nodiscard]] bool publish();

    /// Shows the driver what was pushed so far of a batch that `publish` ends: one that polls goes
    /// on meanwhile, one that sleeps is interrupted once.
    void show();

    /// One request at a time: push_used and publish.
    [[nodiscard]] bool complete(Chain chain, std::uint32_t written) {
        push_used(std::move(chain), written);
        return publish();
    }

    /// Asks the driver not to notify while the device looks by itself. A wish: notifications may
    /// still come.
    void disable_notifications();

    /// Asks for a notification of the next chain. True when one is there already, for which none
    /// will come: take it first. A fresh queue has notifications on.
    [[nodiscard]] bool enable_notifications();

    /// Chains taken and neither pushed nor abandoned.
    std::uint32_t in_flight() const { return pool_->in_flight(); }
    /// Chains a device destroyed instead: a defect of ours.
    std::uint64_t lost_chains() const { return pool_->lost(); }

    QueueFault fault() const { return fault_; }
    bool broken() const { return fault_ != QueueFault::none; }
    const QueueGeometry& geometry() const { return geometry_; }
    bool packed() const { return std::holds_alternative<PackedRing>(ring_); }
    QueuePosition position() const;
    const QueueStatistics& statistics() const { return statistics_; }

  private:
    friend class QueueConfig;

    /// Everything activation found, checked.
    struct Parts {
        QueueGeometry geometry;
        RingAreas areas;
        QueuePosition position;
        RingFeatures features;
        std::uint16_t segments_max = 0;
        bool packed = false;
        bool in_order = false;
    };
    /// A chain that came back before one in front of it.
    struct Completion {
        std::uint32_t written = 0;
        std::uint16_t id = 0;
        std::uint16_t descriptors = 0;
        bool done = false;
    };

    Queue(const memory::GuestMemory& memory, const Parts& parts);
    template <class Ring>
    Chain pop_from(Ring& ring);
    template <class Ring>
    QueueFault take_next(Ring& ring, ChainBuilder& builder);
    template <class Ring>
    void give_back(Ring& ring, Chain& chain, std::uint32_t written);
    void log_put(std::uint16_t id) {
        if (log_ != nullptr) {
            log_->put(id);
        }
    }
    template <class Ring>
    void put_in_order(Ring& ring, const ChainSlot& slot, std::uint32_t written);
    template <class Function>
    auto with_ring(Function function) {
        if (auto* split = std::get_if<SplitRing>(&ring_); split != nullptr) {
            return function(*split);
        }
        return function(*std::get_if<PackedRing>(&ring_));
    }

    std::variant<SplitRing, PackedRing> ring_;
    const memory::GuestMemory* memory_;
    ChainPool::Owner pool_;
    QueueGeometry geometry_;
    QueueFault fault_ = QueueFault::none;
    std::uint16_t segments_max_;
    bool indirect_;
    /// IN_ORDER only, else empty: a ring of at least `size` places, indexed by sequence.
    std::vector<Completion> completions_;
    std::uint32_t next_sequence_ = 0;
    std::uint32_t oldest_sequence_ = 0;
    InflightLog* log_ = nullptr;
    /// Heads to take first, the last one at the front.
    std::vector<std::uint16_t> again_;
    /// What `show` has begun and `publish` has not ended.
    bool batch_open_ = false;
    bool interrupt_wanted_ = false;
    /// Of a packed ring.
    std::unique_ptr<PackedRing::Record> record_;
    QueueStatistics statistics_;
};

}  // namespace cupule::virtio
