#include "machine/life_cycle.h"

#include <utility>

#include "base/bits.h"
#include "base/log.h"

namespace cupule::machine {

void LifeCycle::reset(device::ResetKind kind) {
    request(kind == device::ResetKind::warm ? Wish::warm_reset : Wish::full_reset, std::nullopt);
}

void LifeCycle::power_off() {
    tell({.kind = GuestEventKind::power_off});
    request(Wish::end, End{.reason = EndReason::power_off});
}

void LifeCycle::suspend_to_ram() {
    request(Wish::suspend, std::nullopt);
}

void LifeCycle::debug_exit(std::uint32_t value) {
    request(Wish::end, End{.reason = EndReason::debug_exit, .debug_value = value});
}

void LifeCycle::vm_stopped(hypervisor::VmStop reason, const std::string& detail) {
    switch (reason) {
        case hypervisor::VmStop::triple_fault:
            tell({.kind = GuestEventKind::triple_fault});
            if (on_crash_ == OnCrash::exit) {
                request(Wish::end, End{.reason = EndReason::guest_crash, .detail = detail});
                break;
            }
            // What a PC's chip set makes of a processor's shutdown cycle.
            base::log_info("{}: the machine is reset", detail);
            request(Wish::full_reset, std::nullopt);
            break;
        case hypervisor::VmStop::power_off:
            tell({.kind = GuestEventKind::power_off});
            request(Wish::end, End{.reason = EndReason::power_off});
            break;
        case hypervisor::VmStop::internal_error:
            request(Wish::end, End{.reason = EndReason::hypervisor_failure, .detail = detail});
            break;
    }
}

void LifeCycle::force_end(EndReason reason, std::string detail) {
    request(Wish::end, End{.reason = reason, .detail = std::move(detail)});
}

void LifeCycle::clock_set(std::int64_t before_s, std::int64_t delta_s) {
    {
        event::MutexLock lock(mutex_);
        if (clock_change_) {
            // A guest that sets its clock without end posts no work without end.
            clock_change_->clock_delta_s =
                base::wrapping_add(clock_change_->clock_delta_s, delta_s);
            return;
        }
        clock_change_ = GuestEvent{.kind = GuestEventKind::clock_set,
                                   .clock_before_s = before_s,
                                   .clock_delta_s = delta_s};
    }
    loop_.post([this] {
        GuestEvent event;
        {
            event::MutexLock lock(mutex_);
            event = *std::exchange(clock_change_, std::nullopt);
        }
        control_.guest_event(event);
    });
}

void LifeCycle::tell(const GuestEvent& event) {
    loop_.post([this, event] { control_.guest_event(event); });
}

void LifeCycle::request(Wish wish, std::optional<End> end) {
    vm_.request_pause();
    {
        event::MutexLock lock(mutex_);
        const bool idle = wish_ == Wish::none;
        if (!idle && (wish_ == Wish::end || wish != Wish::end)) {
            return;
        }
        wish_ = wish;
        if (end) {
            end_ = std::move(*end);
        }
        if (!idle) {
            return;  // The control thread is on its way and will find the end.
        }
    }
    loop_.post([this] { carry_out(); });
}

void LifeCycle::carry_out() {
    // The processors stop first: whatever else they ask for until then is part of this request.
    vm_.pause();
    Wish wish = Wish::none;
    End end;
    {
        event::MutexLock lock(mutex_);
        wish = std::exchange(wish_, Wish::none);
        end = std::exchange(end_, End{});
    }
    switch (wish) {
        case Wish::none:
            break;
        case Wish::warm_reset:
            control_.reset_machine(device::ResetKind::warm);
            break;
        case Wish::full_reset:
            control_.reset_machine(device::ResetKind::full);
            break;
        case Wish::suspend:
            control_.suspend_machine();
            break;
        case Wish::end:
            control_.end_machine(end);
            break;
    }
}

}  // namespace cupule::machine
