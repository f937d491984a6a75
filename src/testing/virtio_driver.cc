#include "testing/virtio_driver.h"

#include <fmt/core.h>

#include <bit>
#include <utility>

#include "base/assert.h"
#include "base/bits.h"
#include "virtio/features.h"

namespace cupule::testing {
namespace {

namespace available_ring = virtio::available_ring;
namespace used_ring = virtio::used_ring;
namespace event = virtio::event_suppression;
namespace flag = virtio::descriptor_flag;

constexpr std::uint64_t page = 4096;

std::uint64_t ring_bytes(std::uint16_t size) {
    return base::align_up(std::uint64_t{size} * virtio::descriptor_size, page);
}

std::uint64_t area_bytes(std::uint16_t size) {
    return base::align_up(used_ring::bytes(size), page);
}

virtio::QueueGeometry geometry_of(const VirtioDriver::Options& options) {
    const std::uint32_t size = options.size;
    // 2.7.2: in a row, the used ring on the next page.
    const std::uint64_t driver =
        options.legacy ? std::uint64_t{size} * virtio::descriptor_size : ring_bytes(options.size);
    const std::uint64_t device = options.legacy
                                     ? base::align_up(driver + available_ring::bytes(size), page)
                                     : driver + area_bytes(options.size);
    return {.size = options.size,
            .descriptor_area = options.base,
            .driver_area = options.base + driver,
            .device_area = options.base + device};
}

/// Has the processor fetch the used entries from `first` to `end` all at once: they come out of
/// another one's cache, line by line.
void fetch_used(const virtio::RingArea& ring, std::uint16_t size, std::uint16_t first,
                std::uint16_t end) {
    constexpr std::uint16_t entries_in_line = 8;
    const auto count = static_cast<std::uint16_t>(end - first);
    for (std::uint32_t i = entries_in_line; i < count; i += entries_in_line) {
        ring.prefetch(used_ring::entry_id((first + i) & (std::uint32_t{size} - 1)));
    }
}

}  // namespace

std::uint64_t VirtioDriver::bytes_needed(const Options& options) {
    return ring_bytes(options.size) + 2 * area_bytes(options.size) +
           std::uint64_t{options.size} * options.table_entries * virtio::descriptor_size;
}

VirtioDriver::VirtioDriver(const memory::GuestMemory& memory, const Options& options)
    : memory_(&memory),
      options_(options),
      packed_((options.features & virtio::feature::ring_packed) != 0),
      event_idx_((options.features & virtio::feature::event_idx) != 0),
      in_order_((options.features & virtio::feature::in_order) != 0),
      geometry_(geometry_of(options)),
      descriptors_(memory.span(geometry_.descriptor_area, ring_bytes(options.size))),
      driver_(memory.span(geometry_.driver_area, area_bytes(options.size))),
      device_(memory.span(geometry_.device_area, area_bytes(options.size))),
      records_(options.size),
      next_(options.size),
      free_descriptors_(options.size),
      order_(std::bit_ceil(std::uint32_t{options.size})) {
    CUPULE_ASSERT(memory.fill(options.base, std::byte{0}, bytes_needed(options)));
    for (std::uint32_t i = 0; i < options.size; ++i) {
        next_[i] = static_cast<std::uint16_t>((i + 1) % options.size);
    }
}

memory::GuestAddress VirtioDriver::table_address(std::uint16_t id) const {
    return geometry_.device_area + area_bytes(options_.size) +
           std::uint64_t{id} * options_.table_entries * virtio::descriptor_size;
}

bool VirtioDriver::submit(std::span<const Buffer> buffers, std::uint64_t token, Shape shape) {
    std::size_t direct = buffers.size();
    if (shape == Shape::indirect) {
        direct = 0;
    } else if (shape == Shape::mixed && buffers.size() > 1) {
        direct = 1;
    }
    const auto table = buffers.subspan(direct);
    CUPULE_ASSERT(!buffers.empty() && table.size() <= options_.table_entries);
    const std::size_t count = direct + (table.empty() ? 0 : 1);
    if (count > free_descriptors_) {
        return false;
    }
    const std::uint16_t id = free_head_;
    if (!table.empty()) {
        fill_table(id, table);
    }
    std::uint32_t writable_bytes = 0;
    for (const Buffer& buffer : buffers) {
        writable_bytes += buffer.writable ? buffer.length : 0;
    }
    record(id, static_cast<std::uint16_t>(count), writable_bytes, token);
    if (packed_) {
        submit_packed(buffers.first(direct), table);
    } else {
        submit_split(buffers.first(direct), table);
    }
    return true;
}

void VirtioDriver::fill_table(std::uint16_t id, std::span<const Buffer> table) {
    const virtio::RingArea area(
        memory_->span(table_address(id), table.size() * virtio::descriptor_size));
    for (std::uint32_t i = 0; i < table.size(); ++i) {
        const bool last = i + 1 == table.size();
        const auto write = static_cast<std::uint16_t>(table[i].writable ? flag::write : 0);
        const auto next = static_cast<std::uint16_t>(last ? 0 : flag::next);
        const auto words =
            packed_ ? virtio::words_of(virtio::PackedDescriptor{.address = table[i].address.value,
                                                                .length = table[i].length,
                                                                .id = 0,
                                                                .flags = write})
                    : virtio::words_of(virtio::SplitDescriptor{
                          .address = table[i].address.value,
                          .length = table[i].length,
                          .flags = static_cast<std::uint16_t>(write | next),
                          .next = static_cast<std::uint16_t>(last ? 0 : i + 1)});
        area.store<std::uint64_t>(i * virtio::descriptor_size, words[0]);
        area.store<std::uint64_t>(i * virtio::descriptor_size + 8, words[1]);
    }
}

void VirtioDriver::record(std::uint16_t id, std::uint16_t descriptors, std::uint32_t writable_bytes,
                          std::uint64_t token) {
    records_[id] = {.token = token,
                    .writable_bytes = writable_bytes,
                    .descriptors = descriptors,
                    .outstanding = true};
    free_descriptors_ -= descriptors;
    ++outstanding_;
    if (in_order_) {
        order_[order_tail_++ & (order_.size() - 1)] = id;
    }
}

/// With IN_ORDER the descriptors go round the table (2.7.9): what is freed in order is free in
/// order. Otherwise the one freed last comes first, as it is still in the cache.
std::uint16_t VirtioDriver::take_descriptor() {
    return std::exchange(free_head_, next_[free_head_]);
}

/// The address, length and own flags of a chain's `i`th descriptor: a direct buffer, or the table
/// behind them.
template <class Descriptor>
void VirtioDriver::describe(Descriptor& descriptor, std::span<const Buffer> direct,
                            std::span<const Buffer> table, std::uint16_t id, std::size_t i) const {
    if (i < direct.size()) {
        descriptor.address = direct[i].address.value;
        descriptor.length = direct[i].length;
        descriptor.flags = direct[i].writable ? flag::write : std::uint16_t{0};
    } else {
        descriptor.address = table_address(id).value;
        descriptor.length = static_cast<std::uint32_t>(table.size()) * virtio::descriptor_size;
        descriptor.flags = flag::indirect;
    }
}

void VirtioDriver::submit_split(std::span<const Buffer> direct, std::span<const Buffer> table) {
    const std::uint16_t head = free_head_;
    const std::size_t count = direct.size() + (table.empty() ? 0 : 1);
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint16_t index = take_descriptor();
        const bool last = i + 1 == count;
        virtio::SplitDescriptor descriptor{.next = last ? std::uint16_t{0} : free_head_};
        describe(descriptor, direct, table, head, i);
        descriptor.flags |= last ? std::uint16_t{0} : flag::next;
        const auto words = virtio::words_of(descriptor);
        descriptors_.store<std::uint64_t>(index * virtio::descriptor_size, words[0]);
        descriptors_.store<std::uint64_t>(index * virtio::descriptor_size + 8, words[1]);
    }
    driver_.store<std::uint16_t>(
        available_ring::entry(next_available_ & (std::uint32_t{options_.size} - 1)), head);
    ++next_available_;
}

