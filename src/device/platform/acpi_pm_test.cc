#include "device/platform/acpi_pm.h"

#include <gtest/gtest.h>

#include <vector>

#include "testing/device_contract.h"
#include "testing/fake_lines.h"
#include "testing/fake_timers.h"

namespace cupule::device {
namespace {

struct FakeSleep : SleepRequests {
    void power_off() override { ++power_offs; }
    void suspend_to_ram() override { ++suspends; }
    int power_offs = 0;
    int suspends = 0;
};

struct Bench {
    explicit Bench(PmTimerWidth bits = PmTimerWidth::bits_32) : width(bits) {}
    void acpi_enable() { pm.smi_command().write(0, 1, AcpiPm::smi_acpi_enable); }

    PmTimerWidth width;
    testing::FakeTimers time;
    testing::FakeLevelLine sci;
    FakeSleep sleep;
    AcpiPm pm{sci, time, time, sleep, width};
};

TEST(AcpiPm, SmiCommandHandsTheHardwareOverAndBack) {
    Bench bench;
    EXPECT_EQ(bench.pm.read(4, 2), 0U);
    bench.acpi_enable();
    EXPECT_EQ(bench.pm.read(4, 2), 1U);
    EXPECT_EQ(bench.pm.smi_command().read(0, 1), 0xA0U);
    bench.pm.write(4, 2, 0);
    EXPECT_EQ(bench.pm.read(4, 2), 1U) << "SCI_EN is not the operating system's to clear";
    bench.pm.smi_command().write(0, 1, AcpiPm::smi_acpi_disable);
    EXPECT_EQ(bench.pm.read(4, 2), 0U);
}

TEST(AcpiPm, PowerButtonHoldsTheSciUntilItsStatusIsCleared) {
    Bench bench;
    bench.acpi_enable();
    bench.pm.write(2, 2, 1 << 8);
    bench.pm.press_power_button();
    EXPECT_TRUE(bench.sci.level);
    EXPECT_EQ(bench.pm.read(0, 2), 1U << 8);
    bench.pm.write(0, 2, 0);
    EXPECT_TRUE(bench.sci.level);
    bench.pm.write(0, 2, 1 << 8);
    EXPECT_FALSE(bench.sci.level);
    EXPECT_EQ(bench.pm.read(0, 2), 0U);
}

TEST(AcpiPm, EveryEventNeedsItsEnableAndSciEnable) {
    struct Case {
        void (AcpiPm::*happen)();
        unsigned bit;
    };
    for (const Case& c : {Case{&AcpiPm::press_power_button, 8},
                          Case{&AcpiPm::press_sleep_button, 9}, Case{&AcpiPm::rtc_alarm, 10}}) {
        Bench bench;
        (bench.pm.*c.happen)();
        EXPECT_FALSE(bench.sci.level);
        bench.pm.write(2, 2, 1U << c.bit);
        EXPECT_FALSE(bench.sci.level);
        bench.acpi_enable();
        EXPECT_TRUE(bench.sci.level);
        bench.pm.write(2, 2, 0xFFFFU & ~(1U << c.bit));
        EXPECT_FALSE(bench.sci.level);
    }
}

TEST(AcpiPm, AGeneralEventHoldsTheSciUntilItsStatusIsCleared) {
    Bench bench;
    bench.acpi_enable();
    bench.pm.raise_general_event(1);
    EXPECT_EQ(bench.pm.read(12, 1), 0x02U);
    EXPECT_FALSE(bench.sci.level) << "not enabled";
    bench.pm.write(13, 1, 0xFF);
    EXPECT_TRUE(bench.sci.level);
    EXPECT_EQ(bench.pm.read(12, 2), 0xFF02U);
    bench.pm.write(12, 1, 0xFD);
    EXPECT_TRUE(bench.sci.level) << "zeros clear nothing";
    bench.pm.write(12, 1, 0x02);
    EXPECT_FALSE(bench.sci.level);
    EXPECT_EQ(bench.pm.read(12, 2), 0xFF00U);
    EXPECT_FALSE(bench.pm.pending_wake().has_value());
    bench.pm.raise_general_event(0);
    bench.pm.reset();
    EXPECT_FALSE(bench.sci.level);
    EXPECT_EQ(bench.pm.read(12, 2), 0U);
}

TEST(AcpiPm, AGeneralEventNeedsSciEnable) {
    Bench bench;
    bench.pm.write(13, 1, 1);
    bench.pm.raise_general_event(0);
    EXPECT_FALSE(bench.sci.level);
    bench.acpi_enable();
    EXPECT_TRUE(bench.sci.level);
}

TEST(AcpiPm, SleepEnableWithTypeFiveAsksForPowerOff) {
    Bench bench;
    bench.acpi_enable();
    bench.pm.write(4, 2, 5 << 10);
    EXPECT_EQ(bench.sleep.power_offs, 0);
    bench.pm.write(4, 2, 5 << 10 | 1 << 13);
    EXPECT_EQ(bench.sleep.power_offs, 1);
    EXPECT_EQ(bench.pm.read(4, 2), 5U << 10 | 1) << "SLP_EN reads zero";
}

TEST(AcpiPm, SleepRequestsComeWithByteAndDwordAccessesToo) {
    Bench bench;
    bench.pm.write(5, 1, 5 << 2 | 1 << 5);
    EXPECT_EQ(bench.sleep.power_offs, 1);
    bench.pm.write(4, 4, 3 << 10 | 1 << 13);
    EXPECT_EQ(bench.sleep.suspends, 1);
    EXPECT_EQ(bench.sleep.power_offs, 1);
}

TEST(AcpiPm, OtherSleepTypesAreIgnored) {
    Bench bench;
    for (const unsigned type : {0U, 1U, 2U, 4U, 6U, 7U}) {
        bench.pm.write(4, 2, type << 10 | 1 << 13);
    }
    EXPECT_EQ(bench.sleep.power_offs + bench.sleep.suspends, 0);
}

TEST(AcpiPm, WakeSetsWakeStatusAndItsSource) {
    for (const auto& [source, bits] : {std::pair{WakeSource::power_button, 0x8100U},
                                       {WakeSource::sleep_button, 0x8200U},
                                       {WakeSource::rtc, 0x8400U},
                                       {WakeSource::other, 0x8000U}}) {
        Bench bench;
        bench.pm.wake(source);
        EXPECT_EQ(bench.pm.read(0, 2), bits);
        bench.pm.write(0, 2, 0x8000);
        EXPECT_EQ(bench.pm.read(0, 2), bits & 0x7FFF);
    }
}

TEST(AcpiPm, TimerRunsAt3579545Hertz) {
    Bench bench;
    bench.time.advance(event::ns_per_s);
    EXPECT_EQ(bench.pm.read(8, 4), 3'579'545U);
    EXPECT_EQ(bench.pm.read(9, 2), 3'579'545U >> 8 & 0xFFFF);
    bench.pm.write(8, 4, 0);
    EXPECT_EQ(bench.pm.read(8, 4), 3'579'545U) << "read-only";
}

TEST(AcpiPm, TimerOf24BitsWrapsAndOf32BitsDoesNot) {
    for (const auto& [width, expected] :
         {std::pair{PmTimerWidth::bits_24,
                    5'000'000'000ULL * 3'579'545 / 1'000'000'000 - (1 << 24)},
          {PmTimerWidth::bits_32, 5ULL * 3'579'545}}) {
        Bench bench(width);
        bench.time.advance(5 * event::ns_per_s);
        EXPECT_EQ(bench.pm.read(8, 4), expected);
    }
}

TEST(AcpiPm, TimerStatusComesWithEachChangeOfTheTopBit) {
    for (const auto& [width, half] : {std::pair{PmTimerWidth::bits_24, std::uint64_t{1} << 23},
                                      {PmTimerWidth::bits_32, std::uint64_t{1} << 31}}) {
        Bench bench(width);
        bench.acpi_enable();
        bench.pm.write(2, 2, 1);
        const std::uint64_t half_ns = event::ticks_to_ns(half, AcpiPm::timer_frequency_hz);
        for (int i = 1; i <= 3; ++i) {
            bench.time.advance(half_ns - 10);
            EXPECT_FALSE(bench.sci.level);
            bench.time.advance(10);
            EXPECT_TRUE(bench.sci.level);
            EXPECT_EQ(bench.pm.read(0, 2), 1U);
            bench.pm.write(0, 2, 1);
            EXPECT_FALSE(bench.sci.level);
        }
    }
}

TEST(AcpiPm, TimerStatusCanBePolledAndCostsNoTimer) {
    Bench bench(PmTimerWidth::bits_24);
    EXPECT_EQ(bench.time.next_deadline_ns(), 0U);
    bench.time.advance(3 * event::ns_per_s);
    EXPECT_EQ(bench.pm.read(0, 2), 1U);
    EXPECT_FALSE(bench.sci.level);
}

TEST(AcpiPm, OneReadMaySpanRegisters) {
    Bench bench;
    bench.acpi_enable();
    bench.pm.write(0, 4, 0x0120'0000);
    EXPECT_EQ(bench.pm.read(0, 8), 0x0000'0001'0120'0000U);
    EXPECT_EQ(bench.pm.read(3, 2), 0x0101U);
}

testing::ContractSubject make_subject() {
    auto owner = std::make_shared<Bench>(PmTimerWidth::bits_24);
    return {.owner = owner,
            .device = &owner->pm,
            .ranges = {{&owner->pm, AcpiPm::port_count},
                       {&owner->pm.smi_command(), AcpiPm::smi_command_port_count}},
            .disturb = [bench = owner.get()](std::uint64_t random) {
                bench->time.advance(random % (4 * event::ns_per_s));
                if (random % 5 == 0) {
                    bench->pm.press_power_button();
                }
            }};
}

CUPULE_DEVICE_CONTRACT(AcpiPm, make_subject)

}  // namespace
}  // namespace cupule::device
