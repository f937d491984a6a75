#include "device/timer/rtc_mc146818.h"

#include <gtest/gtest.h>

#include "testing/device_contract.h"
#include "testing/fake_lines.h"
#include "testing/fake_timers.h"

namespace cupule::device {
namespace {

constexpr std::uint64_t second = event::ns_per_s;
constexpr std::uint64_t ms = event::ns_per_ms;
constexpr std::uint64_t us = event::ns_per_us;
constexpr std::uint64_t gib = std::uint64_t{1} << 30;

// 2026-11-22 (a Sunday) 13:45:58 UTC
constexpr std::int64_t start_s = 1'795'355'158;

struct Bench : RtcObserver {
    Bench() {
        time.set_wall_ns(start_s * static_cast<std::int64_t>(second));
        rtc.reset();
        rtc.set_observer(this);
    }
    std::uint8_t cell(std::uint8_t index) {
        rtc.write(0, 1, index);
        return static_cast<std::uint8_t>(rtc.read(1, 1));
    }
    void set_cell(std::uint8_t index, std::uint8_t value) {
        rtc.write(0, 1, index);
        rtc.write(1, 1, value);
    }
    void rtc_time_set(std::int64_t before_s, std::int64_t delta_s) override {
        befores.push_back(before_s);
        deltas.push_back(delta_s);
    }
    void rtc_alarm() override { ++alarms; }

