// A machine's life: resets in place, sleep, and its ends.

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <string>

#include "machine/testing/pc_bench.h"

namespace cupule::machine {
namespace {

using testing::PcBench;
using testing::write_cf9;
using testing::write_sleep;

/// A way a guest asks for a reset.
struct ResetPath {
    std::string name;
    std::function<void(hypervisor::FakeVm&)> ask;
};

std::vector<ResetPath> reset_paths() {
    return {{"CF9 06", [](auto& vm) { write_cf9(vm, 0x06); }},
            {"CF9 0E", [](auto& vm) { write_cf9(vm, 0x0E); }},
            {"CF9 02 then 06, as ACPI's reset register after a warm set-up",
             [](auto& vm) {
                 write_cf9(vm, 0x02);
                 write_cf9(vm, 0x06);
             }},
            {"i8042 FE", [](auto& vm) { vm.write_port(0x64, 1, 0xFE); }},
            {"i8042 output port",
             [](auto& vm) {
                 vm.write_port(0x64, 1, 0xD1);
                 vm.write_port(0x60, 1, 0x02);
             }},
            {"triple fault", [](auto& vm) { vm.stop(hypervisor::VmStop::triple_fault); }}};
}

TEST(PcReset, EveryPathResetsInPlaceAndTheGuestRunsNoFurtherBefore) {
    for (const ResetPath& path : reset_paths()) {
        PcBench bench;
        ASSERT_EQ(bench.error(), "");
        const std::uint64_t entry = bench.vm().boot_state().rip;
        const auto end = bench.run({[&] {
                                        bench.store<std::uint32_t>(0x20'0000, 0x1234'5678);
                                        bench.store<std::uint32_t>(mib, 0);  // kernel overwritten
                                        bench.vm().write_port(0x80, 1, 0x11);
                                        path.ask(bench.vm());
                                        EXPECT_FALSE(bench.vm().running()) << path.name;
                                        bench.vm().write_port(0x80, 1, 0x22);  // goes nowhere
                                    },
                                    [&] {
                                        EXPECT_TRUE(bench.vm().running()) << path.name;
                                        EXPECT_EQ(bench.vm().resets(), 1U) << path.name;
                                        EXPECT_EQ(bench.load<std::uint32_t>(0x20'0000), 0U);
                                        EXPECT_EQ(bench.load<std::uint8_t>(mib), 0xC5U);
                                        EXPECT_EQ(bench.vm().boot_state().rip, entry);
                                        EXPECT_EQ(bench.vm().read_port(0x80, 1), 0U) << path.name;
                                    }});
        EXPECT_FALSE(end.has_value()) << path.name;
    }
}

/// Everything but what the clock alone changes, and but the clock that runs on a battery.
snapshot::Tree without_time(snapshot::Tree tree) {
    std::erase_if(tree, [](const auto& field) {
        return field.first.starts_with("rtc/") || field.first == "acpi-pm/timer_ns" ||
               field.first.ends_with("_ns");
    });
    return tree;
}

/// As a guest that uses every part: each range, each size, each bit.
void use_everything(hypervisor::FakeVm& vm) {
    for (std::uint64_t port = 0; port < 0x500; ++port) {
        const bool ends_or_resets = (port >= 0xF4 && port < 0xF8) ||
                                    (port >= pm1_control_port && port < pm1_control_port + 2) ||
                                    port == 0x64;
        vm.read_port(port, 1);
        if (!ends_or_resets) {
            vm.write_port(port, 1, 0x5A ^ (port & 0xFF));
        }
    }
    vm.write_port(0xCF9, 1, 0x02);
    vm.write_port(0xCF8, 4, 0x8000'0860);
    vm.write_port(0xCFC, 4, 0x0B0A'0305);
    for (std::uint64_t offset = 0; offset < 0x400; offset += 4) {
        vm.write_memory(hpet_base + offset, 4, 0x0102'0307 * (offset + 1));
    }
    for (std::uint64_t offset = 0; offset < 0x1'0000; offset += 4) {
        vm.write_memory(ecam_base + offset, 4, ~offset);
    }
}

TEST(PcReset, AResetMachineIsLikeAFreshOneButForTheBatteryBackedClock) {
    PcBench fresh;
    ASSERT_EQ(fresh.error(), "");
    const snapshot::Tree expected = without_time(fresh.pc().parts().save());
    PcBench bench;
    snapshot::Tree used;
    snapshot::Tree after;
    bench.run({[&] {
                   use_everything(bench.vm());
                   used = without_time(bench.pc().parts().save());
                   write_cf9(bench.vm(), 0x0E);
               },
               [&] { after = without_time(bench.pc().parts().save()); }});
    EXPECT_EQ(bench.vm().resets(), 1U);
    EXPECT_GT(expected.size(), 50U);
    EXPECT_NE(used, expected);
    EXPECT_EQ(snapshot::to_text(after), snapshot::to_text(expected));
    for (unsigned gsi = 0; gsi < bench.vm().gsi_count(); ++gsi) {
        EXPECT_FALSE(bench.vm().gsi_level({gsi})) << gsi;
    }
}

/// Whether the kernel's file can be opened for writing at once.
bool can_write(const PcBench& bench) {
    return base::FileDescriptor(
               ::open(bench.kernel_path().c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC))
               .get() >= 0;
}

TEST(PcImages, AreFreeForAWriterAfterAPauseAndTheGuestGoesOn) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGIO);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    bench.run({[&] {
        EXPECT_FALSE(can_write(bench));
        bench.pc().release_images();
        EXPECT_TRUE(can_write(bench));
        EXPECT_TRUE(bench.vm().running());
        EXPECT_EQ(bench.vm().resets(), 0U);
        EXPECT_EQ(bench.load<std::uint8_t>(mib), 0xC5U);
    }});
}

TEST(PcImages, BeingReleasedLetNoGuestRunPastItsReset) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    bench.run({[&] {
                   write_cf9(bench.vm(), 0x06);
                   bench.pc().release_images();
                   EXPECT_FALSE(bench.vm().running());
               },
               [&] {
                   EXPECT_TRUE(bench.vm().running());
                   EXPECT_EQ(bench.vm().resets(), 1U);
               }});
}

TEST(PcReset, TheBatteryKeepsCmosMemoryOverAReset) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    bench.run({[&] {
                   bench.vm().write_port(0x70, 1, 0x50);
                   bench.vm().write_port(0x71, 1, 0xA7);
                   write_cf9(bench.vm(), 0x06);
               },
               [&] {
                   bench.vm().write_port(0x70, 1, 0x50);
                   EXPECT_EQ(bench.vm().read_port(0x71, 1), 0xA7U);
               }});
}

/// What a process holds: descriptors, threads, mappings.
struct Holdings {
    std::size_t descriptors = 0;
    std::size_t threads = 0;
    std::size_t mappings = 0;
    bool operator==(const Holdings&) const = default;

    static std::size_t entries(const char* path) {
        std::size_t count = 0;
        DIR* directory = opendir(path);
        while (directory != nullptr && readdir(directory) != nullptr) {
            ++count;
        }
        closedir(directory);
        return count;
    }
    static Holdings now() {
        std::ifstream maps("/proc/self/smaps");
        std::size_t ram_mappings = 0;
        for (std::string line; std::getline(maps, line);) {
            // The allocator's own mappings come and go; RAM stays out of core dumps ("dd").
            const bool is_ram = line.starts_with("VmFlags:") && line.contains(" dd");
            ram_mappings += is_ram ? 1U : 0U;
        }
        return {entries("/proc/self/fd"), entries("/proc/self/task"), ram_mappings};
    }
};

TEST(PcReset, AHundredResetsLeakNothing) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    const auto paths = reset_paths();
    Holdings before;
    Holdings after;
    std::deque<PcBench::Step> steps{[&] { before = Holdings::now(); }};
    for (std::size_t i = 0; i < 100; ++i) {
        steps.push_back([&, i] { paths[i % paths.size()].ask(bench.vm()); });
    }
    steps.push_back([&] { after = Holdings::now(); });
    EXPECT_FALSE(bench.run(std::move(steps)).has_value());
    EXPECT_EQ(bench.vm().resets(), 100U);
    EXPECT_GT(before.mappings, 0U);
    EXPECT_EQ(before, after);
}

TEST(PcReset, MachinesThatAreGoneHaveLeftNothingBehind) {
    { PcBench warm_up; }
    const Holdings before = Holdings::now();
    for (int i = 0; i < 5; ++i) {
        PcBench bench;
        bench.run({[&] { write_cf9(bench.vm(), 0x06); }});
    }
    EXPECT_EQ(before, Holdings::now());
}

// Ends.

TEST(PcEnd, SoftOffEndsTheMachineAndTheGuestRunsNoFurther) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    const auto end = bench.run({[&] {
                                    write_sleep(bench.vm(), 5);
                                    EXPECT_FALSE(bench.vm().running());
                                },
                                [] {}, [] { FAIL() << "the machine goes on"; }});
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->reason, EndReason::power_off);
    EXPECT_FALSE(bench.vm().running());
}

