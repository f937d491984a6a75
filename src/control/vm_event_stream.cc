#include "control/vm_event_stream.h"

#include <fmt/core.h>

#include "base/bits.h"
#include "base/log.h"

namespace cupule::control {
namespace {

constexpr std::uint64_t window_ns = event::ns_per_s;

}  // namespace

void VmEventStream::happened(const machine::GuestEvent& event) {
    if (event.kind != machine::GuestEventKind::clock_set) {
        // What was set last is told before the end.
        clock_settled();
        send(event.kind, "");
        return;
    }
    if (!change_) {
        change_ = ClockChange{.delta_s = 0, .before_s = event.clock_before_s};
    }
    change_->delta_s = base::wrapping_add(change_->delta_s, event.clock_delta_s);
    settle_(clock_.now_ns() + window_ns);
}

void VmEventStream::clock_settled() {
    if (!change_) {
        return;
    }
    const ClockChange change = *change_;
    change_.reset();
    send(machine::GuestEventKind::clock_set,
         fmt::format(",\"delta_time\":{},\"last_time\":{}", change.delta_s, change.before_s));
}

void VmEventStream::send(machine::GuestEventKind kind, const std::string& details) {
    const auto number = static_cast<std::size_t>(kind);
    auto& last = sent_ns_.at(number);
    const std::uint64_t now = clock_.now_ns();
    if (last && now - *last < window_ns) {
        ++dropped_;
        base::log_info("VM event {} is dropped: there was one less than a second ago", number);
        return;
    }
    last = now;
    send_(fmt::format("{{\"vm_event\":{}{}}}\n", number, details));
}

}  // namespace cupule::control
