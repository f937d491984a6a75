#include "virtio/descriptor_chain.h"

#include <algorithm>

#include "base/assert.h"
#include "base/log.h"
#include "memory/guest_copy.h"

namespace cupule::virtio {
void Chain::abandon() {
    if (slot_ != nullptr) {
        slot_->pool->give(*std::exchange(slot_, nullptr));
    }
}

void Chain::report_lost() {
    CUPULE_ASSERT(!loss_is_fatal);
    if (slot_->pool->lost() == 0) {
        base::log_error("virtio: a device lost the request with id {}; its driver will miss it",
                        slot_->id);
    }
    slot_->pool->count_lost();
    abandon();
}

void ChainPool::grow() {
    auto chunk = std::make_unique<std::array<ChainSlot, chunk_slots>>();
    for (ChainSlot& slot : *chunk) {
        slot.pool = this;
        slot.segments = slot.inline_segments.data();
        slot.capacity = ChainSlot::inline_segments_max;
        slot.next_free = free_;
        free_ = &slot;
    }
    chunks_.push_back(std::move(chunk));
}

void ChainPool::orphan() {
    orphaned_ = true;
    if (in_flight_ == 0) {
        delete this;
    }
}

std::size_t ChainReader::read(std::span<std::byte> to) {
    std::size_t done = 0;
    while (done < to.size() && remaining() > 0) {
        const std::span<std::byte> piece = next_piece(to.size() - done);
        memory::copy_from_guest(to.subspan(done, piece.size()), piece.data());
        done += piece.size();
    }
    return done;
}

std::size_t ChainWriter::write(std::span<const std::byte> from) {
    std::size_t done = 0;
    while (done < from.size() && remaining() > 0) {
        const std::span<std::byte> piece = next_piece(from.size() - done);
        memory::copy_to_guest(piece.data(), from.subspan(done, piece.size()));
        done += piece.size();
    }
    return done;
}

}  // namespace cupule::virtio
