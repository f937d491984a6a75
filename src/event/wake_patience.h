#pragma once

#include <algorithm>
#include <cstdint>

#include "event/clock.h"

namespace cupule::event {

/// Whether a thread that is woken for a driver's requests should take the processor from whoever
/// runs there, or let it go on (ADR 0011). Where the two share a processor, a driver that is
/// interrupted at its first request never makes a second one available: each costs a wake, a
/// notification and an interrupt. A driver that would have waited for the first one loses by
/// patience. Which kind it is shows only when it is tried: learned from how many requests come
/// back together. One thread.
class WakePatience {
  public:
    bool patient() const { return patient_; }
    /// So many requests were handed back together, one or more.
    void served(std::uint64_t count, const Clock& clock) {
        requests_ += count;
        ++batches_;
        if (!patient_ && batches_ == eager_batches) {
            turn(clock.now_ns() - failed_ns_ >= wait_ns_);
        } else if (patient_ && batches_ == trial_batches) {
            judge(2 * requests_ >= 3 * trial_batches, clock);
        }
    }

    /// Patience is tried after so many batches without, and not before a time that doubles with
    /// each trial that fails.
    static constexpr std::uint64_t eager_batches = 32;
    static constexpr std::uint64_t wait_first_ns = 10 * ns_per_ms;
    static constexpr std::uint64_t wait_max_ns = 320 * ns_per_ms;
    /// It is judged after so many: it pays from three requests in two batches on.
    static constexpr std::uint64_t trial_batches = 8;

  private:
    void judge(bool pays, const Clock& clock) {
        if (pays) {
            wait_ns_ = 0;
        } else {
            wait_ns_ = std::clamp(2 * wait_ns_, wait_first_ns, wait_max_ns);
            failed_ns_ = clock.now_ns();
        }
        turn(pays);
    }
    void turn(bool patient) {
        patient_ = patient;
        requests_ = batches_ = 0;
    }

    bool patient_ = false;
    std::uint64_t wait_ns_ = 0;
    std::uint64_t failed_ns_ = 0;
    std::uint64_t requests_ = 0;
    std::uint64_t batches_ = 0;
};

}  // namespace cupule::event
