#pragma once

#include <memory>

#include "backend/net_port.h"
#include "backend/rate_limiter.h"
#include "event/clock.h"
#include "event/timer.h"

namespace cupule::backend {

/// Holds a port to a rate of bytes and frames, each direction by itself: frames of the guest wait
/// in its queue, frames for it where the port keeps them. Everything on the port's thread, which
/// is the timers' too; the clock outlives the port.
std::unique_ptr<NetPort> make_limited_port(std::unique_ptr<NetPort> port, const RateLimit& limit,
                                           const event::Clock& clock, event::TimerService& timers);

}  // namespace cupule::backend
