#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "memory/guest_memory.h"
#include "virtio/queue_geometry.h"
#include "virtio/ring_layout.h"

namespace cupule::testing {

/// The driver's side of one virtqueue, as a guest would have it: lays out rings in guest memory,
/// makes chains available and collects used ones, in either format and with any of the ring
/// features. Keeps its own records and believes nothing the ring says without comparing: what a
/// device does wrong is named in `violation`. One thread, which may run beside the device's.
class VirtioDriver {
  public:
    struct Options {
        /// VIRTIO_F_RING_PACKED, EVENT_IDX, IN_ORDER, INDIRECT_DESC; other bits do not matter here.
        std::uint64_t features = 0;
        std::uint16_t size = 256;
        /// Where rings and indirect tables go: `bytes_needed` bytes, aligned to 4 KiB.
        memory::GuestAddress base{};
        /// Entries of each chain's indirect table.
        std::uint32_t table_entries = 16;
        /// The layout of split rings that the legacy interface demands.
        bool legacy = false;
    };
    struct Buffer {
        memory::GuestAddress address{};
        std::uint32_t length = 0;
        bool writable = false;
    };
    enum class Shape : std::uint8_t {
        direct,
        indirect,
        mixed,  // the first buffer direct, the others in a table
    };
    struct Used {
        std::uint64_t token = 0;
        std::uint32_t written = 0;
    };

    static std::uint64_t bytes_needed(const Options& options);
    /// Clears the ring's memory.
    VirtioDriver(const memory::GuestMemory& memory, const Options& options);

    const virtio::QueueGeometry& geometry() const { return geometry_; }
    bool packed() const { return packed_; }

    /// Makes a chain of `buffers` available, at once in a packed ring, by `publish` in a split one.
    /// False when the ring has no room.
    bool submit(std::span<const Buffer> buffers, std::uint64_t token, Shape shape = Shape::direct);
    /// True when the device must be notified of what was submitted since the last call.
    bool publish();

    /// What goes into the doorbell `queue` with NOTIFICATION_DATA (2.9): how far all that was made
    /// available reaches.
    std::uint32_t notification(std::uint16_t queue) const;

    /// The next used chain.
    std::optional<Used> collect();
    void disable_interrupts();
    /// True when used chains are there already, for which no interrupt will come.
    bool enable_interrupts();

    std::uint32_t outstanding() const { return outstanding_; }
    /// What the device did that no device may do, first thing only; empty when nothing.
    const std::string& violation() const { return violation_; }

  private:
    struct Record {
        std::uint64_t token = 0;
        std::uint32_t writable_bytes = 0;
        std::uint16_t descriptors = 0;
        bool outstanding = false;
    };
    struct Place {
        std::uint16_t index = 0;
        bool wrap = true;
    };

    template <class Descriptor>
    void describe(Descriptor& descriptor, std::span<const Buffer> direct,
                  std::span<const Buffer> table, std::uint16_t id, std::size_t i) const;
    void submit_split(std::span<const Buffer> direct, std::span<const Buffer> table);
    void submit_packed(std::span<const Buffer> direct, std::span<const Buffer> table);
    void fill_table(std::uint16_t id, std::span<const Buffer> table);
    memory::GuestAddress table_address(std::uint16_t id) const;
    void record(std::uint16_t id, std::uint16_t descriptors, std::uint32_t writable_bytes,
                std::uint64_t token);
    std::uint16_t take_descriptor();
    std::optional<Used> finish(std::uint32_t id, std::uint32_t written, bool has_length);
    std::optional<Used> collect_split();
    std::optional<Used> collect_packed();
    bool publish_packed();
    bool used_available() const;
    Place advance(Place place, std::uint32_t count) const;
    std::optional<Used> violate(std::string what);

    const memory::GuestMemory* memory_;
    Options options_;
    bool packed_;
    bool event_idx_;
    bool in_order_;
    virtio::QueueGeometry geometry_;
    virtio::RingArea descriptors_;
    virtio::RingArea driver_;
    virtio::RingArea device_;

    std::vector<Record> records_;
    /// Split: the descriptor behind each (chains and the free list); packed: the free ids.
    std::vector<std::uint16_t> next_;
    std::uint16_t free_head_ = 0;
    std::uint32_t free_descriptors_;
    std::uint32_t outstanding_ = 0;
    /// IN_ORDER: ids in the order they were made available.
    std::vector<std::uint16_t> order_;
    std::uint32_t order_head_ = 0;
    std::uint32_t order_tail_ = 0;

    // Split.
    std::uint16_t next_available_ = 0;
    std::uint16_t published_available_ = 0;
    std::uint16_t last_used_ = 0;
    std::uint16_t used_end_ = 0;
    // Packed.
    Place available_;
    Place used_;
    std::uint32_t unpublished_ = 0;

    std::string violation_;
};

}  // namespace cupule::testing
