#include "device/timer/hpet.h"

#include <gtest/gtest.h>

#include "device/timer/line_gate.h"
#include "testing/device_contract.h"
#include "testing/fake_lines.h"
#include "testing/fake_timers.h"

namespace cupule::device {
namespace {

constexpr std::uint64_t level_type = 1 << 1;
constexpr std::uint64_t interrupt_enable = 1 << 2;
constexpr std::uint64_t periodic = 1 << 3;
constexpr std::uint64_t value_set = 1 << 6;
constexpr std::uint64_t use_32_bits = 1 << 8;
constexpr std::uint64_t fsb_enable = 1 << 14;

constexpr std::uint64_t route(std::uint64_t gsi) {
    return gsi << 9;
}

struct FakeLegacy : LegacyReplacement {
    void set_legacy_replacement(bool value) override { on = value; }
    bool on = false;
};

struct Output {
    testing::FakeEdgeLine edge;
    testing::FakeLevelLine level;
};

struct Bench {
    HpetOutputs outputs() {
        HpetOutputs result;
        for (unsigned gsi = 20; gsi < 24; ++gsi) {
            result.gsi[gsi] = {&gsi_output[gsi - 20].edge, &gsi_output[gsi - 20].level};
        }
        result.legacy[0] = {&legacy_output[0].edge, &legacy_output[0].level};
        result.legacy[1] = {&legacy_output[1].edge, &legacy_output[1].level};
        return result;
    }
    void enable(std::uint64_t flags = 1) { hpet.write(0x10, 8, flags); }
    std::uint64_t counter() { return hpet.read(0xF0, 8); }
    void config(unsigned timer, std::uint64_t value) { hpet.write(0x100 + timer * 0x20, 4, value); }
    std::uint64_t config(unsigned timer) { return hpet.read(0x100 + timer * 0x20, 4); }
    void compare(unsigned timer, std::uint64_t value) {
        hpet.write(0x108 + timer * 0x20, 8, value);
    }
    std::uint64_t compare(unsigned timer) { return hpet.read(0x108 + timer * 0x20, 8); }
    void ticks(std::uint64_t count) { time.advance(count * Hpet::tick_ns); }

