#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "event/clock.h"

namespace cupule::vhost_user {

/// How long to wait before the next look for a back end: twice as long each time, so that one that
/// does not come, or goes as soon as it came, costs little; short again after one that stayed.
class RetryDelay {
  public:
    static constexpr std::uint64_t shortest_ns = 100 * event::ns_per_ms;
    static constexpr std::uint64_t longest_ns = 32 * shortest_ns;

    std::uint64_t next_ns() { return std::exchange(next_ns_, std::min(2 * next_ns_, longest_ns)); }
    /// A back end was there for so long.
    void stayed(std::uint64_t ns) { next_ns_ = ns >= longest_ns ? shortest_ns : next_ns_; }

  private:
    std::uint64_t next_ns_ = shortest_ns;
};

}  // namespace cupule::vhost_user
