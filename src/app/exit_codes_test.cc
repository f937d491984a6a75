#include "app/exit_codes.h"

#include <gtest/gtest.h>

#include <set>

namespace cupule::app {
namespace {

constexpr RunEnd all_ends[] = {
    RunEnd::power_off,   RunEnd::debug_exit,         RunEnd::forced_stop,    RunEnd::grace_expired,
    RunEnd::guest_crash, RunEnd::hypervisor_failure, RunEnd::machine_failure};

TEST(ExitCodes, AcrnsAreZeroForOrderlyStopsAndOneForFailures) {
    for (const RunEnd end : all_ends) {
        const bool failed = end == RunEnd::guest_crash || end == RunEnd::hypervisor_failure ||
                            end == RunEnd::machine_failure;
        EXPECT_EQ(exit_code(end, ExitCodes::acrn), failed ? 1 : 0);
    }
}

TEST(ExitCodes, DistinctOnesTellEveryEndApartFromEachOtherAndFromStartUpErrors) {
    std::set<int> codes{exit_failure, exit_kernel_file, exit_ramdisk_file, exit_bad_value};
    for (const RunEnd end : all_ends) {
        EXPECT_TRUE(codes.insert(exit_code(end, ExitCodes::distinct)).second);
    }
    EXPECT_EQ(exit_code(RunEnd::power_off, ExitCodes::distinct), 0);
}

}  // namespace
}  // namespace cupule::app