    testing::FakeTimers time;
    std::array<Output, 4> gsi_output;
    std::array<Output, 2> legacy_output;
    testing::FakeMessageSink messages;
    FakeLegacy legacy;
    Hpet hpet{outputs(), messages, legacy, time, time};
};

TEST(Hpet, CapabilitiesNameIntel8TimersAnd100Nanoseconds) {
    Bench bench;
    EXPECT_EQ(bench.hpet.read(0, 8), 0x05F5'E100'8086'A701U);
    EXPECT_EQ(bench.hpet.read(0, 4), Hpet::block_id);
    EXPECT_EQ(bench.hpet.read(4, 4), 100'000'000U);
    bench.hpet.write(0, 8, 0);
    EXPECT_EQ(bench.hpet.read(0, 4), Hpet::block_id);
}

TEST(Hpet, CounterRunsOnlyWhileEnabledAndIsWrittenOnlyWhileHalted) {
    Bench bench;
    bench.ticks(100);
    EXPECT_EQ(bench.counter(), 0U);
    bench.hpet.write(0xF0, 8, 0xFFFF'FFFF'0000'0000);
    bench.enable();
    bench.ticks(1000);
    EXPECT_EQ(bench.counter(), 0xFFFF'FFFF'0000'03E8U);
    EXPECT_EQ(bench.hpet.read(0xF4, 4), 0xFFFF'FFFFU);
    EXPECT_EQ(bench.hpet.read(0xEC, 8), 0x3E8'0000'0000U) << "a misaligned read spans registers";
    bench.hpet.write(0xF0, 4, 0);
    EXPECT_EQ(bench.hpet.read(0xF0, 4), 1000U);
    bench.enable(0);
    bench.ticks(1000);
    EXPECT_EQ(bench.hpet.read(0xF0, 4), 1000U);
    bench.enable();
    bench.ticks(1);
    EXPECT_EQ(bench.hpet.read(0xF0, 4), 1001U);
}

TEST(Hpet, OneShotPulsesItsGsiOnceAtTheExactTick) {
    Bench bench;
    bench.enable();
    bench.config(2, interrupt_enable | route(21));
    bench.compare(2, 5000);
    bench.time.advance(5000 * Hpet::tick_ns - 1);
    EXPECT_EQ(bench.gsi_output[1].edge.pulses, 0);
    bench.time.advance(1);
    EXPECT_EQ(bench.gsi_output[1].edge.pulses, 1);
    bench.ticks(1'000'000);
    EXPECT_EQ(bench.gsi_output[1].edge.pulses, 1);
    EXPECT_EQ(bench.compare(2), 5000U);
    EXPECT_EQ(bench.hpet.read(0x20, 8), 0U) << "no status for edges";
}

TEST(Hpet, OneShotOf32BitsMatchesAgainAfterEachWrap) {
    Bench bench;
    bench.hpet.write(0xF0, 8, 0x5'FFFF'FF00);
    bench.config(2, interrupt_enable | use_32_bits | route(20));
    bench.compare(2, 0x10);
    bench.enable();
    bench.ticks(0x110);
    EXPECT_EQ(bench.gsi_output[0].edge.pulses, 1);
    bench.ticks((std::uint64_t{1} << 32) - 1);
    EXPECT_EQ(bench.gsi_output[0].edge.pulses, 1);
    bench.ticks(1);
    EXPECT_EQ(bench.gsi_output[0].edge.pulses, 2);
}

TEST(Hpet, ValueBehindTheCounterOf64BitsNeverMatches) {
    Bench bench;
    bench.enable();
    bench.ticks(1000);
    bench.config(2, interrupt_enable | route(20));
    bench.compare(2, 999);
    EXPECT_EQ(bench.time.next_deadline_ns(), 0U);
}

TEST(Hpet, CounterOf64BitsWraps) {
    Bench bench;
    bench.hpet.write(0xF0, 8, ~std::uint64_t{0} - 9);
    bench.config(2, interrupt_enable | route(20));
    bench.compare(2, 5);
    bench.enable();
    bench.ticks(14);
    EXPECT_EQ(bench.gsi_output[0].edge.pulses, 0);
    bench.ticks(1);
    EXPECT_EQ(bench.gsi_output[0].edge.pulses, 1);
    EXPECT_EQ(bench.counter(), 5U);
}

TEST(Hpet, PeriodicIsSetUpWithValueSetTheWayLinuxDoes) {
    Bench bench;
    bench.enable();
    bench.ticks(12'345);
    bench.config(0, interrupt_enable | periodic | value_set | use_32_bits | route(20));
    bench.compare(0, 12'345 + 40'000);
    EXPECT_EQ(bench.config(0) & value_set, 0U);
    bench.compare(0, 40'000);
    EXPECT_EQ(bench.compare(0), 52'345U);
    for (int i = 1; i <= 100; ++i) {
        bench.ticks(39'999);
        EXPECT_EQ(bench.gsi_output[0].edge.pulses, i - 1);
        bench.ticks(1);
        EXPECT_EQ(bench.gsi_output[0].edge.pulses, i);
    }
    EXPECT_EQ(bench.compare(0), 12'345U + 101 * 40'000);
}

TEST(Hpet, LatePeriodicTimerGivesOneInterruptAndStaysInPhase) {
    struct LateClock : event::Clock {
        explicit LateClock(const event::Clock& base) : base_(base) {}
        std::uint64_t now_ns() const override { return base_.now_ns() + late_ns; }
        std::int64_t wall_ns() const override { return base_.wall_ns(); }
        const event::Clock& base_;
        std::uint64_t late_ns = 0;
    };
    Bench bench;
    LateClock clock(bench.time);
    Hpet hpet(bench.outputs(), bench.messages, bench.legacy, clock, bench.time);
    const std::uint64_t start = bench.time.now_ns();
    hpet.write(0x10, 4, 1);
    hpet.write(0x100, 4, interrupt_enable | periodic | value_set | route(20));
    hpet.write(0x108, 8, 1000);
    clock.late_ns = 10'500 * Hpet::tick_ns;
    bench.ticks(1000);
    EXPECT_EQ(bench.gsi_output[0].edge.pulses, 1);
    EXPECT_EQ(hpet.lost_interrupts(), 10U);
    EXPECT_EQ(bench.time.next_deadline_ns(), start + 12'000 * Hpet::tick_ns);
}

TEST(Hpet, AbsurdlyShortPeriodsDoNotKeepTheHostBusy) {
    Bench bench;
    bench.enable();
    bench.config(0, interrupt_enable | periodic | value_set | route(20));
    bench.compare(0, 1);
    bench.time.advance(event::ns_per_ms);
    EXPECT_LE(bench.gsi_output[0].edge.pulses, 51);
    EXPECT_GE(bench.gsi_output[0].edge.pulses, 49);
}

TEST(Hpet, LevelInterruptHoldsItsLineUntilItsStatusIsCleared) {
    Bench bench;
    bench.enable();
    bench.config(3, interrupt_enable | level_type | route(22));
    bench.compare(3, 100);
    bench.ticks(100);
    EXPECT_TRUE(bench.gsi_output[2].level.level);
    EXPECT_EQ(bench.gsi_output[2].edge.pulses, 0);
    EXPECT_EQ(bench.hpet.read(0x20, 4), 8U);
    bench.hpet.write(0x20, 4, 0x7);
    EXPECT_TRUE(bench.gsi_output[2].level.level);
    bench.hpet.write(0x20, 4, 0x8);
    EXPECT_FALSE(bench.gsi_output[2].level.level);
    EXPECT_EQ(bench.hpet.read(0x20, 4), 0U);
}

TEST(Hpet, LevelTimersSharingAGsiHoldItTogether) {
    Bench bench;
    bench.enable();
    for (unsigned timer = 2; timer < 4; ++timer) {
        bench.config(timer, interrupt_enable | level_type | route(23));
        bench.compare(timer, 100);
    }
    bench.ticks(100);
    bench.hpet.write(0x20, 4, 0x4);
    EXPECT_TRUE(bench.gsi_output[3].level.level);
    bench.hpet.write(0x20, 4, 0x8);
    EXPECT_FALSE(bench.gsi_output[3].level.level);
}

TEST(Hpet, StatusIsSetWithoutInterruptEnableAndWithoutATimer) {
    Bench bench;
    bench.enable();
    bench.config(3, level_type | route(22));
    bench.compare(3, 100);
    EXPECT_EQ(bench.time.next_deadline_ns(), 0U);
    bench.ticks(100);
    EXPECT_EQ(bench.hpet.read(0x20, 4), 8U);
    EXPECT_FALSE(bench.gsi_output[2].level.level);
    bench.config(3, interrupt_enable | level_type | route(22));
    EXPECT_TRUE(bench.gsi_output[2].level.level);
}

TEST(Hpet, MessagesGoToTheAddressAndDataOfTheRoute) {
    Bench bench;
    bench.enable();
    bench.hpet.write(0x150, 4, 0x0000'4041);
    bench.hpet.write(0x154, 4, 0xFEE0'1000);
    bench.config(2, interrupt_enable | fsb_enable | route(20));
    bench.compare(2, 10);
    bench.ticks(10);
    ASSERT_EQ(bench.messages.messages.size(), 1U);
    EXPECT_EQ(bench.messages.messages[0],
              (irq::MsiMessage{.address = 0xFEE0'1000, .data = 0x4041}));
    EXPECT_EQ(bench.gsi_output[0].edge.pulses, 0);
}

TEST(Hpet, LegacyReplacementRoutesTheFirstTwoTimersToIrq0AndIrq8) {
    Bench bench;
    bench.enable(3);
    EXPECT_TRUE(bench.legacy.on);
    EXPECT_TRUE(bench.hpet.legacy_replacement());
    for (unsigned timer = 0; timer < 3; ++timer) {
        bench.config(timer, interrupt_enable | route(20));
        bench.compare(timer, 10);
    }
    bench.ticks(10);
    EXPECT_EQ(bench.legacy_output[0].edge.pulses, 1);
    EXPECT_EQ(bench.legacy_output[1].edge.pulses, 1);
    EXPECT_EQ(bench.gsi_output[0].edge.pulses, 1) << "timer 2 only";
    bench.enable(1);
    EXPECT_FALSE(bench.legacy.on);
}

TEST(Hpet, RoutesThatAreNotOfferedDoNotReadBack) {
    Bench bench;
    EXPECT_EQ(bench.hpet.read(0x144, 4), 0x00F0'0000U) << "GSIs 20 to 23";
    bench.config(2, route(21));
    bench.config(2, route(16));
    EXPECT_EQ(bench.config(2) >> 9 & 0x1F, 21U);
}

TEST(Hpet, ConfigShowsCapabilitiesAndKeepsReservedBitsZero) {
    Bench bench;
    bench.hpet.write(0x100, 8, ~std::uint64_t{0});
    // Capabilities PER_INT, SIZE, FSB; VAL_SET reads zero; route 31 is not offered.
    EXPECT_EQ(bench.config(0), 0xC13EU);
    EXPECT_EQ(bench.hpet.read(0x104, 4), 0x00F0'0000U);
}

TEST(Hpet, SwitchTo32BitsCutsTheComparator) {
    Bench bench;
    bench.compare(1, 0x1234'5678'9ABC'DEF0);
    bench.config(1, use_32_bits);
    EXPECT_EQ(bench.compare(1), 0x9ABC'DEF0U);
    bench.compare(1, 0x1111'1111'2222'2222);
    EXPECT_EQ(bench.compare(1), 0x2222'2222U);
}

TEST(Hpet, UnusedRegistersReadZero) {
    Bench bench;
    EXPECT_EQ(bench.hpet.read(0x08, 8), 0U);
    EXPECT_EQ(bench.hpet.read(0x118, 8), 0U);
    EXPECT_EQ(bench.hpet.read(0x200, 8), 0U) << "there is no ninth timer";
}

TEST(LegacyTimerGates, CutBothLinesAndGiveTheLevelBack) {
    testing::FakeEdgeLine irq0;
    testing::FakeLevelLine irq8;
    LegacyTimerGates gates(irq0, irq8);
    gates.pit().pulse();
    gates.rtc().set_level(true);
    EXPECT_EQ(irq0.pulses, 1);
    EXPECT_TRUE(irq8.level);
    gates.set_legacy_replacement(true);
    EXPECT_FALSE(irq8.level);
    gates.pit().pulse();
    gates.rtc().set_level(false);
    gates.rtc().set_level(true);
    EXPECT_EQ(irq0.pulses, 1);
    EXPECT_FALSE(irq8.level);
    gates.set_legacy_replacement(false);
    EXPECT_TRUE(irq8.level);
    gates.pit().pulse();
    EXPECT_EQ(irq0.pulses, 2);
}

testing::ContractSubject make_subject() {
    auto owner = std::make_shared<Bench>();
    return {.owner = owner,
            .device = &owner->hpet,
            .ranges = {{&owner->hpet, Hpet::mmio_size}},
            .disturb = [time = &owner->time](std::uint64_t random) {
                time->advance(random % event::ns_per_ms);
            }};
}

CUPULE_DEVICE_CONTRACT(Hpet, make_subject)

// Random writes over the whole block seldom enable it: the same promises for the registers that
// matter.
testing::ContractSubject make_enabled_subject() {
    struct FirstRegisters : io::IoHandler {
        explicit FirstRegisters(io::IoHandler& all) : all_(all) {}
        static std::uint64_t place(std::uint64_t offset) {
            constexpr std::array<std::uint64_t, 6> places = {0x10, 0x20, 0xF0, 0x100, 0x108, 0x140};
            return places[offset / 8] + offset % 8;
        }
        std::uint64_t read(std::uint64_t offset, unsigned size) override {
            return all_.read(place(offset), size);
        }
        void write(std::uint64_t offset, unsigned size, std::uint64_t value) override {
            all_.write(place(offset), size, value);
        }
        io::IoHandler& all_;
    };
    struct Owner : Bench {
        FirstRegisters registers{hpet};
    };
    auto owner = std::make_shared<Owner>();
    return {.owner = owner,
            .device = &owner->hpet,
            .ranges = {{&owner->registers, 48}},
            .disturb = [time = &owner->time](std::uint64_t random) {
                time->advance(random % event::ns_per_ms);
            }};
}

CUPULE_DEVICE_CONTRACT(HpetRegisters, make_enabled_subject)

}  // namespace
}  // namespace cupule::device
