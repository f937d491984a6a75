#pragma once

#include <cstdint>

#include "base/bits.h"

namespace cupule::event {

inline constexpr std::uint64_t ns_per_us = 1'000;
inline constexpr std::uint64_t ns_per_ms = 1'000'000;
inline constexpr std::uint64_t ns_per_s = 1'000'000'000;

/// What time it is. Any thread.
class Clock {
  public:
    virtual ~Clock() = default;
    /// Nanoseconds since some fixed start; never goes back. What timers' deadlines are written in.
    virtual std::uint64_t now_ns() const = 0;
    /// Nanoseconds since 1970-01-01 00:00 UTC; may jump when the host's clock is set.
    virtual std::int64_t wall_ns() const = 0;
};

/// `ticks` of an oscillator of `frequency_hz` in nanoseconds, rounded up, without overflow.
constexpr std::uint64_t ticks_to_ns(std::uint64_t ticks, std::uint64_t frequency_hz) {
    const auto product = static_cast<base::Uint128>(ticks) * ns_per_s + frequency_hz - 1;
    return static_cast<std::uint64_t>(product / frequency_hz);
}

/// Whole ticks of an oscillator of `frequency_hz` within `ns`, rounded down, without overflow.
constexpr std::uint64_t ns_to_ticks(std::uint64_t ns, std::uint64_t frequency_hz) {
    return static_cast<std::uint64_t>(static_cast<base::Uint128>(ns) * frequency_hz / ns_per_s);
}

}  // namespace cupule::event