TEST(PcEnd, TheDebugExitPortEndsTheMachineWithItsValue) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    const auto end =
        bench.run({[&] { bench.vm().write_port(debug_exit_port, 4, 0x12345); }, [] {}, [] {}});
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->reason, EndReason::debug_exit);
    EXPECT_EQ(end->debug_value, 0x12345U);
}

TEST(PcEnd, WithoutTheOptionThereIsNoDebugExitPort) {
    VmOptions options = PcBench::default_options();
    options.debug_exit = false;
    PcBench bench(options);
    ASSERT_EQ(bench.error(), "");
    EXPECT_FALSE(bench.run({[&] { bench.vm().write_port(debug_exit_port, 4, 1); }, [] {}, [] {}})
                     .has_value());
}

TEST(PcEnd, AForcedEndNamesItsReason) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    const auto end = bench.run(
        {[&] { bench.pc().force_end(EndReason::grace_expired, "too slow"); }, [] {}, [] {}});
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->reason, EndReason::grace_expired);
    EXPECT_EQ(end->detail, "too slow");
}

TEST(PcEnd, WhatTheHypervisorCannotRunEndsTheMachine) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    const auto end =
        bench.run({[&] { bench.vm().stop(hypervisor::VmStop::internal_error); }, [] {}, [] {}});
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->reason, EndReason::hypervisor_failure);
}

