// The record of a packed queue (Vhost-user Protocol, "Inflight I/O tracking").

#include <algorithm>
#include <utility>

#include "base/bits.h"
#include "vhost_user/inflight_area.h"

namespace cupule::vhost_user {
namespace {

using virtio::PackedDescriptor;
using virtio::QueuePosition;

/// struct QueueRegionPacked.
namespace region {
constexpr std::uint32_t version = 8;
constexpr std::uint32_t entry_count = 10;
constexpr std::uint32_t free_head = 12;
constexpr std::uint32_t old_free_head = 14;
constexpr std::uint32_t used_index = 16;
constexpr std::uint32_t old_used_index = 18;
constexpr std::uint32_t used_wrap = 20;
constexpr std::uint32_t old_used_wrap = 21;
constexpr std::uint32_t entries = 32;
constexpr std::uint32_t entry_bytes = 32;
constexpr std::uint16_t version_1 = 1;
}  // namespace region

/// struct DescStatePacked.
namespace entry {
constexpr std::uint32_t inflight(std::uint32_t i) {
    return region::entries + region::entry_bytes * i;
}
constexpr std::uint32_t next(std::uint32_t i) {
    return inflight(i) + 2;
}
constexpr std::uint32_t last(std::uint32_t i) {
    return inflight(i) + 4;
}
constexpr std::uint32_t count(std::uint32_t i) {
    return inflight(i) + 6;
}
constexpr std::uint32_t counter(std::uint32_t i) {
    return inflight(i) + 8;
}
constexpr std::uint32_t id(std::uint32_t i) {
    return inflight(i) + 16;
}
constexpr std::uint32_t flags(std::uint32_t i) {
    return inflight(i) + 18;
}
constexpr std::uint32_t length(std::uint32_t i) {
    return inflight(i) + 20;
}
constexpr std::uint32_t address(std::uint32_t i) {
    return inflight(i) + 24;
}
}  // namespace entry

}  // namespace

PackedInflight::PackedInflight(std::span<std::byte> bytes, std::uint16_t entries,
                               std::uint16_t ring_size)
    : area_(bytes), entries_(entries), ring_size_(ring_size), next_(entries) {}

std::uint64_t PackedInflight::bytes_for(std::uint16_t entries) {
    return inflight_bytes(region::entries, region::entry_bytes, entries);
}

PackedInflight::Recovered PackedInflight::begin(const QueuePosition& position) {
    batch_.clear();
    chains_.clear();
    for (std::uint16_t i = 0; i < entries_; ++i) {
        next_[i] = static_cast<std::uint16_t>(i + 1U);
        area_.store<std::uint8_t>(entry::inflight(i), 0);
        area_.store<std::uint16_t>(entry::next(i), next_[i]);
    }
    free_head_ = 0;
    free_count_ = entries_;
    area_.store<std::uint16_t>(region::entry_count, entries_);
    area_.store<std::uint16_t>(region::free_head, 0);
    area_.store<std::uint16_t>(region::used_index, position.next_used);
    area_.store<std::uint8_t>(region::used_wrap, position.used_wrap ? 1 : 0);
    commit();
    area_.store<std::uint16_t>(region::version, region::version_1, std::memory_order_release);
    return {.position = position};
}

/// What was about to be shown, or was, becomes what is.
void PackedInflight::commit() {
    area_.store<std::uint16_t>(region::old_free_head, area_.load<std::uint16_t>(region::free_head));
    area_.store<std::uint16_t>(region::old_used_index,
                               area_.load<std::uint16_t>(region::used_index));
    area_.store<std::uint8_t>(region::old_used_wrap, area_.load<std::uint8_t>(region::used_wrap),
                              std::memory_order_release);
}

/// The process may have ended while it showed a batch: the ring says whether the driver saw it.
void PackedInflight::settle_last_batch(const RingFlags& ring_flags) {
    const auto index = area_.load<std::uint16_t>(region::old_used_index);
    const auto wrap = area_.load<std::uint8_t>(region::old_used_wrap);
    const bool whole = index == area_.load<std::uint16_t>(region::used_index) &&
                       wrap == area_.load<std::uint8_t>(region::used_wrap);
    if (!whole && index < ring_size_) {
        constexpr std::uint16_t both =
            virtio::descriptor_flag::avail | virtio::descriptor_flag::used;
        const std::uint16_t available =
            wrap != 0 ? virtio::descriptor_flag::avail : virtio::descriptor_flag::used;
        if ((ring_flags(index) & both) != available) {
            commit();
        }
    }
    area_.store<std::uint16_t>(region::free_head, area_.load<std::uint16_t>(region::old_free_head));
    area_.store<std::uint16_t>(region::used_index,
                               area_.load<std::uint16_t>(region::old_used_index));
    area_.store<std::uint8_t>(region::used_wrap, area_.load<std::uint8_t>(region::old_used_wrap));
}

/// A list ends with a number that is no entry's.
std::vector<bool> PackedInflight::read_free_list() {
    std::vector<bool> is_free(entries_);
    for (std::uint16_t i = 0; i < entries_; ++i) {
        next_[i] = area_.load<std::uint16_t>(entry::next(i));
    }
    free_head_ = area_.load<std::uint16_t>(region::free_head);
    free_count_ = 0;
    for (std::uint16_t at = free_head_; at < entries_ && !is_free[at]; at = next_[at]) {
        is_free[at] = true;
        ++free_count_;
        area_.store<std::uint8_t>(entry::inflight(at), 0);
    }
    return is_free;
}

/// False where the entries are no chain of a ring.
bool PackedInflight::read_chain(std::uint16_t head, std::vector<bool>& seen, Chain& chain,
                                Descriptors& descriptors) const {
    chain = {.head = head, .last = head, .count = area_.load<std::uint16_t>(entry::count(head))};
    std::uint16_t at = head;
    for (std::uint16_t i = 0; i < chain.count; ++i) {
        if (at >= entries_ || seen[at]) {
            return false;
        }
        seen[at] = true;
        descriptors.push_back({.address = area_.load<std::uint64_t>(entry::address(at)),
                               .length = area_.load<std::uint32_t>(entry::length(at)),
                               .id = area_.load<std::uint16_t>(entry::id(at)),
                               .flags = area_.load<std::uint16_t>(entry::flags(at))});
        chain.last = std::exchange(at, next_[at]);
    }
    return chain.count != 0;
}

PackedInflight::Recovered PackedInflight::recover(const QueuePosition& position,
                                                  const RingFlags& ring_flags) {
    if (area_.load<std::uint16_t>(region::version) != region::version_1) {
        return begin(position);
    }
    batch_.clear();
    chains_.clear();
    settle_last_batch(ring_flags);
    std::vector<bool> seen = read_free_list();
    std::vector<std::pair<std::uint64_t, Descriptors>> found;
    std::uint32_t in_flight = 0;
    for (std::uint16_t head = 0; head < entries_; ++head) {
        if (area_.load<std::uint8_t>(entry::inflight(head)) == 0) {
            continue;
        }
        Chain chain;
        Descriptors descriptors;
        if (!read_chain(head, seen, chain, descriptors) ||
            !chains_.emplace(descriptors.back().id, chain).second) {
            return begin(position);
        }
        in_flight += chain.count;
        found.emplace_back(area_.load<std::uint64_t>(entry::counter(head)), std::move(descriptors));
    }
    const auto used = area_.load<std::uint16_t>(region::used_index);
    if (used >= ring_size_ || in_flight > ring_size_) {
        return begin(position);
    }
    std::ranges::sort(found, {}, &std::pair<std::uint64_t, Descriptors>::first);
    const bool wrap = area_.load<std::uint8_t>(region::used_wrap) != 0;
    const bool around = used + in_flight >= ring_size_;
    Recovered recovered{
        .position = {.next_available = static_cast<std::uint16_t>(
                         used + in_flight - (around ? std::uint32_t{ring_size_} : 0U)),
                     .next_used = used,
                     .available_wrap = wrap != around,
                     .used_wrap = wrap}};
    for (auto& [counter, descriptors] : found) {
        counter_ = std::max(counter_, base::wrapping_add(counter, std::uint64_t{1}));
        recovered.again.push_back(std::move(descriptors));
    }
    return recovered;
}

void PackedInflight::taken(std::span<const PackedDescriptor> chain) {
    const auto count = static_cast<std::uint16_t>(chain.size());
    const std::uint16_t id = chain.back().id;
    if (count > free_count_ || chains_.contains(id)) {
        return;  // a driver that uses an id twice: nobody could tell the two apart
    }
    Chain entries{.head = free_head_, .last = free_head_, .count = count};
    for (const PackedDescriptor& descriptor : chain) {
        const std::uint16_t at = free_head_;
        area_.store<std::uint64_t>(entry::address(at), descriptor.address);
        area_.store<std::uint32_t>(entry::length(at), descriptor.length);
        area_.store<std::uint16_t>(entry::id(at), descriptor.id);
        area_.store<std::uint16_t>(entry::flags(at), descriptor.flags);
        entries.last = at;
        free_head_ = next_[at];
    }
    free_count_ -= count;
    area_.store<std::uint16_t>(entry::count(entries.head), count);
    area_.store<std::uint16_t>(entry::last(entries.head), entries.last);
    area_.store<std::uint64_t>(entry::counter(entries.head), counter_);
    counter_ = base::wrapping_add(counter_, std::uint64_t{1});
    area_.store<std::uint8_t>(entry::inflight(entries.head), 1, std::memory_order_release);
    area_.store<std::uint16_t>(region::free_head, free_head_, std::memory_order_release);
    area_.store<std::uint16_t>(region::old_free_head, free_head_, std::memory_order_release);
    chains_.emplace(id, entries);
}

void PackedInflight::put(std::uint16_t id) {
    // Its entries stay as they are until the driver is shown it: what comes next must not use them.
    const auto found = chains_.find(id);
    if (found != chains_.end()) {
        batch_.push_back(found->second);
        chains_.erase(found);
    }
}

void PackedInflight::publishing(const QueuePosition& position) {
    for (const Chain& chain : batch_) {
        next_[chain.last] = free_head_;
        area_.store<std::uint16_t>(entry::next(chain.last), free_head_);
        free_head_ = chain.head;
        free_count_ += chain.count;
    }
    area_.store<std::uint16_t>(region::free_head, free_head_, std::memory_order_release);
    area_.store<std::uint8_t>(region::used_wrap, position.used_wrap ? 1 : 0,
                              std::memory_order_release);
    area_.store<std::uint16_t>(region::used_index, position.next_used, std::memory_order_release);
}

void PackedInflight::published() {
    for (const Chain& chain : batch_) {
        area_.store<std::uint8_t>(entry::inflight(chain.head), 0, std::memory_order_release);
    }
    batch_.clear();
    commit();
}

}  // namespace cupule::vhost_user