    std::vector<std::int64_t> befores;
    std::vector<std::int64_t> deltas;
    int alarms = 0;
    testing::FakeTimers time;
    testing::FakeLevelLine line;
    RtcMc146818 rtc{line, time, time, {.below_4g = 2 * gib, .above_4g = 3 * gib}};
};

TEST(RtcMc146818, ShowsTheHostsTimeInBcdAnd24Hours) {
    Bench bench;
    EXPECT_EQ(bench.cell(0x00), 0x58);
    EXPECT_EQ(bench.cell(0x02), 0x45);
    EXPECT_EQ(bench.cell(0x04), 0x13);
    EXPECT_EQ(bench.cell(0x06), 0x01);
    EXPECT_EQ(bench.cell(0x07), 0x22);
    EXPECT_EQ(bench.cell(0x08), 0x11);
    EXPECT_EQ(bench.cell(0x09), 0x26);
    EXPECT_EQ(bench.cell(0x32), 0x20);
    bench.time.advance(2 * second);
    EXPECT_EQ(bench.cell(0x00), 0x00);
    EXPECT_EQ(bench.cell(0x02), 0x46);
}

TEST(RtcMc146818, ShowsBinaryAnd12HoursWithPm) {
    Bench bench;
    bench.set_cell(0x0B, 0x04);
    EXPECT_EQ(bench.cell(0x00), 58);
    EXPECT_EQ(bench.cell(0x04), 0x80 | 1);
    EXPECT_EQ(bench.cell(0x09), 26);
    EXPECT_EQ(bench.cell(0x32), 20);
    bench.time.advance(11 * 3600 * second);
    EXPECT_EQ(bench.cell(0x04), 12) << "midnight is 12 AM";
    bench.time.advance(12 * 3600 * second);
    EXPECT_EQ(bench.cell(0x04), 0x80 | 12) << "noon is 12 PM";
    bench.set_cell(0x04, 0x80 | 11);
    bench.set_cell(0x0B, 0x06);
    EXPECT_EQ(bench.cell(0x04), 23);
}

TEST(RtcMc146818, LeapYearsFollowTheGregorianCalendar) {
    struct Day {
        std::uint8_t century, year, month, day, next_month, next_day;
    };
    for (const Day& day :
         {Day{20, 28, 2, 28, 2, 29}, Day{20, 27, 2, 28, 3, 1}, Day{20, 96, 2, 28, 2, 29},
          Day{21, 0, 2, 28, 3, 1}, Day{20, 0, 2, 28, 2, 29}, Day{20, 99, 12, 31, 1, 1}}) {
        Bench bench;
        bench.set_cell(0x0B, 0x86);
        bench.set_cell(0x32, day.century);
        bench.set_cell(0x09, day.year);
        bench.set_cell(0x08, day.month);
        bench.set_cell(0x07, day.day);
        bench.set_cell(0x04, 23);
        bench.set_cell(0x02, 59);
        bench.set_cell(0x00, 59);
        bench.set_cell(0x0B, 0x06);
        bench.time.advance(second);
        EXPECT_EQ(bench.cell(0x08), day.next_month) << +day.year;
        EXPECT_EQ(bench.cell(0x07), day.next_day) << +day.year;
        EXPECT_EQ(bench.cell(0x00), 0);
    }
}

TEST(RtcMc146818, TimeStandsStillWhileSetAndIsHeldFromItsRelease) {
    Bench bench;
    bench.set_cell(0x0B, 0x82);
    bench.time.advance(10 * second);
    EXPECT_EQ(bench.cell(0x00), 0x58);
    bench.set_cell(0x04, 0x20);
    bench.set_cell(0x00, 0x30);
    bench.set_cell(0x0B, 0x02);
    EXPECT_EQ(bench.cell(0x04), 0x20);
    EXPECT_EQ(bench.cell(0x00), 0x30);
    bench.time.advance(5 * second);
    EXPECT_EQ(bench.cell(0x00), 0x35);
    // 13:46:08 at the release became 20:45:30.
    EXPECT_EQ(bench.deltas, std::vector<std::int64_t>{7 * 3600 - 38});
    EXPECT_EQ(bench.befores.at(0) % 86400, 13 * 3600 + 46 * 60 + 8);
}

TEST(RtcMc146818, WritingOneCellOfTheRunningTimeMovesOnlyThatCell) {
    Bench bench;
    bench.set_cell(0x02, 0x10);
    EXPECT_EQ(bench.cell(0x02), 0x10);
    EXPECT_EQ(bench.cell(0x00), 0x58);
    EXPECT_EQ(bench.cell(0x04), 0x13);
    EXPECT_EQ(bench.deltas, std::vector<std::int64_t>{-35 * 60});
}

TEST(RtcMc146818, FirstUpdateComesHalfASecondAfterTheDividerIsReleased) {
    Bench bench;
    bench.time.advance(300 * ms);
    bench.set_cell(0x0A, 0x76);
    bench.time.advance(3 * second);
    EXPECT_EQ(bench.cell(0x00), 0x58);
    bench.set_cell(0x0A, 0x26);
    bench.time.advance(499 * ms);
    EXPECT_EQ(bench.cell(0x00), 0x58);
    bench.time.advance(2 * ms);
    EXPECT_EQ(bench.cell(0x00), 0x59);
}

TEST(RtcMc146818, UpdateInProgressIsSetFor244MicrosecondsBeforeTheUpdate) {
    Bench bench;
    bench.time.advance(second - 245 * us);
    EXPECT_EQ(bench.cell(0x0A), 0x26);
    bench.time.advance(us);
    EXPECT_EQ(bench.cell(0x0A), 0xA6);
    bench.time.advance(243 * us);
    EXPECT_EQ(bench.cell(0x0A), 0xA6);
    EXPECT_EQ(bench.cell(0x00), 0x58);
    bench.time.advance(us);
    EXPECT_EQ(bench.cell(0x0A), 0x26);
    EXPECT_EQ(bench.cell(0x00), 0x59);
    bench.set_cell(0x0A, 0xA6);
    EXPECT_EQ(bench.cell(0x0A), 0x26) << "UIP is read-only";
    bench.set_cell(0x0B, 0x82);
    bench.time.advance(second - 100 * us);
    EXPECT_EQ(bench.cell(0x0A), 0x26) << "SET holds updates off";
}

TEST(RtcMc146818, UpdateInterruptHoldsTheLineUntilRegisterCIsRead) {
    Bench bench;
    bench.set_cell(0x0B, 0x12);
    bench.time.advance(second - 1);
    EXPECT_FALSE(bench.line.level);
    bench.time.advance(1);
    EXPECT_TRUE(bench.line.level);
    bench.time.advance(3 * second);
    EXPECT_TRUE(bench.line.level);
    EXPECT_EQ(bench.time.next_deadline_ns(), 0U) << "a pending flag needs no timer";
    EXPECT_EQ(bench.cell(0x0C) & 0x90, 0x90);
    EXPECT_FALSE(bench.line.level);
    EXPECT_EQ(bench.cell(0x0C), 0x00);
    bench.time.advance(second);
    EXPECT_TRUE(bench.line.level);
}

TEST(RtcMc146818, SetClearsTheUpdateInterruptEnable) {
    Bench bench;
    bench.set_cell(0x0B, 0x92);
    EXPECT_EQ(bench.cell(0x0B), 0x82);
}

TEST(RtcMc146818, FlagsCanBePolledWithoutInterruptsOrTimers) {
    Bench bench;
    bench.cell(0x0C);
    EXPECT_EQ(bench.time.next_deadline_ns(), 0U);
    bench.time.advance(second);
    EXPECT_EQ(bench.cell(0x0C), 0x50) << "UF and PF without IRQF";
    EXPECT_FALSE(bench.line.level);
}

TEST(RtcMc146818, AlarmMatchesExactTime) {
    Bench bench;
    bench.set_cell(0x01, 0x05);
    bench.set_cell(0x03, 0x00);
    bench.set_cell(0x05, 0x14);
    bench.set_cell(0x0B, 0x22);
    ASSERT_TRUE(bench.rtc.next_alarm_ns().has_value());
    EXPECT_EQ(*bench.rtc.next_alarm_ns(), bench.time.now_ns() + (14 * 60 + 7) * second);
    bench.time.advance((14 * 60 + 7) * second - 1);
    EXPECT_FALSE(bench.line.level);
    bench.time.advance(1);
    EXPECT_TRUE(bench.line.level);
    EXPECT_EQ(bench.alarms, 1);
    EXPECT_EQ(bench.cell(0x0C) & 0xA0, 0xA0);
    bench.time.advance(86'400 * second - 1);
    EXPECT_FALSE(bench.line.level);
    bench.time.advance(1);
    EXPECT_TRUE(bench.line.level);
}

TEST(RtcMc146818, AlarmDoNotCareCodesMatchEverything) {
    struct Case {
        std::uint8_t hour, minute, second;
        std::uint64_t first_s, then_s;
    };
    for (const Case& c : {Case{0xFF, 0xFF, 0xFF, 1, 1}, Case{0xC0, 0xFF, 0x10, 12, 60},
                          Case{0xFF, 0x50, 0x00, 242, 3600}, Case{0x13, 0x45, 0xC5, 1, 86'341}}) {
        Bench bench;
        bench.set_cell(0x01, c.second);
        bench.set_cell(0x03, c.minute);
        bench.set_cell(0x05, c.hour);
        bench.set_cell(0x0B, 0x22);
        bench.time.advance(c.first_s * second - 1);
        EXPECT_FALSE(bench.line.level);
        bench.time.advance(1);
        EXPECT_TRUE(bench.line.level);
        bench.cell(0x0C);
        bench.time.advance(c.then_s * second - 1);
        EXPECT_FALSE(bench.line.level);
        bench.time.advance(1);
        EXPECT_TRUE(bench.line.level);
    }
}

TEST(RtcMc146818, AlarmIn12HourModeNeedsThePmBit) {
    Bench bench;
    bench.set_cell(0x0B, 0x00);
    bench.set_cell(0x01, 0x00);
    bench.set_cell(0x03, 0x00);
    bench.set_cell(0x05, 0x82);
    bench.set_cell(0x0B, 0x20);
    bench.time.advance((14 * 60 + 2) * second);
    EXPECT_TRUE(bench.line.level);
}

TEST(RtcMc146818, AlarmThatCanNeverMatchIsSilentAndCheap) {
    Bench bench;
    bench.set_cell(0x01, 0x75);
    bench.set_cell(0x0B, 0x22);
    EXPECT_EQ(bench.time.next_deadline_ns(), 0U);
    EXPECT_FALSE(bench.rtc.next_alarm_ns().has_value());
    bench.time.advance(2 * 86'400 * second);
    EXPECT_FALSE(bench.line.level);
}

TEST(RtcMc146818, AlarmFollowsAHostClockThatIsSetWithinAMinute) {
    Bench bench;
    bench.set_cell(0x01, 0x00);
    bench.set_cell(0x03, 0x00);
    bench.set_cell(0x05, 0x15);
    bench.set_cell(0x0B, 0x22);
    bench.time.set_wall_ns((start_s + 2 * 3600) * static_cast<std::int64_t>(second));
    bench.time.advance(60 * second);
    EXPECT_TRUE(bench.line.level);
}

TEST(RtcMc146818, PeriodicRatesAreThoseOfTheDataSheet) {
    // Rate code to interrupts a second, 32.768 kHz time base.
    constexpr std::array<unsigned, 16> rates = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
                                                256, 128, 64,  32,   16,   8,    4,    2};
    for (unsigned code = 0; code < 16; ++code) {
        Bench bench;
        bench.set_cell(0x0A, static_cast<std::uint8_t>(0x20 | code));
        bench.set_cell(0x0B, 0x42);
        unsigned interrupts = 0;
        for (std::uint64_t deadline = bench.time.next_deadline_ns();
             deadline != 0 && deadline - second <= second;
             deadline = bench.time.next_deadline_ns()) {
            bench.time.advance(deadline - bench.time.now_ns());
            ASSERT_TRUE(bench.line.level);
            ++interrupts;
            bench.cell(0x0C);
        }
        EXPECT_EQ(interrupts, rates[code]) << code;
    }
}

TEST(RtcMc146818, PeriodicInterruptsDoNotDriftWhenAnsweredLate) {
    Bench bench;
    bench.set_cell(0x0B, 0x42);
    const std::uint64_t start = bench.time.now_ns();
    for (int i = 0; i < 1000; ++i) {
        bench.time.advance(bench.time.next_deadline_ns() - bench.time.now_ns() + 100 * us);
        EXPECT_EQ(bench.cell(0x0C) & 0xC0, 0xC0);
    }
    EXPECT_EQ(bench.time.now_ns() - start, event::ticks_to_ns(1000, 1024) + 100 * us);
    EXPECT_EQ(bench.rtc.lost_periodic_interrupts(), 0U);
}

TEST(RtcMc146818, PeriodicInterruptsOfASlowGuestAreCountedNotRepeated) {
    Bench bench;
    bench.set_cell(0x0B, 0x42);
    bench.time.advance(second);
    EXPECT_EQ(bench.line.rises, 1);
    EXPECT_EQ(bench.cell(0x0C) & 0xC0, 0xC0);
    EXPECT_EQ(bench.rtc.lost_periodic_interrupts(), 1023U);
    EXPECT_EQ(bench.cell(0x0C), 0);
}

TEST(RtcMc146818, ResetPinTurnsInterruptsOffAndKeepsTimeAndRam) {
    Bench bench;
    bench.set_cell(0x04, 0x05);
    bench.set_cell(0x50, 0xAB);
    bench.set_cell(0x0B, 0x7A);
    bench.time.advance(second);
    EXPECT_TRUE(bench.line.level);
    bench.rtc.reset_pin();
    EXPECT_FALSE(bench.line.level);
    EXPECT_EQ(bench.cell(0x0B), 0x02);
    EXPECT_EQ(bench.cell(0x0C), 0x00);
    EXPECT_EQ(bench.cell(0x04), 0x05);
    EXPECT_EQ(bench.cell(0x50), 0xAB);
}

TEST(RtcMc146818, CellsTellTheMemorySizes) {
    Bench bench;
    EXPECT_EQ(bench.cell(0x15) | bench.cell(0x16) << 8, 640);
    EXPECT_EQ(bench.cell(0x17) | bench.cell(0x18) << 8, 0xFFFF);
    EXPECT_EQ(bench.cell(0x34) | bench.cell(0x35) << 8, (2048 - 16) * 16);
    EXPECT_EQ(bench.cell(0x5B) | bench.cell(0x5C) << 8 | bench.cell(0x5D) << 16, 3 * 1024 * 16);
    bench.rtc.set_shutdown_status(0xFE);
    EXPECT_EQ(bench.cell(0x0F), 0xFE);
}

TEST(RtcMc146818, IndexKeepsTheNmiBitAndWideAccessesReachBothPorts) {
    Bench bench;
    bench.rtc.write(0, 2, 0x5AC0);  // index 0xC0: cell 0x40
    EXPECT_EQ(bench.rtc.read(0, 2), 0x5AC0U);
    EXPECT_EQ(bench.cell(0x40), 0x5A);
    EXPECT_EQ(bench.cell(0x0D), 0x80);
    bench.set_cell(0x0D, 0x00);
    EXPECT_EQ(bench.cell(0x0D), 0x80);
}

TEST(RtcMc146818, CellsOutOfRangeGiveALegalTime) {
    Bench bench;
    bench.set_cell(0x0B, 0x86);
    for (const int cell : {0x00, 0x02, 0x04, 0x07, 0x08, 0x09, 0x32}) {
        bench.set_cell(static_cast<std::uint8_t>(cell), 0xFF);
    }
    bench.set_cell(0x0B, 0x06);
    EXPECT_LT(bench.cell(0x00), 60);
    EXPECT_LT(bench.cell(0x04), 24);
    EXPECT_LE(bench.cell(0x08), 12);
    EXPECT_EQ(bench.cell(0x32), 20);
}

testing::ContractSubject make_subject() {
    struct Owner {
        testing::FakeTimers time;
        testing::FakeLevelLine line;
        RtcMc146818 rtc{line, time, time, {.below_4g = gib, .above_4g = 0}};
    };
    auto owner = std::make_shared<Owner>();
    return {.owner = owner,
            .device = &owner->rtc,
            .ranges = {{&owner->rtc, RtcMc146818::port_count}},
            .disturb = [time = &owner->time](std::uint64_t random) {
                time->advance(random % (2 * second));
            }};
}

CUPULE_DEVICE_CONTRACT(RtcMc146818, make_subject)

}  // namespace
}  // namespace cupule::device
