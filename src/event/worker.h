#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "event/event_loop.h"
#include "event/wake_patience.h"

namespace cupule::event {

/// A thread of its own around an event loop, for what must not wait on a vCPU or on the control
/// thread: running virtqueues. What lives on it is made, used and destroyed by it alone, through
/// `call`; its watches and timers are made with `monitor`, which `call` holds too.
class Worker {
  public:
    /// `name`: at most 15 bytes, as the host shows the thread. `cpus`: the processors of the host
    /// it may run on, as Linux numbers them; empty: all. Fails when the host has not one of them.
    static base::Result<std::unique_ptr<Worker>> create(const std::string& name,
                                                        std::span<const unsigned> cpus = {});
    /// Ends the thread after the callback that is under way. Watches and timers on its loop are
    /// gone by then. Not from the worker's thread.
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    /// Runs `work` on the worker's thread with `monitor` held and returns when it has ended; waits
    /// for the callback that is under way, which therefore must never wait for a monitor of this
    /// caller. Any other thread, with any monitor but the worker's held. What `work` returns comes
    /// back.
    template <class Work>
    auto call(Work work) {
        using Value = std::invoke_result_t<Work&>;
        if constexpr (std::is_void_v<Value>) {
            run(std::ref(work));
        } else {
            std::optional<Value> value;
            run([&] { value.emplace(work()); });
            return std::move(*value);
        }
    }

    /// So many requests of a driver, of all queues here, were handed back together. Where that
    /// shows that it pays, the thread lets whoever wakes it go on (WakePatience). On the worker's
    /// thread.
    void served(std::uint64_t count) {
        if (count != 0 && may_wait_) {
            patience_.served(count, loop_->clock());
            if (patience_.patient() != is_patient_) {
                follow_patience();
            }
        }
    }

    EventLoop& loop() { return *loop_; }
    Monitor& monitor() { return monitor_; }

  private:
    explicit Worker(std::unique_ptr<EventLoop> loop) : loop_(std::move(loop)) {}
    void run(const std::function<void()>& work);
    void follow_patience();

    /// Held by whatever runs on the thread; nobody else takes it, it is what the loop's interface
    /// asks for.
    Monitor monitor_;
    std::unique_ptr<EventLoop> loop_;
    std::thread thread_;

    // Only on the worker.
    WakePatience patience_;
    bool is_patient_ = false;
    /// The host's ordinary scheduling is what the thread has: another choice is the user's.
    bool may_wait_ = true;
};

}  // namespace cupule::event
