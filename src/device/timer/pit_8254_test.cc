#include "device/timer/pit_8254.h"

#include <gtest/gtest.h>

#include "testing/device_contract.h"
#include "testing/fake_lines.h"
#include "testing/fake_timers.h"

namespace cupule::device {
namespace {

struct Bench {
    void command(std::uint8_t value) { pit.write(3, 1, value); }
    void count(unsigned counter, std::uint16_t value) {
        pit.write(counter, 1, value & 0xFF);
        pit.write(counter, 1, value >> 8);
    }
    std::uint16_t read_word(unsigned counter) {
        const std::uint64_t low = pit.read(counter, 1);
        return static_cast<std::uint16_t>(low | pit.read(counter, 1) << 8);
    }
    std::uint16_t latched(unsigned counter) {
        command(static_cast<std::uint8_t>(counter << 6));
        return read_word(counter);
    }
    /// Advances to the first nanosecond in which `ticks` have passed since `start`.
    void advance_to_tick(std::uint64_t ticks) {
        time.advance(start + event::ticks_to_ns(ticks, PitCounter::frequency_hz) - time.now_ns());
    }
    bool output_2() { return (pit.system_control().read(0, 1) & 0x20) != 0; }
    void gate_2(bool high) { pit.system_control().write(0, 1, high ? 1 : 0); }

