#pragma once

#include "event/clock.h"

namespace cupule::event {

/// The host's CLOCK_MONOTONIC and CLOCK_REALTIME.
class SystemClock : public Clock {
  public:
    std::uint64_t now_ns() const override;
    std::int64_t wall_ns() const override;
};

}  // namespace cupule::event
