#include "event/event_loop.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <array>
#include <cerrno>
#include <ctime>

#include "event/system_clock.h"

namespace cupule::event {
namespace {

constexpr std::uint64_t wake_id = 0;
constexpr std::uint64_t timer_id = 1;
/// How long pollers look before descriptors and timers have their turn, which costs one system
/// call.
constexpr std::uint64_t polling_turn_ns = 20 * ns_per_us;

}  // namespace

struct EventLoop::WatchEntry {
    int fd = -1;
    Monitor* monitor = nullptr;
    FdCallback callback;
    /// Guarded by *monitor.
    bool alive = true;
    bool paused = false;
};

struct EventLoop::TimerEntry {
    Monitor* monitor = nullptr;
    Callback fired;
    /// Guarded by *monitor: the armed deadline, 0 when stopped or dead.
    std::uint64_t deadline_ns = 0;
};

struct EventLoop::PollerEntry {
    Monitor* monitor = nullptr;
    Look look;
    /// Guarded by *monitor, as is `looking`: it is in the loop's list.
    bool alive = true;
    bool looking = false;
};

class EventLoop::Watch : public FdWatch {
  public:
    Watch(EventLoop& loop, std::uint64_t id, std::shared_ptr<WatchEntry> entry)
        : loop_(loop), id_(id), entry_(std::move(entry)) {}

    ~Watch() override {
        entry_->alive = false;
        epoll_ctl(loop_.epoll_.get(), EPOLL_CTL_DEL, entry_->fd, nullptr);
        MutexLock lock(loop_.mutex_);
        loop_.watches_.erase(id_);
    }

    void set_events(std::uint32_t epoll_events) override {
        // A paused descriptor stays in the set, as the way back into it may fail for want of
        // memory. EPOLLHUP and EPOLLERR cannot be masked: as edges they come once.
        epoll_event event{.events = epoll_events != 0 ? epoll_events : std::uint32_t{EPOLLET},
                          .data = {.u64 = id_}};
        epoll_ctl(loop_.epoll_.get(), EPOLL_CTL_MOD, entry_->fd, &event);
        entry_->paused = epoll_events == 0;
    }

  private:
    EventLoop& loop_;
    std::uint64_t id_;
    std::shared_ptr<WatchEntry> entry_;
};

class EventLoop::LoopTimer : public Timer {
  public:
    LoopTimer(EventLoop& loop, Monitor& monitor, Callback fired)
        : loop_(loop), entry_(std::make_shared<TimerEntry>()) {
        entry_->monitor = &monitor;
        entry_->fired = std::move(fired);
    }
    ~LoopTimer() override { stop(); }

    void start_at(std::uint64_t deadline_ns) override {
        deadline_ns = deadline_ns == 0 ? 1 : deadline_ns;
        MutexLock lock(loop_.mutex_);
        loop_.timers_.erase({entry_->deadline_ns, entry_});
        entry_->deadline_ns = deadline_ns;
        loop_.timers_.emplace(deadline_ns, entry_);
        loop_.program_timer_fd();
    }

    void stop() override {
        if (entry_->deadline_ns == 0) {
            return;
        }
        MutexLock lock(loop_.mutex_);
        loop_.timers_.erase({entry_->deadline_ns, entry_});
        entry_->deadline_ns = 0;
    }

    bool running() const override { return entry_->deadline_ns != 0; }

  private:
    EventLoop& loop_;
    std::shared_ptr<TimerEntry> entry_;
};

class EventLoop::LoopPoller : public Poller {
  public:
    LoopPoller(EventLoop& loop, std::shared_ptr<PollerEntry> entry)
        : loop_(loop), entry_(std::move(entry)) {}
    ~LoopPoller() override { entry_->alive = false; }

    void start() override {
        if (!std::exchange(entry_->looking, true)) {
            loop_.looking_.push_back(entry_);
        }
    }

  private:
    EventLoop& loop_;
    std::shared_ptr<PollerEntry> entry_;
};

base::Result<std::unique_ptr<EventLoop>> EventLoop::create(std::unique_ptr<Clock> clock) {
    base::FileDescriptor epoll(epoll_create1(EPOLL_CLOEXEC));
    if (!epoll) {
        return base::fail_errno(errno, "cannot create an epoll descriptor");
    }
    CUPULE_TRY_ASSIGN(base::FileDescriptor wake, base::make_eventfd());
    base::FileDescriptor timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!timer) {
        return base::fail_errno(errno, "cannot create a timerfd");
    }
    epoll_event wake_event{.events = EPOLLIN, .data = {.u64 = wake_id}};
    epoll_event timer_event{.events = EPOLLIN, .data = {.u64 = timer_id}};
    if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &wake_event) < 0 ||
        epoll_ctl(epoll.get(), EPOLL_CTL_ADD, timer.get(), &timer_event) < 0) {
        return base::fail_errno(errno, "cannot watch the event loop's own descriptors");
    }
    if (!clock) {
        clock = std::make_unique<SystemClock>();
    }
    return std::unique_ptr<EventLoop>(
        new EventLoop(std::move(clock), std::move(epoll), std::move(wake), std::move(timer)));
}

EventLoop::EventLoop(std::unique_ptr<Clock> clock, base::FileDescriptor epoll,
                     base::FileDescriptor wake, base::FileDescriptor timer)
    : clock_(std::move(clock)),
      epoll_(std::move(epoll)),
      wake_(std::move(wake)),
      timer_fd_(std::move(timer)) {}

