#include "vhost_user/inflight_area.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/bits.h"
#include "memory/page.h"
#include "virtio/ring_layout.h"

namespace cupule::vhost_user {
namespace {

/// struct QueueRegionSplit.
namespace region {
constexpr std::uint32_t version = 8;
constexpr std::uint32_t entry_count = 10;
constexpr std::uint32_t last_batch_head = 12;
constexpr std::uint32_t used_index = 14;
constexpr std::uint32_t entries = 16;
constexpr std::uint32_t entry_bytes = 16;
constexpr std::uint16_t version_1 = 1;
}  // namespace region

/// struct DescStateSplit.
namespace entry {
constexpr std::uint32_t inflight(std::uint32_t i) {
    return region::entries + region::entry_bytes * i;
}
constexpr std::uint32_t next(std::uint32_t i) {
    return inflight(i) + 6;
}
constexpr std::uint32_t counter(std::uint32_t i) {
    return inflight(i) + 8;
}
}  // namespace entry

}  // namespace

std::uint64_t SplitInflight::bytes_for(std::uint16_t entries) {
    return inflight_bytes(region::entries, region::entry_bytes, entries);
}

void SplitInflight::begin(std::uint16_t used_index) {
    for (std::uint32_t head = 0; head < entries_; ++head) {
        area_.store<std::uint8_t>(entry::inflight(head), 0);
    }
    area_.store<std::uint16_t>(region::entry_count, entries_);
    area_.store<std::uint16_t>(region::last_batch_head, 0);
    area_.store<std::uint16_t>(region::used_index, used_index);
    area_.store<std::uint16_t>(region::version, region::version_1, std::memory_order_release);
}

/// The process ended between showing a batch to the driver and taking it off the record.
void SplitInflight::finish_last_batch(std::uint16_t used_index) {
    const auto recorded = area_.load<std::uint16_t>(region::used_index);
    const auto batch = static_cast<std::uint16_t>(used_index - recorded);
    auto head = area_.load<std::uint16_t>(region::last_batch_head);
    for (std::uint32_t i = 0; i < std::min(batch, ring_size_) && head < ring_size_; ++i) {
        area_.store<std::uint8_t>(entry::inflight(head), 0);
        head = area_.load<std::uint16_t>(entry::next(head));
    }
    area_.store<std::uint16_t>(region::used_index, used_index);
}

std::vector<std::uint16_t> SplitInflight::recover(std::uint16_t used_index) {
    batch_.clear();
    if (area_.load<std::uint16_t>(region::version) != region::version_1) {
        begin(used_index);
        return {};
    }
    finish_last_batch(used_index);
    std::vector<std::pair<std::uint64_t, std::uint16_t>> found;
    for (std::uint16_t head = 0; head < ring_size_; ++head) {
        if (area_.load<std::uint8_t>(entry::inflight(head)) != 0) {
            found.emplace_back(area_.load<std::uint64_t>(entry::counter(head)), head);
        }
    }
    std::ranges::sort(found);
    std::vector<std::uint16_t> heads;
    for (const auto& [counter, head] : found) {
        counter_ = std::max(counter_, base::wrapping_add<std::uint64_t>(counter, 1));
        heads.push_back(head);
    }
    return heads;
}

void SplitInflight::taken(std::uint16_t head) {
    area_.store<std::uint64_t>(entry::counter(head), counter_++);
    area_.store<std::uint8_t>(entry::inflight(head), 1, std::memory_order_release);
}

void SplitInflight::put(std::uint16_t head) {
    // The list lies in the area for whoever comes after us; what we go by is our own.
    const std::uint16_t behind = batch_.empty() ? 0 : batch_.back();
    area_.store<std::uint16_t>(entry::next(head), behind);
    area_.store<std::uint16_t>(region::last_batch_head, head, std::memory_order_release);
    batch_.push_back(head);
}

void SplitInflight::published(std::uint16_t used_index) {
    for (const std::uint16_t head : batch_) {
        area_.store<std::uint8_t>(entry::inflight(head), 0, std::memory_order_release);
    }
    batch_.clear();
    area_.store<std::uint16_t>(region::used_index, used_index, std::memory_order_release);
}

base::Result<std::unique_ptr<InflightArea>> InflightArea::create(std::uint16_t queues,
                                                                 std::uint16_t entries) {
    const std::uint64_t bytes =
        base::align_up(queues * PackedInflight::bytes_for(entries), memory::page_size);
    base::FileDescriptor file(memfd_create("vhost-user-inflight", MFD_CLOEXEC));
    if (!file || ftruncate(file.get(), static_cast<off_t>(bytes)) < 0) {
        return base::fail_errno(errno, "cannot make {} bytes of memory for requests in flight",
                                bytes);
    }
    const Inflight description{
        .size = bytes, .offset = 0, .queues = queues, .queue_size = entries, .padding = 0};
    std::unique_ptr<InflightArea> area(new InflightArea(description, std::move(file)));
    CUPULE_TRY(area->map_file());
    return area;
}

base::Result<std::unique_ptr<InflightArea>> InflightArea::map(const Inflight& description,
                                                              base::FileDescriptor file) {
    const std::uint64_t needed =
        description.queues * SplitInflight::bytes_for(description.queue_size);
    struct stat status {};
    if (fstat(file.get(), &status) < 0) {
        return base::fail_errno(errno, "cannot look at the memory for requests in flight");
    }
    const bool sound =
        description.queues != 0 && description.queue_size != 0 &&
        description.queue_size <= virtio::queue_size_limit && description.size >= needed &&
        base::is_aligned(description.offset, memory::page_size) &&
        base::contains(0, static_cast<std::uint64_t>(status.st_size), description.offset, needed);
    if (!sound) {
        return base::fail(
            "{} queues of {} in {} bytes at {} of a file of {} are no place for requests in flight",
            description.queues, description.queue_size, description.size, description.offset,
            status.st_size);
    }
    // A packed queue's part is longer; whether it is there shows when one starts.
    const std::uint64_t longest =
        std::min(description.queues * PackedInflight::bytes_for(description.queue_size),
                 static_cast<std::uint64_t>(status.st_size) - description.offset);
    Inflight exact = description;
    exact.size = std::min(description.size, longest);
    std::unique_ptr<InflightArea> area(new InflightArea(exact, std::move(file)));
    CUPULE_TRY(area->map_file());
    return area;
}

base::Result<void> InflightArea::map_file() {
    void* const mapped = mmap(nullptr, description_.size, PROT_READ | PROT_WRITE, MAP_SHARED,
                              file_.get(), static_cast<off_t>(description_.offset));
    if (mapped == MAP_FAILED) {
        return base::fail_errno(errno, "cannot map the memory for requests in flight");
    }
    mapping_ = std::span(static_cast<std::byte*>(mapped), description_.size);
    CUPULE_TRY_ASSIGN(auto guard, FaultGuard::create(mapping_));
    guard_.emplace(std::move(guard));
    return {};
}

InflightArea::~InflightArea() {
    guard_.reset();
    if (!mapping_.empty()) {
        munmap(mapping_.data(), mapping_.size());
    }
}

std::span<std::byte> InflightArea::part_of(std::uint16_t queue, std::uint16_t ring_size,
                                           std::uint64_t bytes) const {
    const bool there = queue < description_.queues && ring_size <= description_.queue_size &&
                       base::contains(0, mapping_.size(), queue * bytes, bytes);
    return there ? mapping_.subspan(queue * bytes, bytes) : std::span<std::byte>{};
}

std::unique_ptr<SplitInflight> InflightArea::log_of(std::uint16_t queue,
                                                    std::uint16_t ring_size) const {
    const std::uint16_t entries = description_.queue_size;
    const auto part = part_of(queue, ring_size, SplitInflight::bytes_for(entries));
    return part.empty() ? nullptr : std::make_unique<SplitInflight>(part, entries, ring_size);
}

std::unique_ptr<PackedInflight> InflightArea::packed_log_of(std::uint16_t queue,
                                                            std::uint16_t ring_size) const {
    const std::uint16_t entries = description_.queue_size;
    const auto part = part_of(queue, ring_size, PackedInflight::bytes_for(entries));
    return part.empty() ? nullptr : std::make_unique<PackedInflight>(part, entries, ring_size);
}

}  // namespace cupule::vhost_user
