#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "event/clock.h"
#include "machine/guest_events.h"

namespace cupule::control {

/// Turns what happens to a guest into the lines that --cmd_monitor's listeners get:
/// {"vm_event":N}, with delta_time and last_time (seconds) for a changed clock. At most one of a
/// kind a second; the rest is dropped with a log line. A guest sets its clock register by register:
/// the changes are summed up until a second has passed without one.
/// One thread, the control thread's.
class VmEventStream {
  public:
    /// `send` takes a line. `settle` is asked to call `clock_settled` at the given time of the
    /// clock, instead of an earlier one.
    VmEventStream(const event::Clock& clock, std::function<void(const std::string&)> send,
                  std::function<void(std::uint64_t deadline_ns)> settle)
        : clock_(clock), send_(std::move(send)), settle_(std::move(settle)) {}

    void happened(const machine::GuestEvent& event);
    void clock_settled();
    std::uint64_t dropped() const { return dropped_; }

  private:
    struct ClockChange {
        std::int64_t delta_s = 0;
        std::int64_t before_s = 0;
    };

    void send(machine::GuestEventKind kind, const std::string& details);

    const event::Clock& clock_;
    const std::function<void(const std::string&)> send_;
    const std::function<void(std::uint64_t)> settle_;
    std::optional<ClockChange> change_;
    /// When the last of each kind went out.
    std::array<std::optional<std::uint64_t>, machine::guest_event_kinds> sent_ns_{};
    std::uint64_t dropped_ = 0;
};

}  // namespace cupule::control
