// What a driver's requests ask for (Virtio 1.3, 5.2.6): read, checked, made into steps.

#include <algorithm>
#include <array>
#include <utility>

#include "base/bits.h"
#include "device/storage/blk_queue.h"
#include "device/storage/virtio_blk_protocol.h"

namespace cupule::device {

using namespace virtio_blk;
using backend::BlockOperation;

namespace {

/// A discard moves nothing, but takes the host some time.
constexpr std::uint64_t discard_weight = 1 << 20;

}  // namespace

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
    virtio::ChainWriter writer(slot.chain);
    const std::size_t buffers =
        to_guest ? slot.chain.writable().size() : slot.chain.readable().size();
    if (slot.segments.size() < buffers) {
        slot.segments.resize(buffers);
    }
    range.segment_count =
        to_guest ? writer.take(bytes, slot.segments) : reader.take(bytes, slot.segments);
    add_transfer(slot, range);
    return {};
}

/// Steps of at most piece_bytes_max. A segment in which one ends becomes two.
void BlkQueue::add_transfer(Slot& slot, const Range& whole) {
    if (whole.bytes <= piece_bytes_max) {
        slot.ranges.push_back(whole);
        return;
    }
    std::vector<iovec> cut;
    Range piece{.at = whole.at};
    const auto end_piece = [&] {
        slot.ranges.push_back(piece);
        piece = {.at = piece.at + piece.bytes,
                 .first_segment = static_cast<std::uint32_t>(cut.size())};
    };
    for (iovec rest : std::span(slot.segments).first(whole.segment_count)) {
        while (rest.iov_len != 0) {
            const std::size_t part =
                std::min<std::uint64_t>(rest.iov_len, piece_bytes_max - piece.bytes);
            cut.push_back({.iov_base = rest.iov_base, .iov_len = part});
            rest = {.iov_base = static_cast<std::byte*>(rest.iov_base) + part,
                    .iov_len = rest.iov_len - part};
            piece.bytes += part;
            ++piece.segment_count;
            if (piece.bytes == piece_bytes_max) {
                end_piece();
            }
        }
    }
    if (piece.bytes != 0) {
        end_piece();
    }
    slot.segments = std::move(cut);
}

/// Zeroes may have to be written: in steps as a transfer has them.
void BlkQueue::add_erase(Slot& slot, const Range& whole) {
    const std::uint64_t step =
        slot.operation == BlockOperation::write_zeroes ? piece_bytes_max : whole.bytes;
    for (std::uint64_t done = 0; done < whole.bytes; done += step) {
        slot.ranges.push_back({.at = whole.at + done, .bytes = std::min(step, whole.bytes - done)});
    }
    slot.bytes += whole.bytes;
}

std::uint64_t BlkQueue::weight(const Slot& slot, const Range& range) {
    return slot.operation == BlockOperation::discard ? discard_weight : range.bytes;
}

BlkQueue::Verdict BlkQueue::begin_erase(Slot& slot, virtio::ChainReader& reader,
                                        bool zeroes) const {
    if (disk_.store == nullptr || disk_.read_only) {
        return outcome::io_error;
    }
    const std::uint32_t segments_max =
        zeroes ? disk_.write_zeroes_segments_max : disk_.discard_segments_max;
    const std::uint32_t sectors_max =
        zeroes ? disk_.write_zeroes_sectors_max : disk_.discard_sectors_max;
    if (reader.remaining() % sizeof(request::Segment) != 0 ||
        reader.remaining() / sizeof(request::Segment) > segments_max) {
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
        if (segment->sectors > sectors_max ||
            !in_disk(segment->sector, segment->sectors * sector_bytes, range)) {
            return outcome::io_error;
        }
        slot.may_unmap = slot.may_unmap && segment->flags != 0;
        add_erase(slot, range);
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