VirtioDriver::Place VirtioDriver::advance(Place place, std::uint32_t count) const {
    const std::uint32_t index = place.index + count;
    if (index < options_.size) {
        return {static_cast<std::uint16_t>(index), place.wrap};
    }
    return {static_cast<std::uint16_t>(index - options_.size), !place.wrap};
}

void VirtioDriver::submit_packed(std::span<const Buffer> direct, std::span<const Buffer> table) {
    const std::uint16_t id = take_descriptor();
    const std::size_t count = direct.size() + (table.empty() ? 0 : 1);
    const std::uint16_t head = available_.index;
    std::uint64_t head_word = 0;
    for (std::size_t i = 0; i < count; ++i) {
        virtio::PackedDescriptor descriptor{.id = id};
        describe(descriptor, direct, table, id, i);
        descriptor.flags |= i + 1 == count ? std::uint16_t{0} : flag::next;
        descriptor.flags |= available_.wrap ? flag::avail : flag::used;
        const auto words = virtio::words_of(descriptor);
        descriptors_.store<std::uint64_t>(available_.index * virtio::descriptor_size, words[0]);
        if (i == 0) {
            head_word = words[1];
        } else {
            descriptors_.store<std::uint64_t>(available_.index * virtio::descriptor_size + 8,
                                              words[1]);
        }
        available_ = advance(available_, 1);
    }
    // The first descriptor's flags come last (2.8.21).
    descriptors_.store<std::uint64_t>(head * virtio::descriptor_size + 8, head_word,
                                      std::memory_order_release);
    unpublished_ += static_cast<std::uint32_t>(count);
}

