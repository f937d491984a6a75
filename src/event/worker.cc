#include "event/worker.h"

#include <pthread.h>

#include <utility>

namespace cupule::event {

base::Result<std::unique_ptr<Worker>> Worker::create(const std::string& name) {
    CUPULE_TRY_ASSIGN(auto loop, EventLoop::create());
    std::unique_ptr<Worker> worker(new Worker(std::move(loop)));
    worker->thread_ = std::thread([loop = worker->loop_.get()] { loop->run(); });
    pthread_setname_np(worker->thread_.native_handle(), name.c_str());
    return worker;
}

Worker::~Worker() {
    loop_->stop();
    thread_.join();
}

void Worker::call(std::function<void()> work) {
    struct Done {
        Mutex mutex;
        Condition condition;
        bool done CUPULE_GUARDED_BY(mutex) = false;
    } done;
    loop_->post([this, &work, &done] {
        {
            MutexLock lock(monitor_);
            work();
        }
        MutexLock lock(done.mutex);
        done.done = true;
        // Under the lock: `done` is gone as soon as the caller sees it.
        done.condition.notify_all();
    });
    MutexLock lock(done.mutex);
    while (!done.done) {
        done.condition.wait(done.mutex);
    }
}

}  // namespace cupule::event
