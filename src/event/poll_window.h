#pragma once

#include <algorithm>
#include <cstdint>

namespace cupule::event {

/// How long to look for work before sleeping, learned from how long the last sleeps were: work that
/// came soon after falling asleep would have been found by looking a little longer; after a long
/// sleep looking is wasted. Grows by doubling up to a maximum, falls to nothing at once. One
/// thread.
class PollWindow {
  public:
    /// `max_ns` 0: never look.
    explicit PollWindow(std::uint64_t max_ns) : max_ns_(max_ns) {}

    std::uint64_t ns() const { return now_ns_; }
    std::uint64_t max_ns() const { return max_ns_; }
    /// Woken after a sleep of this length.
    void slept(std::uint64_t ns) {
        if (ns > max_ns_) {
            now_ns_ = 0;
        } else if (ns > now_ns_ || now_ns_ == 0) {
            now_ns_ = std::min(max_ns_, std::max(2 * now_ns_, first_ns));
        }
    }

  private:
    static constexpr std::uint64_t first_ns = 4000;
    std::uint64_t max_ns_;
    std::uint64_t now_ns_ = 0;
};

}  // namespace cupule::event
