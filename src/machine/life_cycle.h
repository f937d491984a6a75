#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "device/input/i8042.h"
#include "device/platform/machine_requests.h"
#include "event/event_loop.h"
#include "event/mutex.h"
#include "hypervisor/vm.h"
#include "machine/guest_events.h"
#include "machine/vm_options.h"

namespace cupule::machine {

/// Why a machine stopped for good.
enum class EndReason : std::uint8_t {
    power_off,           // the guest switched itself off (ACPI S5, or the hypervisor saw it)
    debug_exit,          // the guest wrote the debug exit port
    forced_stop,         // somebody outside wanted it to end at once
    grace_expired,       // the guest did not follow the power button in time
    guest_crash,         // the guest's processor shut down and nobody wanted a reset
    hypervisor_failure,  // the hypervisor cannot run the guest's code
    machine_failure,     // the host or this program could not go on
};

struct End {
    EndReason reason = EndReason::power_off;
    /// What the guest wrote to the debug exit port.
    std::uint32_t debug_value = 0;
    /// For a crash or fault, what happened.
    std::string detail{};
};

/// Takes what devices, processors and people ask of the whole machine, from any thread and under
/// any monitor, stops the processors at once so that the guest runs no further, and has the control
/// thread carry the first request out. What comes while a request waits is dropped, but for an end,
/// which wins.
class LifeCycle : public device::ResetRequests,
                  public device::SleepRequests,
                  public device::DebugExitRequests,
                  public device::ResetLine,
                  public hypervisor::VmEvents {
  public:
    /// What the control thread does; called on the event loop with no lock held.
    class Control {
      public:
        virtual ~Control() = default;
        virtual void reset_machine(device::ResetKind kind) = 0;
        virtual void suspend_machine() = 0;
        virtual void end_machine(const End& end) = 0;
        /// An alarm of the clock has reached power management.
        virtual void alarm_rang() {}
        /// Before the request that follows from it, if any.
        virtual void guest_event(const GuestEvent& /*event*/) {}
    };

    /// `on_crash` says what a triple fault does: a reset in place, as a PC's chip set makes of it,
    /// or the end of the run as EndReason::guest_crash.
    LifeCycle(event::EventLoop& loop, hypervisor::Vm& vm, Control& control,
              OnCrash on_crash = OnCrash::reset)
        : loop_(loop), vm_(vm), control_(control), on_crash_(on_crash) {}

    // From devices, with their monitor held.
    void reset(device::ResetKind kind) override;
    void power_off() override;
    void suspend_to_ram() override;
    void debug_exit(std::uint32_t value) override;
    void pulse_reset() override { reset(device::ResetKind::full); }
    /// The guest set its clock; see device::RtcObserver.
    void clock_set(std::int64_t before_s, std::int64_t delta_s) CUPULE_EXCLUDES(mutex_);

    // From the hypervisor, on a vCPU's thread.
    void vm_stopped(hypervisor::VmStop reason, const std::string& detail) override;

    // On the control thread.
    void alarm_rang() { control_.alarm_rang(); }

    // From outside.
    void force_end(EndReason reason, std::string detail);

    /// Whether a request waits for the control thread. While the processors are paused no guest
    /// adds one.
    bool waiting() const CUPULE_EXCLUDES(mutex_) {
        event::MutexLock lock(mutex_);
        return wish_ != Wish::none;
    }

  private:
    enum class Wish : std::uint8_t { none, warm_reset, full_reset, suspend, end };
    void request(Wish wish, std::optional<End> end) CUPULE_EXCLUDES(mutex_);
    void carry_out() CUPULE_EXCLUDES(mutex_);
    void tell(const GuestEvent& event);

    event::EventLoop& loop_;
    hypervisor::Vm& vm_;
    Control& control_;
    const OnCrash on_crash_;
    /// Guards the pending wish and news. A leaf lock.
    mutable event::Mutex mutex_;
    Wish wish_ CUPULE_GUARDED_BY(mutex_) = Wish::none;
    End end_ CUPULE_GUARDED_BY(mutex_);
    /// What the guest did to its clock and the control thread has not heard of yet.
    std::optional<GuestEvent> clock_change_ CUPULE_GUARDED_BY(mutex_);
};

}  // namespace cupule::machine
