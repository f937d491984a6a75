#pragma once

#include <cstdint>
#include <vector>

#include "hypervisor/interrupt_monitor.h"
#include "machine/vm_options.h"

namespace cupule::machine {

/// --intr_monitor: looks every period whether an interrupt of a passed-through device comes faster
/// than the threshold; such a storm is delayed for the given duration, then two seconds pass before
/// the count begins anew (as in acrn-dm). Control thread, no monitor held.
class InterruptStorm {
  public:
    static constexpr std::uint64_t rest_ns = 2'000'000'000;

    /// `monitor` outlives it.
    InterruptStorm(hypervisor::InterruptMonitor& monitor, const InterruptMonitorOptions& options)
        : monitor_(monitor), options_(options) {}

    /// Does what is due and says in how many nanoseconds to call again; 0: never, the counts cannot
    /// be had (one log line). The first call begins.
    std::uint64_t step();
    /// Storms so far.
    std::uint64_t count() const { return storms_; }

  private:
    using Counts = std::vector<hypervisor::InterruptMonitor::Count>;
    enum class Phase : std::uint8_t { begin, probe, storm, rest };

    std::uint64_t begin(Phase next);
    std::uint64_t probe();
    std::uint64_t storm();
    std::uint64_t give_up(const base::Error& error);
    const hypervisor::InterruptMonitor::Count* find_storm(const Counts& now) const;

    hypervisor::InterruptMonitor& monitor_;
    const InterruptMonitorOptions options_;
    Phase phase_ = Phase::begin;
    Counts before_;
    std::uint32_t delayed_ms_ = 0;
    std::uint64_t storms_ = 0;
};

}  // namespace cupule::machine
