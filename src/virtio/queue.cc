#include "virtio/queue.h"

#include <algorithm>
#include <bit>
#include <type_traits>

#include "base/assert.h"

namespace cupule::virtio {
namespace {

std::variant<SplitRing, PackedRing> make_ring(bool packed, const RingAreas& areas,
                                              std::uint16_t size, RingFeatures features,
                                              QueuePosition position) {
    if (packed) {
        return PackedRing(areas, size, features, position);
    }
    return SplitRing(areas, size, features, position);
}

}  // namespace

Queue::Queue(const memory::GuestMemory& memory, const Parts& parts)
    : ring_(make_ring(parts.packed, parts.areas, parts.geometry.size, parts.features,
                      parts.position)),
      memory_(&memory),
      pool_(ChainPool::create()),
      geometry_(parts.geometry),
      segments_max_(parts.segments_max),
      indirect_(parts.features.indirect) {
    if (parts.in_order) {
        completions_.resize(std::bit_ceil(std::uint32_t{parts.geometry.size}));
    }
}

void Queue::keep_log(InflightLog& log, std::vector<std::uint16_t> again) {
    CUPULE_ASSERT(!packed() && next_sequence_ == 0);
    log_ = &log;
    again_ = std::move(again);
    std::ranges::reverse(again_);
}

void Queue::keep_log(PackedInflightLog& log, std::vector<PackedRing::Descriptors> again) {
    auto* const packed_ring = std::get_if<PackedRing>(&ring_);
    CUPULE_ASSERT(packed_ring != nullptr && next_sequence_ == 0);
    std::ranges::reverse(again);
    record_ = std::make_unique<PackedRing::Record>(
        PackedRing::Record{.log = log, .again = std::move(again)});
    packed_ring->keep_record(*record_);
}

template <class Ring>
QueueFault Queue::take_next(Ring& ring, ChainBuilder& builder) {
    if constexpr (std::is_same_v<Ring, SplitRing>) {
        if (!again_.empty()) {
            const std::uint16_t head = again_.back();
            again_.pop_back();
            return ring.take_again(builder, head);
        }
    }
    return ring.take(builder);
}

template <class Ring>
Chain Queue::pop_from(Ring& ring) {
    const Availability availability = again_.empty() ? ring.poll() : Availability::some;
    if (availability == Availability::none) {
        return {};
    }
    if (availability == Availability::broken) {
        fault_ = Ring::poll_fault;
        return {};
    }
    ChainSlot& slot = pool_->take();
    ChainBuilder builder(*memory_, segments_max_, indirect_, slot);
    fault_ = take_next(ring, builder);
    if (fault_ != QueueFault::none) {
        pool_->give(slot);
        return {};
    }
    slot.sequence = next_sequence_++;
    ++statistics_.requests;
    if (log_ != nullptr) {
        log_->taken(slot.id);
    }
    return Chain(slot);
}

// One function each with all that they call in the headers: each chain goes through one of them.

[[gnu::flatten]] Chain Queue::pop() {
    if (broken()) {
        return {};
    }
    return with_ring([this](auto& ring) { return pop_from(ring); });
}

[[gnu::flatten]] std::size_t Queue::pop(std::span<Chain> to) {
    if (broken()) {
        return 0;
    }
    return with_ring([this, to](auto& ring) {
        std::size_t count = 0;
        while (count < to.size() && !broken()) {
            Chain chain = pop_from(ring);
            if (!chain) {
                break;
            }
            to[count++] = std::move(chain);
        }
        return count;
    });
}

template <class Ring>
[[gnu::always_inline]] inline void Queue::give_back(Ring& ring, Chain& chain,
                                                    std::uint32_t written) {
    CUPULE_ASSERT(chain);
    ChainSlot& slot = *std::exchange(chain.slot_, nullptr);
    if (slot.pool != pool_.get()) {
        slot.pool->give(slot);
        return;
    }
    CUPULE_ASSERT(written <= slot.writable_bytes);
    if (completions_.empty()) {
        ring.put_used(slot.id, slot.descriptors, written);
        log_put(slot.id);
    } else {
        put_in_order(ring, slot, written);
    }
    pool_->give(slot);
}

void Queue::push_used(Chain chain, std::uint32_t written) {
    with_ring([&](auto& ring) { give_back(ring, chain, written); });
}

void Queue::push_used(std::span<Chain> chains) {
    with_ring([&](auto& ring) {
        for (Chain& chain : chains) {
            give_back(ring, chain, 0);
        }
    });
}

template <class Ring>
void Queue::put_in_order(Ring& ring, const ChainSlot& slot, std::uint32_t written) {
    const auto at = [this](std::uint32_t sequence) -> Completion& {
        return completions_[sequence & (completions_.size() - 1)];
    };
    at(slot.sequence) = {
        .written = written, .id = slot.id, .descriptors = slot.descriptors, .done = true};
    while (at(oldest_sequence_).done) {
        Completion& oldest = at(oldest_sequence_);
        ring.put_used(oldest.id, oldest.descriptors, oldest.written);
        log_put(oldest.id);
        oldest.done = false;
        ++oldest_sequence_;
    }
}

void Queue::show() {
    with_ring([this](auto& ring) {
        if (!ring.unpublished()) {
            return;
        }
        batch_open_ = true;
        interrupt_wanted_ |= ring.publish();
        if (log_ != nullptr) {
            log_->published(ring.position().next_used);
        }
    });
}

bool Queue::publish() {
    show();
    if (!std::exchange(batch_open_, false)) {
        return false;
    }
    const bool wanted = std::exchange(interrupt_wanted_, false);
    ++statistics_.batches;
    statistics_.interrupts += wanted ? 1 : 0;
    return wanted;
}

void Queue::disable_notifications() {
    with_ring([](auto& ring) { ring.disable_notifications(); });
}

bool Queue::enable_notifications() {
    if (broken()) {
        return false;
    }
    return with_ring([this](auto& ring) {
        Availability availability = ring.enable_notifications();
        availability = again_.empty() ? availability : Availability::some;
        if (availability == Availability::broken) {
            fault_ = std::remove_reference_t<decltype(ring)>::poll_fault;
        }
        return availability == Availability::some;
    });
}

QueuePosition Queue::position() const {
    if (const auto* split = std::get_if<SplitRing>(&ring_); split != nullptr) {
        return split->position();
    }
    return std::get_if<PackedRing>(&ring_)->position();
}

}  // namespace cupule::virtio
