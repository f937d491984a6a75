#include "hypervisor/kvm/level_events.h"

#include <pthread.h>
#include <sys/epoll.h>

#include <cerrno>
#include <csignal>
#include <utility>

namespace cupule::hypervisor {

base::Result<std::unique_ptr<LevelEvents>> LevelEvents::create(SplitIrqchip& chips) {
    CUPULE_TRY_ASSIGN(auto loop, event::EventLoop::create());
    return std::unique_ptr<LevelEvents>(new LevelEvents(chips, std::move(loop)));
}

LevelEvents::LevelEvents(SplitIrqchip& chips, std::unique_ptr<event::EventLoop> loop)
    : chips_(chips), loop_(std::move(loop)), thread_([this] {
          sigset_t all;
          sigfillset(&all);
          pthread_sigmask(SIG_SETMASK, &all, nullptr);
          pthread_setname_np(pthread_self(), "intx");
          loop_->run();
      }) {}

LevelEvents::~LevelEvents() {
    loop_->stop();
    thread_.join();
    event::MutexLock lock(monitor_);
    for (const auto& [eventfd, route] : routes_) {
        chips_.remove_source(route.gsi, route.resample_eventfd);
    }
    routes_.clear();
}

base::Result<void> LevelEvents::add(int eventfd, unsigned gsi, int resample_eventfd) {
    event::MutexLock lock(monitor_);
    if (routes_.contains(eventfd)) {
        return base::fail_errno(EBUSY, "an eventfd asserts one GSI at a time, not {} too", gsi);
    }
    chips_.add_source(gsi, resample_eventfd);
    auto watch = loop_->watch(eventfd, EPOLLIN, monitor_, [this, eventfd, gsi](std::uint32_t) {
        base::drain_eventfd(eventfd);
        chips_.assert_source(gsi);
    });
    if (!watch) {
        chips_.remove_source(gsi, resample_eventfd);
        return std::unexpected(watch.error());
    }
    routes_.emplace(
        eventfd,
        Route{.gsi = gsi, .resample_eventfd = resample_eventfd, .watch = std::move(*watch)});
    return {};
}

void LevelEvents::remove(int eventfd) {
    event::MutexLock lock(monitor_);
    const auto found = routes_.find(eventfd);
    if (found != routes_.end()) {
        found->second.watch.reset();
        chips_.remove_source(found->second.gsi, found->second.resample_eventfd);
        routes_.erase(found);
    }
}

}  // namespace cupule::hypervisor
