#pragma once

#include <cstdint>

#include "event/clock.h"
#include "event/mutex.h"

namespace cupule::backend {

/// How much a device may do. 0: no limit.
struct RateLimit {
    std::uint64_t bytes_per_s = 0;
    std::uint64_t operations_per_s = 0;
    /// What may be done at once after a rest; 0: a tenth of a second's worth.
    std::uint64_t bytes_burst = 0;
    std::uint64_t operations_burst = 0;

    bool limits() const { return bytes_per_s != 0 || operations_per_s != 0; }
    bool operator==(const RateLimit&) const = default;
};

/// Holds a stream of units to a rate: over any time t at most burst + rate * t + one request are
/// admitted, and whoever always asks again when told gets the rate to within one unit. Not a bucket
/// that is filled by a tick but the time at which it would be empty (the generic cell rate
/// algorithm), so there is no rounding to ticks and nothing to do while idle. One thread.
class RateMeter {
  public:
    /// `rate` units a second, 0: everything is admitted. `burst` 0: a tenth of a second's worth.
    RateMeter(std::uint64_t rate, std::uint64_t burst);
    /// Nanoseconds until anything is admitted; 0: now.
    std::uint64_t delay_ns(std::uint64_t now_ns) const;
    /// Charges `units`, however many: a request is never split, the next ones wait for it.
    void charge(std::uint64_t now_ns, std::uint64_t units);

  private:
    std::uint64_t rate_;
    std::uint64_t burst_ns_;
    /// All that was admitted has been paid for at this time.
    std::uint64_t paid_at_ns_ = 0;
    /// Thousand-millionths of a unit that paid_at_ns_ has rounded away.
    std::uint64_t remainder_ = 0;
};

/// The limits of one device, which its queues on several workers share. Any thread.
class RateLimiter {
  public:
    /// `clock` outlives this.
    RateLimiter(const RateLimit& limit, const event::Clock& clock);

    /// Nanoseconds until a request of `bytes` may start. 0: it may, and has been charged; otherwise
    /// ask again then.
    std::uint64_t admit(std::uint64_t bytes) CUPULE_EXCLUDES(mutex_);

    /// The same in two steps, for a request whose size is known only when it is done. Between them
    /// others may be admitted too, which all are charged for: the rate holds, and the burst may be
    /// passed by one request for each thread.
    std::uint64_t delay_ns() CUPULE_EXCLUDES(mutex_);
    void charge(std::uint64_t bytes) CUPULE_EXCLUDES(mutex_);

  private:
    std::uint64_t delay_at(std::uint64_t now_ns) const CUPULE_REQUIRES(mutex_);
    void charge_at(std::uint64_t now_ns, std::uint64_t bytes) CUPULE_REQUIRES(mutex_);

    const bool limits_;
    const event::Clock& clock_;
    /// Guards the meters. A leaf.
    event::Mutex mutex_;
    RateMeter bytes_ CUPULE_GUARDED_BY(mutex_);
    RateMeter operations_ CUPULE_GUARDED_BY(mutex_);
};

}  // namespace cupule::backend
