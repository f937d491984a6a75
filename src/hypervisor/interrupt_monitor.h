#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"

namespace cupule::hypervisor {

/// Counts the interrupts of a guest's passed-through devices, and can hold them back. Control
/// thread, with no monitor held.
class InterruptMonitor {
  public:
    struct Count {
        /// Which interrupt, or device: the same number at each call.
        std::uint64_t source = 0;
        /// Since some start.
        std::uint64_t count = 0;
    };

    virtual ~InterruptMonitor() = default;
    virtual base::Result<std::vector<Count>> counts() = 0;
    /// From now on an interrupt reaches the guest up to `delay_ms` late; 0: at once again.
    virtual base::Result<void> delay(std::uint32_t delay_ms) = 0;
    /// `delay_ms` have passed: for those that do not count the time themselves.
    virtual void let_through() {}
};

}  // namespace cupule::hypervisor
