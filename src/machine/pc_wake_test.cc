// What wakes a machine that sleeps, also when it comes in the middle of something else.

#include <gtest/gtest.h>

#include "machine/testing/pc_bench.h"

namespace cupule::machine {
namespace {

using testing::PcBench;
using testing::write_cf9;
using testing::write_sleep;

constexpr std::uint64_t pm1_enable_port = pm1_event_port + 2;
constexpr std::uint16_t rtc_event = 0x0400;
constexpr std::int64_t two_seconds_ns = 2'000'000'000;

void write_cmos(hypervisor::FakeVm& vm, std::uint8_t cell, std::uint8_t value) {
    vm.write_port(0x70, 1, cell);
    vm.write_port(0x71, 1, value);
}

/// An alarm at every second ("don't care" in each cell), its interrupt on.
void set_alarm(hypervisor::FakeVm& vm) {
    for (const std::uint8_t cell : {std::uint8_t{1}, std::uint8_t{3}, std::uint8_t{5}}) {
        write_cmos(vm, cell, 0xFF);
    }
    write_cmos(vm, 0x0B, 0x22);  // AIE, 24 hours
}

TEST(PcSleep, AnEventThatIsPendingAndEnabledWakesAtOnce) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    bench.run({[&] {
                   bench.vm().write_port(pm1_event_port + 2, 2, 0x0100);  // PWRBTN_EN
                   bench.pc().press_power_button();
                   write_sleep(bench.vm(), 3);
               },
               [&] {
                   EXPECT_FALSE(bench.pc().at_rest());
                   EXPECT_TRUE(bench.vm().running());
                   EXPECT_EQ(bench.vm().read_port(pm1_event_port, 2), 0x8100U);
               }});
}

TEST(PcSleep, APowerButtonBetweenTheGuestsWriteAndTheSleepWakes) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    bench.run({[&] {
                   write_sleep(bench.vm(), 3);
                   bench.pc().press_power_button();
               },
               [] {},
               [&] {
                   EXPECT_FALSE(bench.pc().at_rest());
                   EXPECT_TRUE(bench.vm().running());
                   // WAK_STS and PWRBTN_STS.
                   EXPECT_EQ(bench.vm().read_port(pm1_event_port, 2), 0x8100U);
               }});
}

TEST(PcSleep, APowerButtonInTheMiddleOfAResetReachesTheMachineThatBeginsAnew) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    bench.run({[&] {
                   write_cf9(bench.vm(), 0x06);
                   bench.pc().press_power_button();
               },
               [] {},
               [&] {
                   EXPECT_EQ(bench.vm().resets(), 1U);
                   EXPECT_EQ(bench.vm().read_port(pm1_event_port, 2), 0x0100U);
               }});
}

TEST(PcSleep, AnAlarmOfTheClockWakesWhereTheGuestWantsIt) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    bench.run({[&] {
                   set_alarm(bench.vm());
                   bench.vm().write_port(pm1_enable_port, 2, rtc_event);
                   write_sleep(bench.vm(), 3);
               },
               [&] {
                   EXPECT_TRUE(bench.pc().at_rest());
                   bench.let_pass(two_seconds_ns);
               },
               [] {}, [] {},
               [&] {
                   EXPECT_FALSE(bench.pc().at_rest());
                   EXPECT_TRUE(bench.vm().running());
                   EXPECT_EQ(bench.vm().read_port(pm1_event_port, 2), 0x8000U | rtc_event);
               }});
}

TEST(PcSleep, AnAlarmThatMayNotWakeDoesNot) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    bench.run({[&] {
                   set_alarm(bench.vm());
                   write_sleep(bench.vm(), 3);
               },
               [&] { bench.let_pass(two_seconds_ns); }, [] {}, [] {},
               [&] {
                   EXPECT_TRUE(bench.pc().at_rest());
                   EXPECT_FALSE(bench.vm().running());
               }});
}

TEST(PcSleep, AnAlarmBeforeTheSleepBeginsWakesToo) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    bench.run({[&] {
                   set_alarm(bench.vm());
                   bench.vm().write_port(pm1_enable_port, 2, rtc_event);
                   bench.let_pass(two_seconds_ns);
                   bench.vm().write_port(0x70, 1, 0x0C);
                   bench.vm().read_port(0x71, 1);  // the clock notices, before its timer does
                   write_sleep(bench.vm(), 3);
               },
               [] {}, [] {},
               [&] {
                   EXPECT_FALSE(bench.pc().at_rest());
                   EXPECT_TRUE(bench.vm().running());
               }});
}

TEST(PcReset, TurnsTheClocksAlarmOffAndKeepsItsTime) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    bench.run({[&] {
                   write_cmos(bench.vm(), 0x05, 0x11);
                   set_alarm(bench.vm());
                   write_cf9(bench.vm(), 0x06);
               },
               [&] { bench.let_pass(two_seconds_ns); }, [] {}, [] {},
               [&] {
                   EXPECT_EQ(bench.vm().read_port(pm1_event_port, 2), 0U);
                   EXPECT_FALSE(bench.vm().gsi_level({8}));
                   bench.vm().write_port(0x70, 1, 0x0B);
                   EXPECT_EQ(bench.vm().read_port(0x71, 1), 0x02U);  // AIE is off, 24 hours stays
                   bench.vm().write_port(0x70, 1, 0x01);
                   EXPECT_EQ(bench.vm().read_port(0x71, 1), 0xFFU);  // the alarm's cells stay
               }});
}

TEST(PcReset, LeavesNoAlarmOfBeforeToTheMachineOfAfter) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    bench.run({[&] {
                   set_alarm(bench.vm());
                   write_cf9(bench.vm(), 0x06);
                   // The reset is on its way; the clock rings before it is there.
                   bench.let_pass(two_seconds_ns);
                   bench.pc().parts().save();
               },
               [] {}, [] {}, [] {},
               [&] {
                   EXPECT_EQ(bench.vm().resets(), 1U);
                   EXPECT_EQ(bench.vm().read_port(pm1_event_port, 2), 0U);
               }});
}

}  // namespace
}  // namespace cupule::machine