EventLoop::~EventLoop() = default;

void EventLoop::run() {
    while (!stopping_.exchange(false)) {
        run_once(-1);
    }
}

void EventLoop::stop() {
    stopping_.store(true);
    base::signal_eventfd(wake_.get());
}

void EventLoop::run_once(int timeout_ms) {
    std::array<epoll_event, 16> events{};
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                 looking_.empty() ? timeout_ms : 0);
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (event.data.u64 == wake_id) {
            base::drain_eventfd(wake_.get());
            run_posted();
        } else if (event.data.u64 == timer_id) {
            base::drain_eventfd(timer_fd_.get());
            run_timers();
        } else {
            run_watch(event.data.u64, event.events);
        }
    }
    if (!looking_.empty()) {
        run_pollers();
    }
}

void EventLoop::post(Callback work) {
    {
        MutexLock lock(mutex_);
        posted_.push_back(std::move(work));
    }
    base::signal_eventfd(wake_.get());
}

base::Result<std::unique_ptr<FdWatch>> EventLoop::watch(int fd, std::uint32_t epoll_events,
                                                        Monitor& monitor, FdCallback callback) {
    auto entry = std::make_shared<WatchEntry>();
    entry->fd = fd;
    entry->monitor = &monitor;
    entry->callback = std::move(callback);
    std::uint64_t id = 0;
    {
        MutexLock lock(mutex_);
        id = next_watch_id_++;
        watches_.emplace(id, entry);
    }
    epoll_event event{.events = epoll_events, .data = {.u64 = id}};
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0) {
        const int code = errno;
        MutexLock lock(mutex_);
        watches_.erase(id);
        return base::fail_errno(code, "cannot watch file descriptor {}", fd);
    }
    return std::make_unique<Watch>(*this, id, std::move(entry));
}

std::unique_ptr<Timer> EventLoop::make_timer(Monitor& monitor, Callback fired) {
    return std::make_unique<LoopTimer>(*this, monitor, std::move(fired));
}

std::unique_ptr<Poller> EventLoop::make_poller(Monitor& monitor, Look look) {
    auto entry = std::make_shared<PollerEntry>();
    entry->monitor = &monitor;
    entry->look = std::move(look);
    return std::make_unique<LoopPoller>(*this, std::move(entry));
}

void EventLoop::run_pollers() {
    const std::uint64_t began_ns = clock_->now_ns();
    std::uint64_t now_ns = began_ns;
    while (!looking_.empty() && now_ns - began_ns < polling_turn_ns) {
        // A look may start another poller, which goes to the end of the list.
        for (std::size_t i = 0; i < looking_.size();) {
            const std::shared_ptr<PollerEntry> entry = looking_[i];
            MutexLock lock(*entry->monitor);
            if (entry->alive && entry->look(now_ns)) {
                ++i;
                continue;
            }
            entry->looking = false;
            looking_.erase(looking_.begin() + static_cast<std::ptrdiff_t>(i));
        }
        now_ns = clock_->now_ns();
    }
}

void EventLoop::run_posted() {
    std::vector<Callback> work;
    {
        MutexLock lock(mutex_);
        work.swap(posted_);
    }
    for (Callback& item : work) {
        item();
    }
}

void EventLoop::run_timers() {
    const std::uint64_t now = clock_->now_ns();
    std::vector<std::pair<std::uint64_t, std::shared_ptr<TimerEntry>>> due;
    {
        MutexLock lock(mutex_);
        programmed_deadline_ns_ = 0;
        while (!timers_.empty() && timers_.begin()->first <= now) {
            due.push_back(*timers_.begin());
            timers_.erase(timers_.begin());
        }
        program_timer_fd();
    }
    for (auto& [deadline_ns, entry] : due) {
        MutexLock lock(*entry->monitor);
        // Stopped, restarted or dead since it was taken from the queue: the old deadline is void.
        if (entry->deadline_ns == deadline_ns) {
            entry->deadline_ns = 0;
            entry->fired();
        }
    }
}

void EventLoop::run_watch(std::uint64_t id, std::uint32_t epoll_events) {
    std::shared_ptr<WatchEntry> entry;
    {
        MutexLock lock(mutex_);
        const auto found = watches_.find(id);
        if (found == watches_.end()) {
            return;
        }
        entry = found->second;
    }
    MutexLock lock(*entry->monitor);
    // Destroyed or paused since epoll reported it: the news is void.
    if (entry->alive && !entry->paused) {
        entry->callback(epoll_events);
    }
}

void EventLoop::clock_jumped() {
    MutexLock lock(mutex_);
    const itimerspec at_once{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1}};
    timerfd_settime(timer_fd_.get(), TFD_TIMER_ABSTIME, &at_once, nullptr);
    programmed_deadline_ns_ = 1;
}

void EventLoop::program_timer_fd() {
    const std::uint64_t next = timers_.empty() ? 0 : timers_.begin()->first;
    if (next == 0 || (programmed_deadline_ns_ != 0 && programmed_deadline_ns_ <= next)) {
        return;  // Nothing to wait for, or an earlier wake-up is set and will look again.
    }
    itimerspec spec{};
    spec.it_value.tv_sec = static_cast<time_t>(next / ns_per_s);
    spec.it_value.tv_nsec = static_cast<long>(next % ns_per_s);
    timerfd_settime(timer_fd_.get(), TFD_TIMER_ABSTIME, &spec, nullptr);
    programmed_deadline_ns_ = next;
}

}  // namespace cupule::event
