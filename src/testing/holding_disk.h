#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "backend/block_store.h"
#include "base/file_descriptor.h"
#include "event/mutex.h"

namespace cupule::testing {

/// A disk whose requests are under way until the test ends them: a host that is slow. It then does
/// by another one what they ask for. One queue at a time.
class HoldingDisk : public backend::BlockStore {
  public:
    /// `disk` outlives it.
    explicit HoldingDisk(backend::BlockStore& disk) : disk_(disk) {}

    /// Requests under way.
    std::size_t held() CUPULE_EXCLUDES(mutex_) {
        event::MutexLock lock(mutex_);
        return held_.size();
    }
    /// Whether a queue sleeps until one ends, as when it is being stopped.
    bool waited_for() CUPULE_EXCLUDES(mutex_) {
        event::MutexLock lock(mutex_);
        return waited_for_;
    }
    /// Ends those under way, at most `count`, the oldest first. Any thread. How many those were.
    std::size_t let_go(std::size_t count = ~std::size_t{0}) CUPULE_EXCLUDES(mutex_) {
        event::MutexLock lock(mutex_);
        std::size_t ended = 0;
        for (; ended < count && !held_.empty(); ++ended) {
            const backend::BlockRequest request = held_.front();
            held_.pop_front();
            done_.push_back({.token = request.token, .error = backend::execute(disk_, request)});
        }
        if (ended != 0 && armed_) {
            base::signal_eventfd(bell_.get());
        }
        ended_.notify_all();
        return ended;
    }

    std::uint64_t size() const override { return disk_.size(); }
    base::Result<void> read(std::span<const iovec> to, std::uint64_t at) override {
        return disk_.read(to, at);
    }
    base::Result<void> write(std::span<const iovec> from, std::uint64_t at) override {
        return disk_.write(from, at);
    }
    base::Result<void> flush() override { return disk_.flush(); }
    base::Result<void> discard(std::uint64_t at, std::uint64_t bytes) override {
        return disk_.discard(at, bytes);
    }
    base::Result<void> write_zeroes(std::uint64_t at, std::uint64_t bytes, bool unmap) override {
        return disk_.write_zeroes(at, bytes, unmap);
    }
    base::Result<std::unique_ptr<backend::BlockQueue>> make_queue(unsigned depth) override {
        return std::make_unique<Queue>(*this, depth);
    }

  private:
    class Queue : public backend::BlockQueue {
      public:
        Queue(HoldingDisk& disk, unsigned depth) : disk_(disk), depth_(depth) {}
        bool submit(const backend::BlockRequest& request) override {
            event::MutexLock lock(disk_.mutex_);
            if (disk_.held_.size() + disk_.done_.size() >= depth_) {
                return false;
            }
            disk_.held_.push_back(request);
            return true;
        }
        void kick() override {}
        std::size_t collect(std::span<backend::BlockCompletion> to) override {
            event::MutexLock lock(disk_.mutex_);
            const std::size_t count = std::min(to.size(), disk_.done_.size());
            std::copy_n(disk_.done_.begin(), count, to.begin());
            disk_.done_.erase(disk_.done_.begin(),
                              disk_.done_.begin() + static_cast<std::ptrdiff_t>(count));
            return count;
        }
        void wait() override {
            event::MutexLock lock(disk_.mutex_);
            while (disk_.done_.empty()) {
                disk_.waited_for_ = true;
                disk_.ended_.wait(disk_.mutex_);
            }
            disk_.waited_for_ = false;
        }
        int event_fd() const override { return disk_.bell_.get(); }
        bool arm() override {
            event::MutexLock lock(disk_.mutex_);
            disk_.armed_ = true;
            return !disk_.done_.empty();
        }
        void disarm() override {
            event::MutexLock lock(disk_.mutex_);
            disk_.armed_ = false;
        }

      private:
        HoldingDisk& disk_;
        const unsigned depth_;
    };

    backend::BlockStore& disk_;
    base::FileDescriptor bell_ = *base::make_eventfd();
    /// Guards what follows.
    event::Mutex mutex_;
    event::Condition ended_;
    std::deque<backend::BlockRequest> held_ CUPULE_GUARDED_BY(mutex_);
    std::vector<backend::BlockCompletion> done_ CUPULE_GUARDED_BY(mutex_);
    bool armed_ CUPULE_GUARDED_BY(mutex_) = false;
    bool waited_for_ CUPULE_GUARDED_BY(mutex_) = false;
};

}  // namespace cupule::testing
