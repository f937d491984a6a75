#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/block_store.h"
#include "event/poll_window.h"
#include "event/worker.h"
#include "virtio/device.h"
#include "virtio/queue_meter.h"

namespace cupule::device {

/// What the queues of one disk share. Changed only while none of them runs, but for what is atomic.
struct BlkDisk {
    /// nullptr: no disk is in the drive.
    backend::BlockStore* store = nullptr;
    /// Shared by all queues; nullptr: no limit.
    backend::RateLimiter* limiter = nullptr;
    std::uint64_t negotiated = 0;
    /// Otherwise a write ends on stable storage.
    std::atomic<bool> write_back{true};
    bool read_only = false;
    /// The host may free what is erased.
    bool may_unmap = false;
    std::uint32_t logical_sector = 512;
    /// Of one request's segments, and how many of them it has.
    std::uint32_t discard_sectors_max = 0;
    std::uint32_t discard_segments_max = 0;
    std::uint32_t write_zeroes_sectors_max = 0;
    std::uint32_t write_zeroes_segments_max = 0;
    std::string serial{};
    /// The longest look for work before sleeping; 0: none.
    std::uint64_t poll_ns_max = 0;
};

/// Serves one queue of a disk on a worker, many requests at a time: takes what the driver has made
/// available, starts it all with one call, hands back what has ended in batches. Looks for more
/// (event::Poller) as long as it finds some and for the length of its window beyond. `start` and
/// `stop` belong to the device's monitor, which the worker never takes.
class BlkQueue {
  public:
    static constexpr std::uint16_t size_max = 256;
    static constexpr std::uint16_t data_segments_max = 254;
    /// What one call of the host's moves, and what one look starts before the worker's loop has its
    /// turn: whoever stops a queue waits for no more than one of each.
    static constexpr std::uint64_t piece_bytes_max = 4 << 20;
    static constexpr std::uint64_t look_bytes_max = 4 << 20;
    /// What the requests taken from the ring may ask for together, but for the last one.
    static constexpr std::uint64_t taken_bytes_max = 64 << 20;

    /// Both outlive this.
    BlkQueue(event::Worker& worker, const BlkDisk& disk);
    ~BlkQueue();
    BlkQueue(const BlkQueue&) = delete;
    BlkQueue& operator=(const BlkQueue&) = delete;

    [[nodiscard]] base::Result<void> start(virtio::RunningQueue queue,
                                           virtio::DeviceEvents& events);
    /// The queue, with all that was taken from it ended and handed back: waits for the host. What
    /// is left of a request for more than taken_bytes_max is not done: it fails. Empty when none
    /// ran.
    [[nodiscard]] std::optional<virtio::RunningQueue> stop();
    /// Any thread.
    virtio::QueueReport report(std::uint16_t index) const { return meter_.report(index); }

  private:
    struct Range {
        std::uint64_t at = 0;
        std::uint64_t bytes = 0;
        /// Of the slot's segments; an erase has none.
        std::uint32_t first_segment = 0;
        std::uint32_t segment_count = 0;
    };
    /// A request under way: steps of one operation, one for each range.
    struct Slot {
        virtio::Chain chain{};
        backend::BlockOperation operation = backend::BlockOperation::read;
        bool may_unmap = false;
        /// Bytes in front of the status.
        std::uint64_t room = 0;
        std::uint64_t bytes = 0;
        /// What it counts for in `taken_bytes_`.
        std::uint64_t weight = 0;
        std::uint64_t began_ns = 0;
        std::vector<Range> ranges{};
        std::size_t next_range = 0;
        /// At least as many as the ranges need.
        std::vector<iovec> segments{};
    };
    /// Empty: the request goes to the store; else how it ended at once.
    using Verdict = std::optional<std::uint8_t>;

    base::Result<void> start_here(virtio::RunningQueue queue, virtio::DeviceEvents& events);
    std::optional<virtio::RunningQueue> stop_here();
    void let_go();
    void wake(event::PollWindow* window);
    bool look(std::uint64_t now_ns);
    bool sleep();
    bool pass();
    bool take_some();
    bool take_one();
    bool may_take() const;
    void begin_turn();
    void submit_held();
    static std::uint64_t charge(const Slot& slot);
    bool finish_ended();
    void publish();

    Verdict begin(Slot& slot);
    Verdict begin_transfer(Slot& slot, virtio::ChainReader& reader, std::uint64_t sector,
                           bool to_guest) const;
    Verdict begin_erase(Slot& slot, virtio::ChainReader& reader, bool zeroes) const;
    std::uint8_t give_id(Slot& slot) const;
    bool in_disk(std::uint64_t sector, std::uint64_t bytes, Range& range) const;
    static void add_transfer(Slot& slot, const Range& whole);
    static void add_erase(Slot& slot, const Range& whole);
    static std::uint64_t weight(const Slot& slot, const Range& range);
    void submit_step(std::uint32_t index);
    void go_on(std::uint32_t index);
    void step_ended(std::uint32_t index, int error);
    void finish(std::uint32_t index, std::uint8_t status);
    void tell_failure(const Slot& slot, int error);
    std::uint64_t now_ns() const { return worker_.loop().clock().now_ns(); }

    event::Worker& worker_;
    const BlkDisk& disk_;
    virtio::QueueMeter meter_;
    bool started_ = false;

    // Only on the worker.
    std::optional<virtio::RunningQueue> running_;
    virtio::DeviceEvents* events_ = nullptr;
    std::unique_ptr<backend::BlockQueue> store_queue_;
    std::unique_ptr<event::FdWatch> kick_watch_;
    std::unique_ptr<event::FdWatch> done_watch_;
    std::unique_ptr<event::Timer> limit_timer_;
    std::unique_ptr<event::Poller> poller_;
    std::vector<Slot> slots_;
    std::vector<std::uint32_t> free_;
    /// Taken from the ring, waiting for the rate limit.
    std::optional<std::uint32_t> held_;
    /// Begun, waiting for the next turn.
    std::vector<std::uint32_t> waiting_;
    std::uint64_t taken_bytes_ = 0;
    /// Started in the look under way.
    std::uint64_t look_bytes_ = 0;
    bool stopping_ = false;
    bool unpublished_ = false;
    bool asleep_ = true;
    bool broken_told_ = false;
    bool failure_told_ = false;
    /// Two, as a disk that is slow says nothing about how soon the driver answers.
    event::PollWindow driver_window_;
    event::PollWindow disk_window_;
    std::uint64_t asleep_since_ns_ = 0;
    std::uint64_t found_last_ns_ = 0;
    /// When the look under way began, and when what it hands back ended: requests' times.
    std::uint64_t look_ns_ = 0;
    std::uint64_t ended_ns_ = 0;
    std::vector<backend::BlockCompletion> ended_;
};

}  // namespace cupule::device
