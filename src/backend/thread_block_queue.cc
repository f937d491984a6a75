#include "backend/thread_block_queue.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/file_descriptor.h"
#include "event/mutex.h"

namespace cupule::backend {
namespace {

class ThreadBlockQueue : public BlockQueue {
  public:
    ThreadBlockQueue(BlockStore& store, event::ThreadPool& threads, unsigned depth,
                     base::FileDescriptor bell)
        : store_(store), threads_(threads), depth_(depth), bell_(std::move(bell)) {}

    bool submit(const BlockRequest& request) override {
        if (under_way_ >= depth_) {
            return false;
        }
        ++under_way_;
        threads_.post([this, request] { finish({request.token, execute(store_, request)}); });
        return true;
    }
    void kick() override {}

    std::size_t collect(std::span<BlockCompletion> to) override {
        event::MutexLock lock(mutex_);
        const std::size_t count = std::min(to.size(), done_.size());
        std::copy_n(done_.begin(), count, to.begin());
        done_.erase(done_.begin(), done_.begin() + static_cast<std::ptrdiff_t>(count));
        under_way_ -= static_cast<unsigned>(count);
        return count;
    }

    void wait() override {
        event::MutexLock lock(mutex_);
        while (done_.empty()) {
            ended_.wait(mutex_);
        }
    }

    int event_fd() const override { return bell_.get(); }
    bool arm() override {
        event::MutexLock lock(mutex_);
        armed_ = true;
        return !done_.empty();
    }
    void disarm() override {
        event::MutexLock lock(mutex_);
        armed_ = false;
    }

  private:
    void finish(BlockCompletion completion) CUPULE_EXCLUDES(mutex_) {
        event::MutexLock lock(mutex_);
        done_.push_back(completion);
        if (armed_) {
            base::signal_eventfd(bell_.get());
        }
        // Under the lock: the queue may be gone as soon as its owner has collected this.
        ended_.notify_all();
    }

    BlockStore& store_;
    event::ThreadPool& threads_;
    const unsigned depth_;
    unsigned under_way_ = 0;
    base::FileDescriptor bell_;
    /// Guards what follows. A leaf.
    event::Mutex mutex_;
    event::Condition ended_;
    std::vector<BlockCompletion> done_ CUPULE_GUARDED_BY(mutex_);
    bool armed_ CUPULE_GUARDED_BY(mutex_) = false;
};

}  // namespace

base::Result<std::unique_ptr<BlockQueue>> make_thread_block_queue(BlockStore& store,
                                                                  event::ThreadPool& threads,
                                                                  unsigned depth) {
    CUPULE_TRY_ASSIGN(auto bell, base::make_eventfd());
    return std::make_unique<ThreadBlockQueue>(store, threads, depth, std::move(bell));
}

}  // namespace cupule::backend
