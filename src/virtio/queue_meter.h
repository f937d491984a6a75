#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

namespace cupule::virtio {

/// How long things took: counts in powers of two of nanoseconds.
struct LatencyHistogram {
    static constexpr unsigned buckets = 40;  // up to 18 minutes
    /// counts[i]: at least 2^i and less than 2^(i+1) nanoseconds; the first and the last take what
    /// lies beyond.
    std::array<std::uint64_t, buckets> counts{};

    std::uint64_t total() const;
    /// An upper bound of the time that `permille` of 1000 kept to; 0 without any.
    std::uint64_t within_ns(unsigned permille) const;
};

/// What a queue has done since its device was made.
struct QueueReport {
    std::uint16_t index = 0;
    std::uint64_t requests = 0;
    std::uint64_t bytes = 0;
    std::uint64_t errors = 0;
    /// Wake-ups by the driver's doorbell.
    std::uint64_t kicks = 0;
    /// Batches of answers that interrupted the driver, and those it did not want to hear of.
    std::uint64_t interrupts = 0;
    std::uint64_t suppressed = 0;
    /// How often a rate limit made requests wait.
    std::uint64_t throttled = 0;
    LatencyHistogram latency{};

    /// One line: "queue 0: 12 requests, ...".
    std::string to_text() const;
    /// One more, of all latencies: "queue 0: latencies: < 2048 ns 3, < 4096 ns 9"; empty without
    /// any.
    std::string histogram_text() const;
};

/// Counts for one queue: written by the worker that has it, read by any thread at any time. Each
/// count is exact; two of them may be a request apart.
class QueueMeter {
  public:
    void kick() { add(kicks_, 1); }
    void throttle() { add(throttled_, 1); }
    void batch(bool interrupted) { add(interrupted ? interrupts_ : suppressed_, 1); }
    void request(std::uint64_t bytes, bool failed, std::uint64_t latency_ns);
    /// One whose time means nothing, as a frame's.
    void request(std::uint64_t bytes, bool failed) {
        add(requests_, 1);
        add(bytes_, bytes);
        if (failed) {
            add(errors_, 1);
        }
    }

    QueueReport report(std::uint16_t index) const;
    /// Requests since the writer, who alone may ask, asked last.
    std::uint64_t take_recent() {
        const std::uint64_t all = requests_.load(std::memory_order_relaxed);
        return all - std::exchange(taken_, all);
    }

  private:
    using Count = std::atomic<std::uint64_t>;
    /// One writer: no locked instruction is needed.
    static void add(Count& count, std::uint64_t more) {
        count.store(count.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
    }

    Count requests_{0};
    Count bytes_{0};
    Count errors_{0};
    Count kicks_{0};
    Count interrupts_{0};
    Count suppressed_{0};
    Count throttled_{0};
    std::uint64_t taken_ = 0;
    std::array<Count, LatencyHistogram::buckets> latency_{};
};

}  // namespace cupule::virtio
