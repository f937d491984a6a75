#include "device/storage/virtio_blk.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/assert.h"
#include "base/bits.h"
#include "virtio/features.h"

namespace cupule::device {
namespace {

using namespace virtio_blk;

/// What one discard can make the host do where the user says nothing.
constexpr std::uint32_t discard_sectors_usual = 1 << 17;  // 64 MiB
constexpr std::uint32_t discard_segments_limit = 16;
/// A host that cannot zero a part of a file writes the zeroes: a request of these is small enough
/// to wait for (BlkQueue::taken_bytes_max), whatever a discard may be.
constexpr std::uint32_t write_zeroes_sectors_max = BlkQueue::taken_bytes_max / sector_bytes;
constexpr std::uint32_t write_zeroes_segments_max = 1;

template <std::size_t Size>
void put(std::array<std::uint8_t, Size>& bytes, std::size_t at, std::uint64_t value,
         unsigned size) {
    for (unsigned i = 0; i < size; ++i) {
        bytes[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
    }
}

}  // namespace

VirtioBlk::VirtioBlk(const VirtioBlkSpec& spec, backend::BlockStore* store,
                     std::span<event::Worker* const> workers)
    : spec_(spec),
      limits_(spec.queues,
              {.size_max = BlkQueue::size_max, .segments_max = BlkQueue::data_segments_max + 2}),
      limiter_(spec.limit, workers.front()->loop().clock()) {
    CUPULE_ASSERT(spec_.queues != 0);
    features_ =
        virtio::feature::ring_engine | feature::seg_max | feature::blk_size | feature::topology;
    features_ |= spec_.queues > 1 ? feature::mq : 0;
    if (spec_.read_only) {
        features_ |= feature::ro;
    } else {
        features_ |= feature::write_zeroes;
        features_ |= spec_.write_through ? 0 : feature::flush | feature::config_wce;
        features_ |= spec_.discard ? feature::discard : 0;
    }
    disk_.store = store;
    disk_.limiter = spec_.limit.limits() ? &limiter_ : nullptr;
    disk_.read_only = spec_.read_only;
    disk_.may_unmap = spec_.discard;
    disk_.logical_sector = spec_.logical_sector;
    disk_.discard_sectors_max = discard_sectors_max();
    disk_.discard_segments_max = discard_segments_max();
    disk_.write_zeroes_sectors_max = write_zeroes_sectors_max;
    disk_.write_zeroes_segments_max = write_zeroes_segments_max;
    disk_.serial = spec_.serial;
    disk_.poll_ns_max = spec_.poll_ns_max;
    disk_.write_back = !spec_.write_through;
    for (unsigned index = 0; index < spec_.queues; ++index) {
        queues_.push_back(std::make_unique<BlkQueue>(*workers[index % workers.size()], disk_));
    }
    build_config();
}

std::uint32_t VirtioBlk::discard_sectors_max() const {
    const std::uint32_t wanted =
        spec_.discard_sectors_max != 0 ? spec_.discard_sectors_max : discard_sectors_usual;
    // Whole logical sectors, at least one.
    const std::uint32_t unit = spec_.logical_sector / sector_bytes;
    return std::max(wanted - wanted % unit, unit);
}

std::uint32_t VirtioBlk::discard_segments_max() const {
    return spec_.discard_segments_max != 0
               ? std::min(spec_.discard_segments_max, discard_segments_limit)
               : discard_segments_limit;
}

void VirtioBlk::build_config() {
    const auto logical = spec_.logical_sector;
    show_capacity();
    put(config_, config::seg_max, BlkQueue::data_segments_max, 4);
    put(config_, config::blk_size, logical, 4);
    const auto exponent = std::countr_zero(spec_.physical_sector) - std::countr_zero(logical);
    put(config_, config::physical_block_exp, static_cast<std::uint64_t>(exponent), 1);
    put(config_, config::min_io_size, spec_.physical_sector / logical, 2);
    put(config_, config::writeback, disk_.write_back ? 1 : 0, 1);
    put(config_, config::num_queues, spec_.queues, 2);
    if ((features_ & feature::discard) != 0) {
        const std::uint32_t unit = static_cast<std::uint32_t>(logical / sector_bytes);
        put(config_, config::max_discard_sectors, discard_sectors_max(), 4);
        put(config_, config::max_discard_seg, discard_segments_max(), 4);
        put(config_, config::discard_sector_alignment, std::max(spec_.discard_alignment, unit), 4);
    }
    if ((features_ & feature::write_zeroes) != 0) {
        put(config_, config::max_write_zeroes_sectors, write_zeroes_sectors_max, 4);
        put(config_, config::max_write_zeroes_seg, write_zeroes_segments_max, 4);
        put(config_, config::write_zeroes_may_unmap, spec_.discard ? 1 : 0, 1);
    }
}

void VirtioBlk::show_capacity() {
    const std::uint64_t bytes = disk_.store != nullptr ? disk_.store->size() : 0;
    put(config_, config::capacity, bytes / sector_bytes, 8);
}

void VirtioBlk::set_write_back(bool write_back) {
    disk_.write_back = write_back;
    put(config_, config::writeback, write_back ? 1 : 0, 1);
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
    const bool may = (disk_.negotiated & feature::config_wce) != 0;
    if (may && offset == config::writeback && size == 1 && value <= 1) {
        set_write_back(value == 1);
    }
}

base::Result<void> VirtioBlk::activate(std::uint64_t negotiated,
                                       std::vector<virtio::RunningQueue> queues,
                                       virtio::DeviceEvents& events) {
    disk_.negotiated = negotiated;
    events_ = &events;
    if ((negotiated & feature::flush) == 0) {
        set_write_back(false);  // 5.2.6.2: a driver that cannot flush gets writes that last
    }
    for (virtio::RunningQueue& queue : queues) {
        const auto index = queue.index;
        if (const auto started = queues_[index]->start(std::move(queue), events); !started) {
            static_cast<void>(deactivate());
            return started;
        }
    }
    return {};
}

std::vector<virtio::RunningQueue> VirtioBlk::deactivate() {
    std::vector<virtio::RunningQueue> back;
    for (const auto& queue : queues_) {
        if (auto stopped = queue->stop()) {
            back.push_back(std::move(*stopped));
        }
    }
    return back;
}

std::vector<virtio::QueueReport> VirtioBlk::report() const {
    std::vector<virtio::QueueReport> reports;
    for (std::size_t index = 0; index < queues_.size(); ++index) {
        reports.push_back(queues_[index]->report(static_cast<std::uint16_t>(index)));
    }
    return reports;
}

std::optional<virtio::RunningQueue> VirtioBlk::stop_queue(std::uint16_t index) {
    return queues_[index]->stop();
}

base::Result<void> VirtioBlk::start_queue(virtio::RunningQueue queue) {
    const auto index = queue.index;
    return queues_[index]->start(std::move(queue), *events_);
}

void VirtioBlk::replace_store(backend::BlockStore* store) {
    std::vector<virtio::RunningQueue> queues = deactivate();
    disk_.store = store;
    show_capacity();
    for (virtio::RunningQueue& queue : queues) {
        const std::uint16_t index = queue.index;
        const int kick_fd = queue.kick_fd;
        if (const auto result = start_queue(std::move(queue)); !result) {
            base::log_error("virtio-blk {}: queue {} cannot run: {}", spec_.serial, index,
                            result.error().message);
        }
        base::signal_eventfd(kick_fd);  // what the driver said meanwhile
    }
    if (events_ != nullptr) {
        events_->config_changed();
    }
}

void VirtioBlk::reset() {
    disk_.negotiated = 0;
    events_ = nullptr;
    set_write_back(!spec_.write_through);
}

void VirtioBlk::visit(snapshot::Visitor& visitor) {
    visitor.field("writeback", config_[config::writeback]);
    if (visitor.restoring()) {
        set_write_back(!spec_.write_through && config_[config::writeback] == 1);
    }
}

}  // namespace cupule::device
