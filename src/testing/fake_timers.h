#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "event/clock.h"
#include "event/timer.h"

namespace cupule::testing {

/// A clock that stands still until a test moves it, and timers that fire on the way: `advance` runs
/// each due callback at exactly its deadline, in order. One thread.
class FakeTimers : public event::Clock, public event::TimerService {
  public:
    ~FakeTimers() override;
    std::uint64_t now_ns() const override { return now_ns_; }
    std::int64_t wall_ns() const override { return wall_ns_; }
    std::unique_ptr<event::Timer> make_timer(event::Callback fired) override;

    /// Moves both clocks on; fires timers that fall due, also those their callbacks start.
    void advance(std::uint64_t ns);
    /// Sets the wall clock without moving time, as an administrator does.
    void set_wall_ns(std::int64_t wall_ns) { wall_ns_ = wall_ns; }
    /// The earliest deadline of a running timer, 0 when none runs.
    std::uint64_t next_deadline_ns() const;

  private:
    class FakeTimer;
    std::uint64_t now_ns_ = event::ns_per_s;  // not zero, so that a forgotten "never" shows
    std::int64_t wall_ns_ = 0;
    std::vector<FakeTimer*> timers_;
};

}  // namespace cupule::testing
