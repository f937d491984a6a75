#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "event/worker.h"
#include "virtio/worker_queue.h"

namespace cupule::device {

/// What a guest says of its memory (Virtio 1.3, 5.5.6.4): its driver leaves a buffer with figures
/// in the statistics queue, and fills it anew when it gets it back, which is every `period_ns`.
class BalloonStatistics {
  public:
    /// The worker outlives this; `period_ns` is not 0.
    BalloonStatistics(event::Worker& worker, std::uint64_t period_ns)
        : worker_(worker), period_ns_(period_ns) {}
    ~BalloonStatistics();
    BalloonStatistics(const BalloonStatistics&) = delete;
    BalloonStatistics& operator=(const BalloonStatistics&) = delete;

    // With the device's monitor.
    [[nodiscard]] base::Result<void> start(virtio::RunningQueue queue,
                                           virtio::DeviceEvents& events);
    [[nodiscard]] std::optional<virtio::RunningQueue> stop();
    /// Another driver: what the last one said is void.
    void forget();

    /// One line for people, of what the guest said last: "the guest's memory: total 512 MiB, ...";
    /// empty when it said nothing. Any thread.
    std::string to_text() const;
    /// What its queue has done. Any thread.
    virtio::QueueReport report(std::uint16_t index) const { return meter_.report(index); }

  private:
    static constexpr std::size_t tags = 10;

    // On the worker.
    void kicked();
    void read(const virtio::Chain& chain);
    void give_back();

    event::Worker& worker_;
    const std::uint64_t period_ns_;
    virtio::QueueMeter meter_;
    std::unique_ptr<virtio::WorkerQueue> queue_;
    std::unique_ptr<event::Timer> timer_;
    /// The driver's buffer, read.
    virtio::Chain held_;
    /// A bit for each tag that came, and its figure. The worker writes.
    std::atomic<std::uint32_t> known_{0};
    std::array<std::atomic<std::uint64_t>, tags> figures_{};
};

}  // namespace cupule::device
