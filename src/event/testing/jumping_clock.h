#pragma once

#include <atomic>
#include <cstdint>

#include "event/system_clock.h"

namespace cupule::event::testing {

/// The host's clock, and what a test has put it forward by. Any thread.
class JumpingClock : public SystemClock {
  public:
    std::uint64_t now_ns() const override {
        return SystemClock::now_ns() + static_cast<std::uint64_t>(ahead_ns.load());
    }
    std::int64_t wall_ns() const override { return SystemClock::wall_ns() + ahead_ns.load(); }
    std::atomic<std::int64_t> ahead_ns{0};
};

}  // namespace cupule::event::testing
