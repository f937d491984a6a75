#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "event/mutex.h"
#include "event/timer.h"

namespace cupule::event {

/// Threads for calls that wait for the host. Work runs with no lock held, several at once, begun in
/// the order it was posted.
class ThreadPool {
  public:
    /// `name`: at most 15 bytes, as the host shows each thread. `threads`: at least 1.
    ThreadPool(const std::string& name, unsigned threads);
    /// Runs all that was posted, then ends.
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    void post(Callback work) CUPULE_EXCLUDES(mutex_);

  private:
    void run() CUPULE_EXCLUDES(mutex_);

    /// Guards what follows. A leaf.
    Mutex mutex_;
    Condition changed_;
    std::deque<Callback> posted_ CUPULE_GUARDED_BY(mutex_);
    bool ending_ CUPULE_GUARDED_BY(mutex_) = false;
    std::vector<std::thread> threads_;
};

}  // namespace cupule::event
