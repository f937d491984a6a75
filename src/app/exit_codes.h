#pragma once

#include <cstdint>

#include "app/vm_options.h"

namespace cupule::app {

/// Before the guest ran. The same in both styles, acrn-dm's numbers.
constexpr int exit_ok = 0;
constexpr int exit_failure = 1;
constexpr int exit_kernel_file = 10;
constexpr int exit_ramdisk_file = 11;
constexpr int exit_bad_value = 64;

/// How a virtual machine that ran came to its end. docs/exit_codes.md tells them to users.
enum class RunEnd : std::uint8_t {
    /// The guest powered itself off (S5), asked by SIGTERM's power button or not.
    power_off,
    /// The guest wrote to port 0xF4 (--debugexit).
    debug_exit,
    /// Ended from outside without asking the guest: SIGINT, SIGHUP, Ctrl-a x, a forced stop.
    forced_stop,
    /// SIGTERM pressed the power button and the guest did not power off within --grace.
    grace_expired,
    /// The guest shut its processor down and `--on-crash exit` was given.
    guest_crash,
    /// The hypervisor could not run the guest's code on.
    hypervisor_failure,
    /// Our own failure or the host's: a device, a back end, memory.
    machine_failure,
};

/// The process's exit status. Any end the user or the guest asked for is 0 for acrn-dm.
constexpr int exit_code(RunEnd end, ExitCodes style) {
    const bool distinct = style == ExitCodes::distinct;
    switch (end) {
        case RunEnd::power_off:
            return exit_ok;
        case RunEnd::debug_exit:
            return distinct ? 20 : exit_ok;
        case RunEnd::forced_stop:
            return distinct ? 21 : exit_ok;
        case RunEnd::grace_expired:
            return distinct ? 22 : exit_ok;
        case RunEnd::guest_crash:
            return distinct ? 30 : exit_failure;
        case RunEnd::hypervisor_failure:
            return distinct ? 31 : exit_failure;
        case RunEnd::machine_failure:
            return distinct ? 32 : exit_failure;
    }
    return exit_failure;
}

}  // namespace cupule::app
