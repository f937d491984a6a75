#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

// Clang's thread-safety attributes (https://clang.llvm.org/docs/ThreadSafetyAnalysis.html); nothing
// on other compilers.
#if defined(__clang__)
#define CUPULE_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define CUPULE_THREAD_ATTRIBUTE(x)
#endif
#define CUPULE_CAPABILITY(x) CUPULE_THREAD_ATTRIBUTE(capability(x))
#define CUPULE_SCOPED_CAPABILITY CUPULE_THREAD_ATTRIBUTE(scoped_lockable)
#define CUPULE_GUARDED_BY(x) CUPULE_THREAD_ATTRIBUTE(guarded_by(x))
#define CUPULE_REQUIRES(...) CUPULE_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define CUPULE_EXCLUDES(...) CUPULE_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define CUPULE_ACQUIRE(...) CUPULE_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define CUPULE_RELEASE(...) CUPULE_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define CUPULE_TRY_ACQUIRE(...) CUPULE_THREAD_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
#define CUPULE_NO_THREAD_SAFETY_ANALYSIS CUPULE_THREAD_ATTRIBUTE(no_thread_safety_analysis)

namespace cupule::event {

/// A mutex that clang's analysis understands. Say at each one what it guards.
class CUPULE_CAPABILITY("mutex") Mutex {
  public:
    Mutex() = default;
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;

    void lock() CUPULE_ACQUIRE() { mutex_.lock(); }
    void unlock() CUPULE_RELEASE() { mutex_.unlock(); }
    bool try_lock() CUPULE_TRY_ACQUIRE(true) { return mutex_.try_lock(); }

  private:
    std::mutex mutex_;
};

/// A device's lock. Whoever enters a device (dispatcher, timer, back end, reset, save) holds it;
/// the device itself never takes it, so device code is single-threaded. Lock order: at most one
/// monitor at a time per thread, leaf locks (router, address space, event loop) inside it.
using Monitor = Mutex;

class CUPULE_SCOPED_CAPABILITY MutexLock {
  public:
    explicit MutexLock(Mutex& mutex) CUPULE_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
    ~MutexLock() CUPULE_RELEASE() { mutex_.unlock(); }
    MutexLock(const MutexLock&) = delete;
    MutexLock& operator=(const MutexLock&) = delete;

  private:
    Mutex& mutex_;
};

/// A condition variable for Mutex: `while (!ready_) { condition_.wait(mutex_); }`.
class Condition {
  public:
    void wait(Mutex& mutex) CUPULE_REQUIRES(mutex) { condition_.wait(mutex); }
    /// As `wait`, for at most `ns` nanoseconds of real time.
    void wait_for(Mutex& mutex, std::uint64_t ns) CUPULE_REQUIRES(mutex) {
        condition_.wait_for(mutex, std::chrono::nanoseconds(ns));
    }
    void notify_all() { condition_.notify_all(); }
    void notify_one() { condition_.notify_one(); }

  private:
    std::condition_variable_any condition_;
};

}  // namespace cupule::event
