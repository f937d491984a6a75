#include "virtio/queue_meter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace cupule::virtio {
namespace {

TEST(QueueMeter, CountsWhatItIsTold) {
    QueueMeter meter;
    meter.kick();
    meter.batch(true);
    meter.batch(false);
    meter.batch(false);
    meter.throttle();
    meter.request(4096, false, 1000);
    meter.request(512, true, 3000);
    const QueueReport report = meter.report(3);
    EXPECT_EQ(report.index, 3);
    EXPECT_EQ(report.requests, 2U);
    EXPECT_EQ(report.bytes, 4608U);
    EXPECT_EQ(report.errors, 1U);
    EXPECT_EQ(report.kicks, 1U);
    EXPECT_EQ(report.interrupts, 1U);
    EXPECT_EQ(report.suppressed, 2U);
    EXPECT_EQ(report.throttled, 1U);
    EXPECT_THAT(report.to_text(), ::testing::HasSubstr("queue 3: 2 requests"));
}

TEST(QueueMeter, TheHistogramHasALineOfItsOwn) {
    QueueMeter meter;
    EXPECT_EQ(meter.report(2).histogram_text(), "");
    meter.request(1, false);
    EXPECT_EQ(meter.report(2).histogram_text(), "");
    for (const std::uint64_t ns : {1500U, 1600U, 70'000U, 30'000'000U}) {
        meter.request(1, false, ns);
    }
    EXPECT_EQ(meter.report(2).histogram_text(),
              "queue 2: latencies: < 2048 ns 2, < 131 us 1, < 33 ms 1");
}

TEST(QueueMeter, RecentRequestsAreThoseSinceItWasAsked) {
    QueueMeter meter;
    EXPECT_EQ(meter.take_recent(), 0U);
    meter.request(64, false);
    meter.request(64, true, 1000);
    EXPECT_EQ(meter.take_recent(), 2U);
    EXPECT_EQ(meter.take_recent(), 0U);
    meter.request(64, false);
    EXPECT_EQ(meter.take_recent(), 1U);
    EXPECT_EQ(meter.report(0).requests, 3U);
}

TEST(QueueMeter, EveryLatencyHasABucketWhoseBoundIsAboveIt) {
    for (const std::uint64_t ns : {0ULL, 1ULL, 2ULL, 1023ULL, 1024ULL, 1ULL << 39}) {
        QueueMeter meter;
        meter.request(0, false, ns);
        const LatencyHistogram latency = meter.report(0).latency;
        EXPECT_EQ(latency.total(), 1U);
        EXPECT_GT(latency.within_ns(500), ns);
        EXPECT_LE(latency.within_ns(500), 2 * std::max<std::uint64_t>(ns, 1));
    }
    QueueMeter meter;
    meter.request(0, false, ~std::uint64_t{0});
    EXPECT_EQ(meter.report(0).latency.counts.back(), 1U);
}

TEST(QueueMeter, PercentilesComeFromTheWholeCount) {
    LatencyHistogram latency;
    EXPECT_EQ(latency.within_ns(990), 0U);
    latency.counts[10] = 989;
    latency.counts[20] = 11;
    EXPECT_EQ(latency.within_ns(500), 2048U);
    EXPECT_EQ(latency.within_ns(989), 2048U);
    EXPECT_EQ(latency.within_ns(990), 2U << 20);
}

}  // namespace
}  // namespace cupule::virtio
