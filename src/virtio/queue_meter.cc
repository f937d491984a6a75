#include "virtio/queue_meter.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <numeric>

namespace cupule::virtio {
namespace {

std::string time_text(std::uint64_t ns) {
    constexpr std::uint64_t us = 1000;
    if (ns < 10 * us) {
        return fmt::format("{} ns", ns);
    }
    return ns < 10'000 * us ? fmt::format("{} us", ns / us)
                            : fmt::format("{} ms", ns / (us * 1000));
}

}  // namespace

std::uint64_t LatencyHistogram::total() const {
    return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

std::uint64_t LatencyHistogram::within_ns(unsigned permille) const {
    const std::uint64_t all = total();
    std::uint64_t seen = 0;
    for (unsigned i = 0; i < buckets; ++i) {
        seen += counts[i];
        if (seen != 0 && seen >= (all * permille + 999) / 1000) {
            return std::uint64_t{2} << i;
        }
    }
    return 0;
}

std::string QueueReport::to_text() const {
    std::string text = fmt::format(
        "queue {}: {} requests, {} bytes, {} errors, {} kicks, {} interrupts, {} suppressed", index,
        requests, bytes, errors, kicks, interrupts, suppressed);
    if (throttled != 0) {
        text += fmt::format(", {} throttled", throttled);
    }
    if (latency.total() != 0) {
        text += fmt::format("; latency 50 % < {}, 99 % < {}, 99.9 % < {}",
                            time_text(latency.within_ns(500)), time_text(latency.within_ns(990)),
                            time_text(latency.within_ns(999)));
    }
    return text;
}

std::string QueueReport::histogram_text() const {
    std::string text;
    for (unsigned i = 0; i < LatencyHistogram::buckets; ++i) {
        if (latency.counts[i] != 0) {
            text += text.empty() ? fmt::format("queue {}: latencies: ", index) : ", ";
            text += fmt::format("< {} {}", time_text(std::uint64_t{2} << i), latency.counts[i]);
        }
    }
    return text;
}

void QueueMeter::request(std::uint64_t bytes, bool failed, std::uint64_t latency_ns) {
    request(bytes, failed);
    const auto width = static_cast<unsigned>(std::bit_width(latency_ns | 1)) - 1;
    add(latency_[std::min(width, LatencyHistogram::buckets - 1)], 1);
}

QueueReport QueueMeter::report(std::uint16_t index) const {
    const auto of = [](const Count& count) { return count.load(std::memory_order_relaxed); };
    QueueReport result{.index = index,
                       .requests = of(requests_),
                       .bytes = of(bytes_),
                       .errors = of(errors_),
                       .kicks = of(kicks_),
                       .interrupts = of(interrupts_),
                       .suppressed = of(suppressed_),
                       .throttled = of(throttled_)};
    std::ranges::transform(latency_, result.latency.counts.begin(), of);
    return result;
}

}  // namespace cupule::virtio
