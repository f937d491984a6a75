// What a driver's requests ask for (Virtio 1.3, 5.2.6): read, checked, made into steps.

#include <algorithm>
#include <array>

#include "base/bits.h"
#include "device/storage/blk_queue.h"
#include "device/storage/virtio_blk_protocol.h"

namespace cupule::device {

using namespace virtio_blk;
using backend::BlockOperation;

BlkQueue::Verdict BlkQueue::begin(Slot& slot) {
    virtio::ChainReader reader(slot.chain);
    const auto header = reader.value<request::Header>();
    if (!header) {
        return outcome::io_error;
    }
    const auto negotiated = [this](std::uint64_t bit) { return (disk_.negotiated & bit) != 0; };
    switch (header->type) {
        case request::in:
            return begin_transfer(slot, reader, header->sector, true);
        case request::out:
            return begin_transfer(slot, reader, header->sector, false);
        case request::flush:
            slot.operation = BlockOperation::flush;
            slot.ranges.push_back({});
            return disk_.store != nullptr ? Verdict{} : Verdict{outcome::ok};
        case request::get_id:
            return give_id(slot);
        case request::discard:
            return negotiated(feature::discard) ? begin_erase(slot, reader, false)
                                                : outcome::unsupported;
        case request::write_zeroes:
            return negotiated(feature::write_zeroes) ? begin_erase(slot, reader, true)
                                                     : outcome::unsupported;
        default:
            return outcome::unsupported;
    }
}

bool BlkQueue::in_disk(std::uint64_t sector, std::uint64_t bytes, Range& range) const {
    const std::uint64_t sectors = disk_.store != nullptr ? disk_.store->size() / sector_bytes : 0;
    if (!base::contains(0, sectors, sector, bytes / sector_bytes)) {
        return false;
    }
    range = {.at = sector * sector_bytes, .bytes = bytes};
    return range.at % disk_.logical_sector == 0 && bytes % disk_.logical_sector == 0;
}

BlkQueue::Verdict BlkQueue::begin_transfer(Slot& slot, virtio::ChainReader& reader,
                                           std::uint64_t sector, bool to_guest) const {
    const std::uint64_t bytes = to_guest ? slot.room : reader.remaining();
    Range range;
    if (disk_.store == nullptr || (!to_guest && disk_.read_only) ||
        !in_disk(sector, bytes, range)) {
        return outcome::io_error;
    }
    slot.operation = to_guest ? BlockOperation::read : BlockOperation::write;
    slot.bytes = bytes;
    slot.ranges.push_back(range);
    virtio::ChainWriter writer(slot.chain);
    const std::size_t buffers =
        to_guest ? slot.chain.writable().size() : slot.chain.readable().size();
    if (slot.segments.size() < buffers) {
        slot.segments.resize(buffers);
    }
    slot.segment_count =
        to_guest ? writer.take(bytes, slot.segments) : reader.take(bytes, slot.segments);
    return {};
}

BlkQueue::Verdict BlkQueue::begin_erase(Slot& slot, virtio::ChainReader& reader,
                                        bool zeroes) const {
    if (disk_.store == nullptr || disk_.read_only) {
        return outcome::io_error;
    }
    if (reader.remaining() % sizeof(request::Segment) != 0 ||
        reader.remaining() / sizeof(request::Segment) > disk_.erase_segments_max) {
        return outcome::unsupported;
    }
    slot.operation = zeroes ? BlockOperation::write_zeroes : BlockOperation::discard;
    slot.may_unmap = disk_.may_unmap;
    while (const auto segment = reader.value<request::Segment>()) {
        // 5.2.6.2: unknown flags, and UNMAP in a discard, are not supported.
        const std::uint32_t allowed = zeroes ? request::unmap_flag : 0;
        Range range;
        if ((segment->flags & ~allowed) != 0) {
            return outcome::unsupported;
        }
        if (segment->sectors > disk_.erase_sectors_max ||
            !in_disk(segment->sector, segment->sectors * sector_bytes, range)) {
            return outcome::io_error;
        }
        slot.may_unmap = slot.may_unmap && segment->flags != 0;
        if (range.bytes != 0) {
            slot.bytes += range.bytes;
            slot.ranges.push_back(range);
        }
    }
    return slot.ranges.empty() ? Verdict{outcome::ok} : Verdict{};
}

std::uint8_t BlkQueue::give_id(Slot& slot) const {
    std::array<std::byte, request::id_bytes> id{};
    for (std::size_t i = 0; i < std::min(id.size(), disk_.serial.size()); ++i) {
        id[i] = static_cast<std::byte>(disk_.serial[i]);
    }
    slot.bytes = std::min<std::uint64_t>(slot.room, id.size());
    slot.operation = BlockOperation::read;
    virtio::ChainWriter(slot.chain).write(std::span(id).first(slot.bytes));
    return outcome::ok;
}

}  // namespace cupule::device
