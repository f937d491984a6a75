#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace cupule::event {

using Callback = std::move_only_function<void()>;

/// One shot. All calls are made with the owning device's monitor held; the callback runs with it
/// held too, so a stopped or restarted timer never fires its old deadline.
class Timer {
  public:
    virtual ~Timer() = default;
    /// Fires once, not before `deadline_ns` on the clock given with the timer; replaces an earlier
    /// deadline. A deadline in the past fires soon, but never inside this call.
    virtual void start_at(std::uint64_t deadline_ns) = 0;
    virtual void stop() = 0;
    virtual bool running() const = 0;
};

/// Makes timers for one device: whoever wires the device binds its monitor into this.
class TimerService {
  public:
    virtual ~TimerService() = default;
    virtual std::unique_ptr<Timer> make_timer(Callback fired) = 0;
};

}  // namespace cupule::event
