#include "machine/interrupt_storm.h"

#include <gtest/gtest.h>

#include <string>

#include "event/clock.h"

namespace cupule::machine {
namespace {

class Monitor : public hypervisor::InterruptMonitor {
  public:
    base::Result<std::vector<Count>> counts() override {
        if (fails) {
            return base::fail("gone");
        }
        return now;
    }
    base::Result<void> delay(std::uint32_t delay_ms) override {
        done += "delay " + std::to_string(delay_ms) + ";";
        return {};
    }
    void let_through() override { done += "through;"; }

    std::vector<Count> now{{.source = 5, .count = 0}, {.source = 6, .count = 100}};
    std::string done;
    bool fails = false;
};

struct Bench {
    Monitor monitor;
    InterruptStorm storm{
        monitor, {.threshold_per_s = 1000, .period_s = 10, .delay_ms = 2, .duration_ms = 5}};
};

constexpr std::uint64_t period_ns = 10 * event::ns_per_s;

TEST(InterruptStorm, InterruptsUpToTheThresholdAreLeftAlone) {
    Bench b;
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(b.storm.step(), period_ns);
        b.monitor.now[0].count += 10'000;
    }
    EXPECT_EQ(b.monitor.done, "");
    EXPECT_EQ(b.storm.count(), 0U);
}

TEST(InterruptStorm, MoreAreDelayedForTheDurationAndThenRested) {
    Bench b;
    EXPECT_EQ(b.storm.step(), period_ns);
    b.monitor.now[1].count += 10'001;
    EXPECT_EQ(b.storm.step(), 2 * event::ns_per_ms);
    EXPECT_EQ(b.monitor.done, "delay 2;");
    EXPECT_EQ(b.storm.step(), 2 * event::ns_per_ms);
    EXPECT_EQ(b.storm.step(), 1 * event::ns_per_ms);
    EXPECT_EQ(b.storm.step(), InterruptStorm::rest_ns);
    EXPECT_EQ(b.monitor.done, "delay 2;through;through;through;delay 0;");
    // What came meanwhile counts for nothing.
    b.monitor.now[1].count += 1'000'000;
    EXPECT_EQ(b.storm.step(), period_ns);
    EXPECT_EQ(b.storm.step(), period_ns);
    EXPECT_EQ(b.storm.count(), 1U);
}

TEST(InterruptStorm, ACountThatWentBackOrIsNewIsNoStorm) {
    Bench b;
    b.storm.step();
    b.monitor.now = {{.source = 5, .count = 0}, {.source = 9, .count = 1'000'000}};
    b.monitor.now[0].count = 0;
    EXPECT_EQ(b.storm.step(), period_ns);
    EXPECT_EQ(b.storm.count(), 0U);
}

TEST(InterruptStorm, TheLargestOptionsDoNotOverflow) {
    Monitor monitor;
    InterruptStorm storm(monitor, {.threshold_per_s = 0xFFFF'FFFF,
                                   .period_s = 0xFFFF'FFFF,
                                   .delay_ms = 0xFFFF'FFFF,
                                   .duration_ms = 0xFFFF'FFFF});
    EXPECT_EQ(storm.step(), 0xFFFF'FFFFULL * event::ns_per_s);
    monitor.now[0].count = 0xFFFF'FFFF'FFFF'FFFF;
    EXPECT_EQ(storm.step(), 0xFFFF'FFFFULL * event::ns_per_ms);
    EXPECT_EQ(storm.step(), InterruptStorm::rest_ns);
}

TEST(InterruptStorm, EndsWhereTheCountsEnd) {
    Bench b;
    b.monitor.fails = true;
    EXPECT_EQ(b.storm.step(), 0U);
}

}  // namespace
}  // namespace cupule::machine
