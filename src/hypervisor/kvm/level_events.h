#pragma once

#include <map>
#include <memory>
#include <thread>

#include "base/error.h"
#include "event/event_loop.h"
#include "hypervisor/kvm/split_irqchip.h"

namespace cupule::hypervisor {

/// Level interrupts that an eventfd asserts, for chips that are not the kernel's: a thread waits
/// for the eventfds. Any thread.
class LevelEvents {
  public:
    /// `chips` outlives it.
    static base::Result<std::unique_ptr<LevelEvents>> create(SplitIrqchip& chips);
    ~LevelEvents();
    LevelEvents(const LevelEvents&) = delete;
    LevelEvents& operator=(const LevelEvents&) = delete;

    /// As hypervisor::InterruptEventRegistrar::route_level; both stay open until `remove`.
    base::Result<void> add(int eventfd, unsigned gsi, int resample_eventfd)
        CUPULE_EXCLUDES(monitor_);
    /// Nothing happens where `eventfd` was not added.
    void remove(int eventfd) CUPULE_EXCLUDES(monitor_);

  private:
    struct Route {
        unsigned gsi = 0;
        int resample_eventfd = -1;
        std::unique_ptr<event::FdWatch> watch{};
    };
    LevelEvents(SplitIrqchip& chips, std::unique_ptr<event::EventLoop> loop);

    SplitIrqchip& chips_;
    std::unique_ptr<event::EventLoop> loop_;
    /// Guards the routes; the chips are entered with it held.
    event::Monitor monitor_;
    std::map<int, Route> routes_ CUPULE_GUARDED_BY(monitor_);
    std::thread thread_;
};

}  // namespace cupule::hypervisor
