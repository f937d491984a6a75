#include "device/storage/virtio_blk.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/bits.h"

namespace cupule::device {
namespace {

constexpr std::uint64_t sector_bytes = 512;  // the unit of requests, whatever the sector size

namespace feature {
constexpr std::uint64_t seg_max = base::bit(2);        // VIRTIO_BLK_F_SEG_MAX
constexpr std::uint64_t ro = base::bit(5);             // VIRTIO_BLK_F_RO
constexpr std::uint64_t blk_size = base::bit(6);       // VIRTIO_BLK_F_BLK_SIZE
constexpr std::uint64_t flush = base::bit(9);          // VIRTIO_BLK_F_FLUSH
constexpr std::uint64_t topology = base::bit(10);      // VIRTIO_BLK_F_TOPOLOGY
constexpr std::uint64_t config_wce = base::bit(11);    // VIRTIO_BLK_F_CONFIG_WCE
constexpr std::uint64_t discard = base::bit(13);       // VIRTIO_BLK_F_DISCARD
constexpr std::uint64_t write_zeroes = base::bit(14);  // VIRTIO_BLK_F_WRITE_ZEROES
}  // namespace feature

namespace request {
constexpr std::uint32_t in = 0;             // VIRTIO_BLK_T_IN
constexpr std::uint32_t out = 1;            // VIRTIO_BLK_T_OUT
constexpr std::uint32_t flush = 4;          // VIRTIO_BLK_T_FLUSH
constexpr std::uint32_t get_id = 8;         // VIRTIO_BLK_T_GET_ID
constexpr std::uint32_t discard = 11;       // VIRTIO_BLK_T_DISCARD
constexpr std::uint32_t write_zeroes = 13;  // VIRTIO_BLK_T_WRITE_ZEROES
constexpr std::size_t id_bytes = 20;
struct Header {
    std::uint32_t type;
    std::uint32_t reserved;
    std::uint64_t sector;
};
struct Segment {
    std::uint64_t sector;
    std::uint32_t sectors;
    std::uint32_t flags;
};
constexpr std::uint32_t unmap_flag = 1;
}  // namespace request

namespace outcome {
constexpr std::uint8_t ok = 0;           // VIRTIO_BLK_S_OK
constexpr std::uint8_t io_error = 1;     // VIRTIO_BLK_S_IOERR
constexpr std::uint8_t unsupported = 2;  // VIRTIO_BLK_S_UNSUPP
}  // namespace outcome

/// struct virtio_blk_config (5.2.4).
namespace config {
constexpr std::size_t capacity = 0;
constexpr std::size_t seg_max = 12;
constexpr std::size_t blk_size = 20;
constexpr std::size_t physical_block_exp = 24;
constexpr std::size_t min_io_size = 26;
constexpr std::size_t writeback = 32;
constexpr std::size_t max_discard_sectors = 36;
constexpr std::size_t max_discard_seg = 40;
constexpr std::size_t discard_sector_alignment = 44;
constexpr std::size_t max_write_zeroes_sectors = 48;
constexpr std::size_t max_write_zeroes_seg = 52;
constexpr std::size_t write_zeroes_may_unmap = 56;
}  // namespace config

/// Bounds what one erase request can make the host do.
constexpr std::uint32_t erase_sectors_max = 1 << 17;  // 64 MiB
constexpr std::uint32_t erase_segments_max = 16;

template <std::size_t Size>
void put(std::array<std::uint8_t, Size>& bytes, std::size_t at, std::uint64_t value,
         unsigned size) {
    for (unsigned i = 0; i < size; ++i) {
        bytes[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
    }
}

}  // namespace

VirtioBlk::VirtioBlk(const VirtioBlkSpec& spec, backend::BlockStore& store, event::Worker& worker)
    : spec_(spec), store_(store), write_back_(!spec.write_through), server_(worker, *this) {
    features_ =
        virtio::feature::ring_engine | feature::seg_max | feature::blk_size | feature::topology;
    if (spec_.read_only) {
        features_ |= feature::ro;
    } else {
        features_ |= feature::write_zeroes;
        features_ |= spec_.write_through ? 0 : feature::flush | feature::config_wce;
        features_ |= spec_.discard ? feature::discard : 0;
    }
    build_config();
}

void VirtioBlk::build_config() {
    const auto logical = spec_.logical_sector;
    put(config_, config::capacity, store_.size() / sector_bytes, 8);
    put(config_, config::seg_max, data_segments_max, 4);
    put(config_, config::blk_size, logical, 4);
    const auto exponent = std::countr_zero(spec_.physical_sector) - std::countr_zero(logical);
    put(config_, config::physical_block_exp, static_cast<std::uint64_t>(exponent), 1);
    put(config_, config::min_io_size, spec_.physical_sector / logical, 2);
    put(config_, config::writeback, write_back_ ? 1 : 0, 1);
    if ((features_ & feature::discard) != 0) {
        put(config_, config::max_discard_sectors, erase_sectors_max, 4);
        put(config_, config::max_discard_seg, erase_segments_max, 4);
        put(config_, config::discard_sector_alignment, logical / sector_bytes, 4);
    }
    if ((features_ & feature::write_zeroes) != 0) {
        put(config_, config::max_write_zeroes_sectors, erase_sectors_max, 4);
        put(config_, config::max_write_zeroes_seg, erase_segments_max, 4);
        put(config_, config::write_zeroes_may_unmap, spec_.discard ? 1 : 0, 1);
    }
}

std::uint64_t VirtioBlk::read_config(std::uint64_t offset, unsigned size) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size && offset + i < config_.size(); ++i) {
        value |= std::uint64_t{config_[offset + i]} << (8 * i);
    }
    return value;
}

