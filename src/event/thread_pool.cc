#include "event/thread_pool.h"

#include <pthread.h>

#include <utility>

namespace cupule::event {

ThreadPool::ThreadPool(const std::string& name, unsigned threads) {
    for (unsigned i = 0; i < threads; ++i) {
        threads_.emplace_back([this] { run(); });
        pthread_setname_np(threads_.back().native_handle(), name.c_str());
    }
}

ThreadPool::~ThreadPool() {
    {
        MutexLock lock(mutex_);
        ending_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

void ThreadPool::post(Callback work) {
    {
        MutexLock lock(mutex_);
        posted_.push_back(std::move(work));
    }
    changed_.notify_one();
}

void ThreadPool::run() {
    for (;;) {
        Callback work;
        {
            MutexLock lock(mutex_);
            while (posted_.empty() && !ending_) {
                changed_.wait(mutex_);
            }
            if (posted_.empty()) {
                return;
            }
            work = std::move(posted_.front());
            posted_.pop_front();
        }
        work();
    }
}

}  // namespace cupule::event
