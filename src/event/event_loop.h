#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "event/clock.h"
#include "event/mutex.h"
#include "event/timer.h"

namespace cupule::event {

/// Watches one file descriptor. All calls with the monitor held that the watch was made with.
/// Destroying it ends the watch; a callback under way on another thread has ended or will not
/// start.
class FdWatch {
  public:
    virtual ~FdWatch() = default;
    /// Replaces the awaited epoll events (EPOLLIN, EPOLLOUT; 0 pauses). Level-triggered.
    virtual void set_events(std::uint32_t epoll_events) = 0;
};

/// Work that is looked for instead of waited for, while looking pays. On the loop's thread, with
/// the monitor held that the poller was made with; destroying it ends it, as with a watch.
class Poller {
  public:
    virtual ~Poller() = default;
    /// From now on the loop does not sleep: it looks, between its other events, until a look says
    /// that it was the last one.
    virtual void start() = 0;
};

/// One thread's loop over file descriptors, timers, posted work and pollers. `run` belongs to one
/// thread; all else may be called from any. Devices and their monitors must outlive the last `run`,
/// and watches and timers must be destroyed before the loop is.
class EventLoop {
  public:
    using FdCallback = std::move_only_function<void(std::uint32_t epoll_events)>;

    /// `clock`: nullptr is the host's; a test's must be the host's with jumps forward.
    static base::Result<std::unique_ptr<EventLoop>> create(std::unique_ptr<Clock> clock = nullptr);
    ~EventLoop();
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;

    /// Handles events until `stop`. May be called again afterwards.
    void run();
    /// Ends `run` after the callback that is under way; ends the next `run` at once if none is.
    void stop();
    /// Handles what is due now and returns, waiting at most `timeout_ms` (-1: no limit) for
    /// something.
    void run_once(int timeout_ms);

    /// Runs `work` on the loop's thread, in posting order, with no lock held.
    void post(Callback work) CUPULE_EXCLUDES(mutex_);

    /// Calls `callback` with `monitor` held when one of `epoll_events` is there. The descriptor
    /// stays the caller's and must stay open until the watch is destroyed.
    base::Result<std::unique_ptr<FdWatch>> watch(int fd, std::uint32_t epoll_events,
                                                 Monitor& monitor, FdCallback callback)
        CUPULE_EXCLUDES(mutex_);

    /// A timer on `clock()` whose callback runs on the loop's thread with `monitor` held.
    std::unique_ptr<Timer> make_timer(Monitor& monitor, Callback fired);

    /// Looks for work with `monitor` held, between `start` and the first time it returns false. Its
    /// argument is what `clock` says. One look should be short: others have their turn after it.
    using Look = std::move_only_function<bool(std::uint64_t now_ns)>;
    std::unique_ptr<Poller> make_poller(Monitor& monitor, Look look);

    const Clock& clock() const { return *clock_; }
    /// The clock has jumped: timers that are due by now fire in the next turn.
    void clock_jumped() CUPULE_EXCLUDES(mutex_);

  private:
    struct WatchEntry;
    struct TimerEntry;
    struct PollerEntry;
    class Watch;
    class LoopTimer;
    class LoopPoller;

    EventLoop(std::unique_ptr<Clock> clock, base::FileDescriptor epoll, base::FileDescriptor wake,
              base::FileDescriptor timer);
    void run_posted() CUPULE_EXCLUDES(mutex_);
    void run_timers() CUPULE_EXCLUDES(mutex_);
    void run_watch(std::uint64_t id, std::uint32_t epoll_events) CUPULE_EXCLUDES(mutex_);
    void run_pollers();
    void program_timer_fd() CUPULE_REQUIRES(mutex_);

    std::unique_ptr<Clock> clock_;
    base::FileDescriptor epoll_;
    base::FileDescriptor wake_;
    base::FileDescriptor timer_fd_;
    std::atomic<bool> stopping_{false};
    /// Started and not yet done; only on the loop's thread.
    std::vector<std::shared_ptr<PollerEntry>> looking_;

    /// Guards what follows. A leaf: no callback runs and no monitor is taken while it is held.
    Mutex mutex_;
    std::vector<Callback> posted_ CUPULE_GUARDED_BY(mutex_);
    std::map<std::uint64_t, std::shared_ptr<WatchEntry>> watches_ CUPULE_GUARDED_BY(mutex_);
    std::set<std::pair<std::uint64_t, std::shared_ptr<TimerEntry>>> timers_
        CUPULE_GUARDED_BY(mutex_);
    std::uint64_t programmed_deadline_ns_ CUPULE_GUARDED_BY(mutex_) = 0;
    std::uint64_t next_watch_id_ CUPULE_GUARDED_BY(mutex_) = 2;
};

/// The timers of one device: binds a loop and the device's monitor.
class MonitorTimers : public TimerService {
  public:
    MonitorTimers(EventLoop& loop, Monitor& monitor) : loop_(loop), monitor_(monitor) {}
    std::unique_ptr<Timer> make_timer(Callback fired) override {
        return loop_.make_timer(monitor_, std::move(fired));
    }

  private:
    EventLoop& loop_;
    Monitor& monitor_;
};

}  // namespace cupule::event