void VirtioBlk::write_config(std::uint64_t offset, unsigned size, std::uint64_t value) {
    // 5.2.5.1: `writeback` is the one field a driver may write, once it took CONFIG_WCE.
    const bool may = negotiated(feature::config_wce) && offset == config::writeback && size == 1;
    if (may && value <= 1) {
        write_back_ = value == 1;
        config_[config::writeback] = static_cast<std::uint8_t>(value);
    }
}

base::Result<void> VirtioBlk::activate(std::uint64_t negotiated,
                                       std::vector<virtio::RunningQueue> queues,
                                       virtio::DeviceEvents& events) {
    negotiated_ = negotiated;
    events_ = &events;
    if (!spec_.write_through && !this->negotiated(feature::flush)) {
        write_back_ = false;  // 5.2.6.2: a driver that cannot flush gets writes that last
        config_[config::writeback] = 0;
    }
    for (virtio::RunningQueue& queue : queues) {
        CUPULE_TRY(server_.start(std::move(queue), events));
    }
    return {};
}

std::vector<virtio::RunningQueue> VirtioBlk::deactivate() {
    std::vector<virtio::RunningQueue> back;
    if (auto queue = server_.stop()) {
        back.push_back(std::move(*queue));
    }
    return back;
}

std::optional<virtio::RunningQueue> VirtioBlk::stop_queue(std::uint16_t /*index*/) {
    return server_.stop();
}

void VirtioBlk::start_queue(virtio::RunningQueue queue) {
    if (const auto result = server_.start(std::move(queue), *events_); !result) {
        base::log_error("virtio-blk: the queue cannot run: {}", result.error().message);
    }
}

void VirtioBlk::reset() {
    negotiated_ = 0;
    write_back_ = !spec_.write_through;
    config_[config::writeback] = write_back_ ? 1 : 0;
}

void VirtioBlk::visit(snapshot::Visitor& visitor) {
    visitor.field("writeback", config_[config::writeback]);
    if (visitor.restoring()) {
        config_[config::writeback] &= spec_.write_through ? 0 : 1;
        write_back_ = config_[config::writeback] != 0;
    }
}

// Requests: on the worker.

std::uint32_t VirtioBlk::serve(const virtio::Chain& chain) {
    virtio::ChainReader reader(chain);
    virtio::ChainWriter writer(chain);
    if (chain.writable_bytes() == 0) {
        return 0;  // no room for a status
    }
    // The last writable byte is the status, whatever comes before it (5.2.6).
    const std::uint64_t room = chain.writable_bytes() - 1;
    Outcome done{.status = outcome::io_error};
    if (const auto header = reader.value<request::Header>()) {
        done = execute(header->type, header->sector, reader, writer, room);
    }
    virtio::ChainWriter status(chain);
    status.skip(room);
    status.value(done.status);
    // Only what was written from the start on counts; with a gap before the status, the status is
    // there but not counted.
    return done.written == room ? done.written + 1 : done.written;
}