// Sleep.

/// The FACS of the guest, found as a guest finds it.
std::uint64_t find_facs(const PcBench& bench) {
    const auto xsdt = bench.load<std::uint64_t>(0xF'2400 + 24);
    const auto length = bench.load<std::uint32_t>(xsdt + 4);
    for (std::uint64_t entry = xsdt + 36; entry < xsdt + length; entry += 8) {
        const auto table = bench.load<std::uint64_t>(entry);
        if (bench.load<std::uint32_t>(table) == 0x5043'4146) {  // "FACP"
            return bench.load<std::uint32_t>(table + 36);
        }
    }
    return 0;
}

TEST(PcSleep, S3KeepsMemoryAndThePowerButtonWakesAtTheGuestsVector) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    const std::uint64_t facs = find_facs(bench);
    ASSERT_NE(facs, 0U);
    const auto end = bench.run({[&] {
                                    bench.store<std::uint32_t>(facs + 12, 0x9'A123);
                                    bench.store<std::uint32_t>(0x20'0000, 0x1234'5678);
                                    write_sleep(bench.vm(), 3);
                                    EXPECT_FALSE(bench.vm().running());
                                },
                                [&] {
                                    EXPECT_FALSE(bench.vm().running());
                                    bench.pc().press_power_button();
                                },
                                [&] {
                                    EXPECT_TRUE(bench.vm().running());
                                    const auto& state = bench.vm().boot_state();
                                    EXPECT_EQ(state.cs.base + state.rip, 0x9'A123U);
                                    EXPECT_EQ(state.cs.selector, 0x9A12U);
                                    EXPECT_EQ(bench.load<std::uint32_t>(0x20'0000), 0x1234'5678U);
                                    // WAK_STS and PWRBTN_STS.
                                    EXPECT_EQ(bench.vm().read_port(pm1_event_port, 2), 0x8100U);
                                }});
    EXPECT_FALSE(end.has_value());
}

TEST(PcSleep, AMachineThatSleepsCanBeEnded) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    const auto end = bench.run({[&] { write_sleep(bench.vm(), 3); },
                                [&] { bench.pc().force_end(EndReason::forced_stop, "signal 2"); },
                                [] {}, [] {}});
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->reason, EndReason::forced_stop);
}

TEST(PcSleep, AResetAfterAWakeIsAReset) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    bench.run({[&] { write_sleep(bench.vm(), 3); }, [&] { bench.pc().press_power_button(); },
               [&] { write_cf9(bench.vm(), 0x06); },
               [&] {
                   EXPECT_TRUE(bench.vm().running());
                   EXPECT_EQ(bench.vm().boot_state().rip, mib);
                   EXPECT_EQ(bench.vm().read_port(pm1_event_port, 2), 0U);
               }});
}

}  // namespace
}  // namespace cupule::machine
