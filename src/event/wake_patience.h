#pragma once

#include <algorithm>
#include <cstdint>

namespace cupule::event {

/// Whether a thread that is woken for a driver's requests should take the processor from whoever
/// runs there, or let it go on (ADR 0011). Where the two share a processor, a driver that is
/// interrupted at its first request never makes a second one available: each costs a wake, a
/// notification and an interrupt. A driver that would have waited for the first one loses by
/// patience. Which kind it is shows only when it is tried: learned from how many requests come
/// back together, with and without. One thread.
class WakePatience {
  public:
    bool patient() const { return patient_; }
    /// So many requests were handed back together, one or more.
    void served(std::uint64_t count) {
        requests_ += count;
        ++batches_;
        if (!patient_ && batches_ >= eager_batches_) {
            turn(true);
        } else if (patient_ && batches_ == trial_batches) {
            const bool pays = 2 * requests_ >= 3 * trial_batches;
            eager_batches_ = pays ? first_batches : std::min(2 * eager_batches_, most_batches);
            turn(pays);
        }
    }

    /// Patience is tried after so many batches without, twice as many each time that it fails.
    static constexpr std::uint64_t first_batches = 32;
    static constexpr std::uint64_t most_batches = 1024;
    /// ... and judged after so many: it pays from three requests in two batches on.
    static constexpr std::uint64_t trial_batches = 8;

  private:
    void turn(bool patient) {
        patient_ = patient;
        requests_ = batches_ = 0;
    }

    bool patient_ = false;
    std::uint64_t eager_batches_ = first_batches;
    std::uint64_t requests_ = 0;
    std::uint64_t batches_ = 0;
};

}  // namespace cupule::event
