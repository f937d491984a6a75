#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/bits.h"
#include "base/error.h"
#include "base/file_descriptor.h"
#include "vhost_user/fault_guard.h"
#include "vhost_user/protocol.h"
#include "virtio/inflight_log.h"
#include "virtio/packed_ring.h"
#include "virtio/ring_area.h"

namespace cupule::vhost_user {

/// How many bytes a queue's record takes: a head, the entries, and what is left to the next place
/// where a queue begins, which is a multiple of 64 (libvhost-user has the same).
constexpr std::uint64_t inflight_bytes(std::uint64_t head_bytes, std::uint64_t entry_bytes,
                                       std::uint16_t entries) {
    return base::align_up(head_bytes + entry_bytes * entries, std::uint64_t{64});
}

/// One split queue's part of the inflight area, laid out as "Inflight I/O tracking" of the protocol
/// says (QueueRegionSplit), so that another program may go on where this one ended. The front end
/// shares the memory and may write anything to it: each value is read once and checked.
class SplitInflight : public virtio::InflightLog {
  public:
    /// `bytes` is the queue's part, for `entries` descriptors; `ring_size` is at most that.
    SplitInflight(std::span<std::byte> bytes, std::uint16_t entries, std::uint16_t ring_size)
        : area_(bytes), entries_(entries), ring_size_(ring_size) {}

    /// Begins, or goes on after another process, when the used ring stands at `used_index`. The
    /// heads that were taken and are not in the used ring, in the order they were taken in.
    std::vector<std::uint16_t> recover(std::uint16_t used_index);

    void taken(std::uint16_t head) override;
    void put(std::uint16_t head) override;
    void published(std::uint16_t used_index) override;

    static std::uint64_t bytes_for(std::uint16_t entries);

  private:
    void begin(std::uint16_t used_index);
    void finish_last_batch(std::uint16_t used_index);

    virtio::RingArea area_;
    std::uint16_t entries_;
    std::uint16_t ring_size_;
    std::uint64_t counter_ = 0;
    std::vector<std::uint16_t> batch_;
};

/// One packed queue's part (QueueRegionPacked): copies of the descriptors that were taken, for the
/// ring forgets them. What is gone by while the process lives is its own; the area is for whoever
/// comes after it.
class PackedInflight : public virtio::PackedInflightLog {
  public:
    PackedInflight(std::span<std::byte> bytes, std::uint16_t entries, std::uint16_t ring_size);

    /// Where the ring goes on, and the chains that were taken and are not used, in the order they
    /// were taken in.
    struct Recovered {
        virtio::QueuePosition position{};
        std::vector<virtio::PackedRing::Descriptors> again{};
    };
    /// Begins at `position`; nothing is in flight.
    Recovered begin(const virtio::QueuePosition& position);
    /// Reads the flags of a descriptor in the ring; `index` is below its size.
    using RingFlags = std::function<std::uint16_t(std::uint16_t index)>;
    /// Goes on after another process, or begins at `position` where the record makes no sense.
    Recovered recover(const virtio::QueuePosition& position, const RingFlags& ring_flags);

    void taken(std::span<const virtio::PackedDescriptor> chain) override;
    void put(std::uint16_t id) override;
    void publishing(const virtio::QueuePosition& position) override;
    void published() override;

    static std::uint64_t bytes_for(std::uint16_t entries);

  private:
    struct Chain {
        std::uint16_t head = 0;
        std::uint16_t last = 0;
        std::uint16_t count = 0;
    };
    using Descriptors = virtio::PackedRing::Descriptors;
    void settle_last_batch(const RingFlags& ring_flags);
    std::vector<bool> read_free_list();
    bool read_chain(std::uint16_t head, std::vector<bool>& seen, Chain& chain,
                    Descriptors& descriptors) const;
    void commit();

    virtio::RingArea area_;
    std::uint16_t entries_;
    std::uint16_t ring_size_;
    std::uint64_t counter_ = 0;
    /// Entries without a descriptor, as a list through `next_`.
    std::uint16_t free_head_ = 0;
    std::uint32_t free_count_ = 0;
    std::vector<std::uint16_t> next_;
    /// By buffer id.
    std::unordered_map<std::uint16_t, Chain> chains_;
    std::vector<Chain> batch_;
};

/// The inflight area of a device: a file of memory that the front end keeps for the back end.
class InflightArea {
  public:
    /// A new one, zeroed, with room for either format. `queues` and `entries` are at least 1.
    static base::Result<std::unique_ptr<InflightArea>> create(std::uint16_t queues,
                                                              std::uint16_t entries);
    /// The one that a front end hands over; an error when it does not hold what it says.
    static base::Result<std::unique_ptr<InflightArea>> map(const Inflight& description,
                                                           base::FileDescriptor file);
    ~InflightArea();
    InflightArea(const InflightArea&) = delete;
    InflightArea& operator=(const InflightArea&) = delete;

    const Inflight& description() const { return description_; }
    const base::FileDescriptor& file() const { return file_; }

    /// The record of a queue, which this outlives; nullptr for one that it has no room for.
    std::unique_ptr<SplitInflight> log_of(std::uint16_t queue, std::uint16_t ring_size) const;
    std::unique_ptr<PackedInflight> packed_log_of(std::uint16_t queue,
                                                  std::uint16_t ring_size) const;

  private:
    InflightArea(const Inflight& description, base::FileDescriptor file)
        : description_(description), file_(std::move(file)) {}
    base::Result<void> map_file();
    /// A queue's part; empty where there is none.
    std::span<std::byte> part_of(std::uint16_t queue, std::uint16_t ring_size,
                                 std::uint64_t bytes) const;

    Inflight description_;
    base::FileDescriptor file_;
    std::span<std::byte> mapping_;
    std::optional<FaultGuard> guard_;
};

}  // namespace cupule::vhost_user
