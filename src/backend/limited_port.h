#pragma once

#include <memory>

#include "backend/net_port.h"
#include "backend/rate_limiter.h"
#include "event/clock.h"
#include "event/timer.h"

namespace cupule::backend {

/// What a card may send and receive, of which its ports all take. Any thread.
struct CardLimits {
    CardLimits(const RateLimit& limit, const event::Clock& clock)
        : out(limit, clock), in(limit, clock) {}
    RateLimiter out;
    RateLimiter in;
};

/// Holds a port to a rate of bytes and frames, each direction by itself: frames of the guest wait
/// in its queue, frames for it where the port keeps them. Everything on the port's thread, which
/// is the timers' too; the clock, which the limits have too, outlives the port.
std::unique_ptr<NetPort> make_limited_port(std::unique_ptr<NetPort> port,
                                           std::shared_ptr<CardLimits> limits,
                                           const event::Clock& clock, event::TimerService& timers);

}  // namespace cupule::backend