bool VirtioDriver::publish_packed() {
    const std::uint32_t batch = std::exchange(unpublished_, 0);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const auto word = device_.load<std::uint32_t>(0, std::memory_order_seq_cst);
    if (event::flags_of(word) != event::at_descriptor) {
        return event::flags_of(word) == event::enable;
    }
    auto wanted = static_cast<std::uint16_t>(word & 0x7FFF);
    if (((word & 0x8000) != 0) != available_.wrap) {
        wanted = static_cast<std::uint16_t>(wanted - options_.size);
    }
    return virtio::passes_event(
        wanted, available_.index,
        static_cast<std::uint16_t>(base::wrapping_sub<std::uint32_t>(available_.index, batch)));
}

bool VirtioDriver::publish() {
    if (packed_) {
        return unpublished_ != 0 && publish_packed();
    }
    if (published_available_ == next_available_) {
        return false;
    }
    const std::uint16_t before = std::exchange(published_available_, next_available_);
    driver_.store_fully_ordered<std::uint16_t>(available_ring::index, next_available_);
    if (event_idx_) {
        return virtio::passes_event(
            device_.load<std::uint16_t>(used_ring::avail_event(options_.size),
                                        std::memory_order_seq_cst),
            next_available_, before);
    }
    return (device_.load<std::uint16_t>(used_ring::flags, std::memory_order_seq_cst) &
            used_ring::flag_no_notify) == 0;
}

std::uint32_t VirtioDriver::notification(std::uint16_t queue) const {
    // A split ring's index fills both fields; its top bit has the place of a packed one's wrap.
    const std::uint32_t place =
        packed_ ? available_.index | (available_.wrap ? 0x8000U : 0U) : published_available_;
    return place << 16 | queue;
}

std::optional<VirtioDriver::Used> VirtioDriver::violate(std::string what) {
    if (violation_.empty()) {
        violation_ = std::move(what);
    }
    return std::nullopt;
}

std::optional<VirtioDriver::Used> VirtioDriver::finish(std::uint32_t id, std::uint32_t written,
                                                       bool has_length) {
    if (id >= options_.size || !records_[id].outstanding) {
        return violate(fmt::format("used id {} is not outstanding", id));
    }
    Record& record = records_[id];
    if (has_length && written > record.writable_bytes) {
        return violate(fmt::format("{} bytes written of {}", written, record.writable_bytes));
    }
    if (in_order_ && order_[order_head_++ & (order_.size() - 1)] != id) {
        return violate(fmt::format("id {} was used out of order", id));
    }
    record.outstanding = false;
    --outstanding_;
    free_descriptors_ += record.descriptors;
    return Used{.token = record.token, .written = written};
}

