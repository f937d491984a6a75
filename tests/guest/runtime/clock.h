/// Time by the ACPI PM timer: the reference that every other clock is compared with.
///
/// Document: ACPI Specification 6.5, section 4.8.3.3.
#pragma once

#include <cstdint>

#include "runtime/cpu.h"

namespace cupule::guest {

inline constexpr std::uint64_t pm_timer_hz = 3'579'545;

/// The low 24 bits of the timer.
[[nodiscard]] std::uint32_t pm_timer();

/// Adds up PM timer ticks; must be asked at least every four seconds.
class Stopwatch {
  public:
    Stopwatch() : last_(pm_timer()) {}

    [[nodiscard]] std::uint64_t ticks() {
        const std::uint32_t now = pm_timer();
        ticks_ += (now - last_) & 0xFFFFFF;
        last_ = now;
        return ticks_;
    }
    [[nodiscard]] std::uint64_t us() { return ticks() * 1'000'000 / pm_timer_hz; }
    [[nodiscard]] std::uint64_t ms() { return ticks() * 1'000 / pm_timer_hz; }

  private:
    std::uint32_t last_;
    std::uint64_t ticks_ = 0;
};

/// Some microseconds: each look at the PM timer is an exit that may hold up the VMM's own threads.
inline void pause_for_a_while() {
    for (int i = 0; i < 100; ++i) {
        pause();
    }
}

/// Busy waiting, so that it works with interrupts on and off.
inline void wait_ms(std::uint64_t ms) {
    Stopwatch watch;
    while (watch.ms() < ms) {
        pause_for_a_while();
    }
}

/// Polls until `done()` or the time is over; gives back whether it was done.
template <typename Done>
bool wait_until(std::uint64_t ms, Done done) {
    Stopwatch watch;
    while (!done()) {
        if (watch.ms() >= ms) {
            return done();
        }
        pause();
    }
    return true;
}

/// A clock and the PM timer read at the same moment (the closest of some tries, because a virtual
/// processor can be descheduled between two reads).
struct Moment {
    std::uint64_t clock = 0;
    std::uint32_t pm = 0;
};

template <typename Read>
Moment read_with_pm_timer(Read read) {
    Moment best;
    std::uint32_t best_gap = 0xFFFFFFFF;
    for (int i = 0; i < 8; ++i) {
        const std::uint32_t before = pm_timer();
        const std::uint64_t clock = read();
        const std::uint32_t gap = (pm_timer() - before) & 0xFFFFFF;
        if (gap < best_gap) {
            best_gap = gap;
            best = {.clock = clock, .pm = (before + gap / 2) & 0xFFFFFF};
        }
    }
    return best;
}

/// Rate in Hz of an upward counter, measured over about `ms`.
template <typename Read>
std::uint64_t measure_hz(std::uint64_t ms, Read read) {
    const Moment begin = read_with_pm_timer(read);
    wait_ms(ms);
    const Moment end = read_with_pm_timer(read);
    const std::uint64_t ticks = (end.pm - begin.pm) & 0xFFFFFF;
    return ticks == 0 ? 0 : (end.clock - begin.clock) * pm_timer_hz / ticks;
}

/// Whether `value` is within `percent` of `expected`.
[[nodiscard]] inline bool is_near(std::uint64_t value, std::uint64_t expected,
                                  std::uint64_t percent) {
    const std::uint64_t gap = value > expected ? value - expected : expected - value;
    return gap * 100 <= expected * percent;
}

}  // namespace cupule::guest
