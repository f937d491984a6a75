#include "machine/interrupt_storm.h"

#include <algorithm>

#include "base/log.h"
#include "event/clock.h"

namespace cupule::machine {

std::uint64_t InterruptStorm::step() {
    switch (phase_) {
        case Phase::begin:
        case Phase::rest:
            return begin(Phase::probe);
        case Phase::probe:
            return probe();
        case Phase::storm:
            return storm();
    }
    return 0;
}

std::uint64_t InterruptStorm::begin(Phase next) {
    auto counts = monitor_.counts();
    if (!counts) {
        return give_up(counts.error());
    }
    before_ = std::move(*counts);
    phase_ = next;
    return options_.period_s * event::ns_per_s;
}

std::uint64_t InterruptStorm::probe() {
    auto now = monitor_.counts();
    if (!now) {
        return give_up(now.error());
    }
    const auto* const source = find_storm(*now);
    if (source == nullptr) {
        before_ = std::move(*now);
        return options_.period_s * event::ns_per_s;
    }
    ++storms_;
    base::log(base::LogLevel::notice,
              "interrupt storm: interrupt {} comes more than {} times a second; delayed by {} ms "
              "for {} ms",
              source->source, options_.threshold_per_s, options_.delay_ms, options_.duration_ms);
    if (const auto delayed = monitor_.delay(options_.delay_ms); !delayed) {
        return give_up(delayed.error());
    }
    phase_ = Phase::storm;
    delayed_ms_ = 0;
    return storm();
}

std::uint64_t InterruptStorm::storm() {
    if (delayed_ms_ != 0) {
        monitor_.let_through();
    }
    if (delayed_ms_ < options_.duration_ms) {
        const std::uint32_t wait_ms =
            std::min(options_.delay_ms, options_.duration_ms - delayed_ms_);
        delayed_ms_ += wait_ms;
        return wait_ms * event::ns_per_ms;
    }
    if (const auto restored = monitor_.delay(0); !restored) {
        return give_up(restored.error());
    }
    phase_ = Phase::rest;
    return rest_ns;
}

std::uint64_t InterruptStorm::give_up(const base::Error& error) {
    base::log_error("interrupts are no longer monitored: {}", error.message);
    return 0;
}

const hypervisor::InterruptMonitor::Count* InterruptStorm::find_storm(const Counts& now) const {
    const std::uint64_t limit = std::uint64_t{options_.threshold_per_s} * options_.period_s;
    for (const auto& each : now) {
        const auto before =
            std::ranges::find(before_, each.source, &hypervisor::InterruptMonitor::Count::source);
        // A count that went back belongs to a device that came anew.
        if (before != before_.end() && each.count > before->count &&
            each.count - before->count > limit) {
            return &each;
        }
    }
    return nullptr;
}

}  // namespace cupule::machine