VirtioBlk::Outcome VirtioBlk::execute(std::uint32_t type, std::uint64_t sector,
                                      virtio::ChainReader& reader, virtio::ChainWriter& writer,
                                      std::uint64_t room) {
    switch (type) {
        case request::in:
            return read_data(sector, writer, room);
        case request::out:
            return write_data(sector, reader);
        case request::flush:
            return finish(store_.flush(), 0);
        case request::get_id:
            return give_id(writer, room);
        case request::discard:
            return negotiated(feature::discard) ? erase(reader, false)
                                                : Outcome{.status = outcome::unsupported};
        case request::write_zeroes:
            return negotiated(feature::write_zeroes) ? erase(reader, true)
                                                     : Outcome{.status = outcome::unsupported};
        default:
            return {.status = outcome::unsupported};
    }
}

bool VirtioBlk::in_disk(std::uint64_t sector, std::uint64_t bytes, Range& range) const {
    const std::uint64_t sectors = store_.size() / sector_bytes;
    if (!base::contains(0, sectors, sector, bytes / sector_bytes)) {
        return false;
    }
    range = {.at = sector * sector_bytes, .bytes = bytes};
    return range.at % spec_.logical_sector == 0 && bytes % spec_.logical_sector == 0;
}

VirtioBlk::Outcome VirtioBlk::finish(const base::Result<void>& result, std::uint64_t written) {
    if (result) {
        return {.status = outcome::ok, .written = static_cast<std::uint32_t>(written)};
    }
    if (!std::exchange(failure_told_, true)) {
        base::log_error("virtio-blk {}: {}; the guest gets an I/O error", spec_.serial,
                        result.error().message);
    }
    return {.status = outcome::io_error};
}

VirtioBlk::Outcome VirtioBlk::read_data(std::uint64_t sector, virtio::ChainWriter& writer,
                                        std::uint64_t room) {
    Range range;
    if (!in_disk(sector, room, range)) {
        return {.status = outcome::io_error};
    }
    std::array<iovec, data_segments_max + 2> parts;
    const std::uint32_t count = writer.take(room, parts);
    return finish(store_.read(std::span(parts).first(count), range.at), room);
}

VirtioBlk::Outcome VirtioBlk::write_data(std::uint64_t sector, virtio::ChainReader& reader) {
    Range range;
    if (spec_.read_only || !in_disk(sector, reader.remaining(), range)) {
        return {.status = outcome::io_error};
    }
    std::array<iovec, data_segments_max + 2> parts;
    const std::uint32_t count = reader.take(range.bytes, parts);
    auto result = store_.write(std::span(parts).first(count), range.at);
    if (result && !write_back_) {
        result = store_.flush();
    }
    return finish(result, 0);
}

VirtioBlk::Outcome VirtioBlk::give_id(virtio::ChainWriter& writer, std::uint64_t room) {
    std::array<std::byte, request::id_bytes> id{};
    for (std::size_t i = 0; i < std::min(id.size(), spec_.serial.size()); ++i) {
        id[i] = static_cast<std::byte>(spec_.serial[i]);
    }
    const auto part = std::span(id).first(std::min<std::uint64_t>(room, id.size()));
    writer.write(part);
    return {.status = outcome::ok, .written = static_cast<std::uint32_t>(part.size())};
}

VirtioBlk::Outcome VirtioBlk::erase(virtio::ChainReader& reader, bool zeroes) {
    if (spec_.read_only) {
        return {.status = outcome::io_error};
    }
    if (reader.remaining() % sizeof(request::Segment) != 0 ||
        reader.remaining() / sizeof(request::Segment) > erase_segments_max) {
        return {.status = outcome::unsupported};
    }
    while (const auto segment = reader.value<request::Segment>()) {
        // 5.2.6.2: unknown flags, and UNMAP in a discard, are not supported.
        const std::uint32_t allowed = zeroes ? request::unmap_flag : 0;
        Range range;
        if ((segment->flags & ~allowed) != 0) {
            return {.status = outcome::unsupported};
        }
        if (segment->sectors > erase_sectors_max ||
            !in_disk(segment->sector, segment->sectors * sector_bytes, range)) {
            return {.status = outcome::io_error};
        }
        if (range.bytes == 0) {
            continue;
        }
        const bool unmap = spec_.discard && segment->flags != 0;
        const auto result = zeroes ? store_.write_zeroes(range.at, range.bytes, unmap)
                                   : store_.discard(range.at, range.bytes);
        if (!result) {
            return finish(result, 0);
        }
    }
    if (zeroes && !write_back_) {
        return finish(store_.flush(), 0);
    }
    return {.status = outcome::ok};
}

}  // namespace cupule::device