    testing::FakeTimers time;
    testing::FakeEdgeLine line;
    Pit8254 pit{line, time, time};
    std::uint64_t start = time.now_ns();
};

TEST(Pit8254, RateGeneratorPulsesEachPeriodWithoutDrift) {
    Bench bench;
    bench.command(0x34);
    bench.count(0, 11932);  // 100 Hz
    for (std::uint64_t i = 1; i <= 1000; ++i) {
        bench.advance_to_tick(i * 11932 - 1);
        ASSERT_EQ(bench.line.pulses, static_cast<int>(i - 1));
        bench.advance_to_tick(i * 11932);
        ASSERT_EQ(bench.line.pulses, static_cast<int>(i));
    }
}

TEST(Pit8254, CountZeroIs65536) {
    Bench bench;
    bench.command(0x36);
    bench.count(0, 0);
    bench.advance_to_tick(65535);
    EXPECT_EQ(bench.line.pulses, 0);
    bench.advance_to_tick(65536);
    EXPECT_EQ(bench.line.pulses, 1);
}

TEST(Pit8254, TerminalCountPulsesOnceForEachCount) {
    Bench bench;
    bench.command(0x30);
    bench.count(0, 1000);
    bench.advance_to_tick(999);
    EXPECT_EQ(bench.line.pulses, 0);
    bench.advance_to_tick(1000);
    EXPECT_EQ(bench.line.pulses, 1);
    bench.advance_to_tick(1'000'000);
    EXPECT_EQ(bench.line.pulses, 1);
    EXPECT_EQ(bench.time.next_deadline_ns(), 0U);
    bench.count(0, 10);
    bench.time.advance(event::ns_per_s);
    EXPECT_EQ(bench.line.pulses, 2);
}

TEST(Pit8254, SoftwareStrobeRisesOneClockAfterTheCountEnds) {
    Bench bench;
    bench.command(0x38);
    bench.count(0, 500);
    bench.advance_to_tick(500);
    EXPECT_EQ(bench.line.pulses, 0);
    bench.advance_to_tick(501);
    EXPECT_EQ(bench.line.pulses, 1);
    bench.time.advance(event::ns_per_s);
    EXPECT_EQ(bench.line.pulses, 1);
}

TEST(Pit8254, NewControlWordStopsTheCounterUntilACountComes) {
    Bench bench;
    bench.command(0x34);
    bench.count(0, 1000);
    bench.command(0x30);
    bench.time.advance(event::ns_per_s);
    EXPECT_EQ(bench.line.pulses, 0);
    EXPECT_EQ(bench.time.next_deadline_ns(), 0U);
}

TEST(Pit8254, NewCountOfAPeriodicModeWaitsForTheEndOfTheCycle) {
    Bench bench;
    bench.command(0x34);
    bench.count(0, 1000);
    bench.advance_to_tick(300);
    bench.count(0, 200);
    EXPECT_EQ(bench.latched(0), 700);
    bench.advance_to_tick(999);
    EXPECT_EQ(bench.line.pulses, 0);
    bench.advance_to_tick(1000);
    EXPECT_EQ(bench.line.pulses, 1);
    bench.advance_to_tick(1199);
    EXPECT_EQ(bench.line.pulses, 1);
    bench.advance_to_tick(1201);
    EXPECT_EQ(bench.line.pulses, 2);
}

TEST(Pit8254, LateTimerGivesOnePulseAndStaysInPhase) {
    // A clock that jumps ahead of the timer, as on a host that did not run us.
    struct LateClock : event::Clock {
        explicit LateClock(const event::Clock& base) : base_(base) {}
        std::uint64_t now_ns() const override { return base_.now_ns() + late_ns; }
        std::int64_t wall_ns() const override { return base_.wall_ns(); }
        const event::Clock& base_;
        std::uint64_t late_ns = 0;
    };
    testing::FakeTimers time;
    testing::FakeEdgeLine line;
    LateClock clock(time);
    Pit8254 pit(line, clock, time);
    const std::uint64_t start = time.now_ns();
    pit.write(3, 1, 0x34);
    pit.write(0, 1, 1000 & 0xFF);
    pit.write(0, 1, 1000 >> 8);
    clock.late_ns = event::ticks_to_ns(10'500, PitCounter::frequency_hz);
    time.advance(event::ticks_to_ns(1000, PitCounter::frequency_hz));
    EXPECT_EQ(line.pulses, 1);
    EXPECT_EQ(pit.lost_interrupts(), 10U);
    EXPECT_EQ(time.next_deadline_ns(),
              start + event::ticks_to_ns(12'000, PitCounter::frequency_hz));
}

TEST(Pit8254, AbsurdlyShortPeriodsDoNotKeepTheHostBusy) {
    Bench bench;
    bench.command(0x34);
    bench.count(0, 2);
    bench.time.advance(event::ns_per_ms);
    EXPECT_LE(bench.line.pulses, 51);
    EXPECT_GE(bench.line.pulses, 49);
}

TEST(Pit8254, LatchFreezesTheCountUntilBothBytesAreRead) {
    Bench bench;
    bench.command(0x34);
    bench.count(0, 0x8000);
    bench.advance_to_tick(0x100);
    bench.command(0x00);
    bench.advance_to_tick(0x223);
    bench.command(0x00);
    EXPECT_EQ(bench.read_word(0), 0x7F00) << "the first latch stays";
    EXPECT_EQ(bench.read_word(0), 0x8000 - 0x223) << "then live again";
}

TEST(Pit8254, ByteAccessModesTouchOneByte) {
    Bench bench;
    bench.command(0x14);  // low byte, mode 2
    bench.pit.write(0, 1, 100);
    bench.advance_to_tick(30);
    EXPECT_EQ(bench.pit.read(0, 1), 70U);
    EXPECT_EQ(bench.pit.read(0, 1), 70U);
    bench.command(0x24);  // high byte
    bench.pit.write(0, 1, 0x12);
    EXPECT_EQ(bench.pit.read(0, 1), 0x12U);
}

TEST(Pit8254, BcdCountsInDecimal) {
    Bench bench;
    bench.command(0x31);  // mode 0, BCD
    bench.count(0, 0x1000);
    bench.advance_to_tick(1);
    EXPECT_EQ(bench.latched(0), 0x0999);
    bench.advance_to_tick(1000);
    EXPECT_EQ(bench.line.pulses, 1);
    bench.advance_to_tick(1001);
    EXPECT_EQ(bench.latched(0), 0x9999);
}

TEST(Pit8254, SquareWaveHalvesAndCountsByTwo) {
    Bench bench;
    bench.gate_2(true);
    bench.command(0xB6);
    bench.count(2, 10);
    for (const auto& [tick, level, count] : {std::tuple{0, true, 10},
                                             {1, true, 8},
                                             {4, true, 2},
                                             {5, false, 10},
                                             {9, false, 2},
                                             {10, true, 10}}) {
        bench.advance_to_tick(static_cast<std::uint64_t>(tick));
        EXPECT_EQ(bench.output_2(), level) << tick;
        EXPECT_EQ(bench.latched(2), count) << tick;
    }
}

TEST(Pit8254, OddSquareWaveIsHighOneClockLonger) {
    Bench bench;
    bench.gate_2(true);
    bench.command(0xB6);
    bench.count(2, 5);
    std::string levels;
    for (std::uint64_t tick = 0; tick < 10; ++tick) {
        bench.advance_to_tick(tick);
        levels += bench.output_2() ? '1' : '0';
    }
    EXPECT_EQ(levels, "1110011100");
}

TEST(Pit8254, RateGeneratorIsLowForTheLastClock) {
    Bench bench;
    bench.gate_2(true);
    bench.command(0xB4);
    bench.count(2, 4);
    std::string levels;
    for (std::uint64_t tick = 0; tick < 8; ++tick) {
        bench.advance_to_tick(tick);
        levels += bench.output_2() ? '1' : '0';
    }
    EXPECT_EQ(levels, "11101110");
}

TEST(Pit8254, GateHoldsATerminalCount) {
    // How Linux measures the TSC against the PIT.
    Bench bench;
    bench.gate_2(true);
    bench.command(0xB0);
    bench.count(2, 1000);
    EXPECT_FALSE(bench.output_2());
    bench.advance_to_tick(400);
    bench.gate_2(false);
    bench.time.advance(event::ns_per_s);
    EXPECT_EQ(bench.latched(2), 600);
    EXPECT_FALSE(bench.output_2());
    bench.gate_2(true);
    bench.time.advance(event::ticks_to_ns(599, PitCounter::frequency_hz));
    EXPECT_FALSE(bench.output_2());
    bench.time.advance(event::ticks_to_ns(2, PitCounter::frequency_hz));
    EXPECT_TRUE(bench.output_2());
}

TEST(Pit8254, GateRestartsPeriodicModesAndForcesTheOutputHigh) {
    Bench bench;
    bench.gate_2(true);
    bench.command(0xB6);
    bench.count(2, 1000);
    bench.advance_to_tick(600);
    EXPECT_FALSE(bench.output_2());
    bench.gate_2(false);
    EXPECT_TRUE(bench.output_2());
    bench.gate_2(true);
    EXPECT_EQ(bench.latched(2), 1000);
    EXPECT_TRUE(bench.output_2());
}

TEST(Pit8254, OneShotStartsWithTheGateAndCanBeTriggeredAgain) {
    Bench bench;
    bench.command(0xB2);
    bench.count(2, 100);
    bench.time.advance(event::ns_per_ms);
    EXPECT_TRUE(bench.output_2());
    bench.gate_2(true);
    EXPECT_FALSE(bench.output_2());
    bench.time.advance(event::ticks_to_ns(60, PitCounter::frequency_hz));
    bench.gate_2(false);
    EXPECT_FALSE(bench.output_2()) << "the gate's fall does nothing";
    bench.gate_2(true);
    bench.time.advance(event::ticks_to_ns(99, PitCounter::frequency_hz));
    EXPECT_FALSE(bench.output_2());
    bench.time.advance(event::ticks_to_ns(1, PitCounter::frequency_hz));
    EXPECT_TRUE(bench.output_2());
}

TEST(Pit8254, HardwareStrobeIsLowForOneClockAfterItsTrigger) {
    Bench bench;
    bench.command(0xBA);
    bench.count(2, 3);
    bench.gate_2(true);
    std::string levels;
    for (std::uint64_t tick = 0; tick < 6; ++tick) {
        bench.advance_to_tick(tick);
        levels += bench.output_2() ? '1' : '0';
    }
    EXPECT_EQ(levels, "111011");
}

TEST(Pit8254, ReadBackLatchesStatusThenCountOfSeveralCounters) {
    Bench bench;
    bench.command(0x34);
    bench.count(0, 1000);
    bench.command(0xB0);
    bench.advance_to_tick(10);
    bench.command(0xCA);  // count and status of counters 0 and 2
    EXPECT_EQ(bench.pit.read(0, 1), 0xB4U) << "output high, counting, mode 2";
    EXPECT_EQ(bench.read_word(0), 990);
    EXPECT_EQ(bench.pit.read(2, 1), 0x70U) << "output low, null count, mode 0";
    bench.command(0xE2);  // status only, counter 0
    EXPECT_EQ(bench.pit.read(0, 1), 0xB4U);
}

TEST(Pit8254, RefreshBitTogglesWithTheClock) {
    Bench bench;
    bool last = (bench.pit.system_control().read(0, 1) & 0x10) != 0;
    int toggles = 0;
    for (int i = 0; i < 1000; ++i) {
        bench.time.advance(event::ns_per_us);
        const bool now = (bench.pit.system_control().read(0, 1) & 0x10) != 0;
        toggles += now != last ? 1 : 0;
        last = now;
    }
    EXPECT_NEAR(toggles, 66, 1) << "every 15.085 us";
}

TEST(Pit8254, SystemControlKeepsItsFourWritableBits) {
    Bench bench;
    bench.pit.system_control().write(0, 1, 0xFF);
    EXPECT_EQ(bench.pit.system_control().read(0, 1) & 0xCF, 0x0FU);
    EXPECT_EQ(bench.pit.read(3, 1), 0xFFU);
}

testing::ContractSubject make_subject() {
    struct Owner {
        testing::FakeTimers time;
        testing::FakeEdgeLine line;
        Pit8254 pit{line, time, time};
    };
    auto owner = std::make_shared<Owner>();
    return {.owner = owner,
            .device = &owner->pit,
            .ranges = {{&owner->pit, Pit8254::port_count},
                       {&owner->pit.system_control(), Pit8254::system_control_port_count}},
            .disturb = [time = &owner->time](std::uint64_t random) {
                time->advance(random % (20 * event::ns_per_ms));
            }};
}

CUPULE_DEVICE_CONTRACT(Pit8254, make_subject)

}  // namespace
}  // namespace cupule::device