std::optional<VirtioDriver::Used> VirtioDriver::collect_split() {
    if (last_used_ == used_end_) {
        used_end_ = device_.load<std::uint16_t>(used_ring::index, std::memory_order_acquire);
        if (last_used_ == used_end_) {
            return std::nullopt;
        }
        if (static_cast<std::uint16_t>(used_end_ - last_used_) > outstanding_) {
            used_end_ = last_used_;
            return violate("the used index jumped");
        }
        fetch_used(device_, options_.size, last_used_, used_end_);
    }
    const std::uint32_t i = last_used_++ & (std::uint32_t{options_.size} - 1);
    const auto id = device_.load<std::uint32_t>(used_ring::entry_id(i));
    const auto written = device_.load<std::uint32_t>(used_ring::entry_length(i));
    const std::optional<Used> used = finish(id, written, true);
    if (used && !in_order_) {
        std::uint16_t last = static_cast<std::uint16_t>(id);
        for (std::uint32_t n = 1; n < records_[id].descriptors; ++n) {
            last = next_[last];
        }
        next_[last] = std::exchange(free_head_, static_cast<std::uint16_t>(id));
    }
    return used;
}

std::optional<VirtioDriver::Used> VirtioDriver::collect_packed() {
    const auto word = descriptors_.load<std::uint64_t>(used_.index * virtio::descriptor_size + 8,
                                                       std::memory_order_acquire);
    const auto descriptor = virtio::make_descriptor<virtio::PackedDescriptor>(0, word);
    const bool avail = (descriptor.flags & flag::avail) != 0;
    const bool used_flag = (descriptor.flags & flag::used) != 0;
    if (outstanding_ == 0 || avail != used_flag || used_flag != used_.wrap) {
        return std::nullopt;
    }
    const bool has_length = (descriptor.flags & flag::write) != 0;
    const std::optional<Used> used =
        finish(descriptor.id, has_length ? descriptor.length : 0, has_length);
    if (used) {
        used_ = advance(used_, records_[descriptor.id].descriptors);
        next_[descriptor.id] = std::exchange(free_head_, descriptor.id);
    }
    return used;
}

std::optional<VirtioDriver::Used> VirtioDriver::collect() {
    if (!violation_.empty()) {
        return std::nullopt;
    }
    return packed_ ? collect_packed() : collect_split();
}

bool VirtioDriver::used_available() const {
    if (!packed_) {
        return device_.load<std::uint16_t>(used_ring::index, std::memory_order_seq_cst) !=
               last_used_;
    }
    const auto word = descriptors_.load<std::uint64_t>(used_.index * virtio::descriptor_size + 8,
                                                       std::memory_order_seq_cst);
    const auto flags = virtio::make_descriptor<virtio::PackedDescriptor>(0, word).flags;
    const bool used_flag = (flags & flag::used) != 0;
    return outstanding_ != 0 && ((flags & flag::avail) != 0) == used_flag &&
           used_flag == used_.wrap;
}

void VirtioDriver::disable_interrupts() {
    if (packed_) {
        driver_.store<std::uint32_t>(0, event::make(0, false, event::disable));
    } else if (!event_idx_) {
        driver_.store<std::uint16_t>(available_ring::flags, available_ring::flag_no_interrupt);
    }
}

bool VirtioDriver::enable_interrupts() {
    if (packed_) {
        driver_.store_fully_ordered<std::uint32_t>(
            0, event::make(used_.index, used_.wrap,
                           event_idx_ ? event::at_descriptor : event::enable));
    } else if (event_idx_) {
        driver_.store_fully_ordered<std::uint16_t>(available_ring::used_event(options_.size),
                                                   last_used_);
    } else {
        driver_.store_fully_ordered<std::uint16_t>(available_ring::flags, 0);
    }
    return used_available();
}

}  // namespace cupule::testing
