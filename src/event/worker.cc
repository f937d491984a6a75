#include "event/worker.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include "base/text.h"

namespace cupule::event {

namespace {

base::Result<void> pin(pthread_t thread, std::span<const unsigned> cpus) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const unsigned cpu : cpus) {
        if (cpu >= CPU_SETSIZE) {
            return base::fail_errno(EINVAL, "a worker cannot run on CPU {}", cpu);
        }
        CPU_SET(cpu, &set);
    }
    cpu_set_t taken;
    CPU_ZERO(&taken);
    int error = pthread_setaffinity_np(thread, sizeof set, &set);
    if (error == 0) {
        error = pthread_getaffinity_np(thread, sizeof taken, &taken);
    }
    // Linux drops processors that it has not.
    if (error != 0 || CPU_EQUAL(&set, &taken) == 0) {
        return base::fail_errno(error != 0 ? error : EINVAL, "a worker cannot run on CPU {}",
                                fmt::join(cpus, ", "));
    }
    return {};
}

/// The threads that carry out io_uring's requests for this one, as Linux names them
/// (io_uring/io-wq.c, create_io_worker), which have the class that this thread had when they were
/// made: gives them the ordinary one.
void restore_io_threads() {
    const std::string name = fmt::format("iou-wrk-{}", gettid());
    std::error_code none_more;
    for (std::filesystem::directory_iterator task("/proc/self/task", none_more), end;
         !none_more && task != end; task.increment(none_more)) {
        std::string found;
        std::getline(std::ifstream(task->path() / "comm"), found);
        const auto thread = base::to_number<pid_t>(task->path().filename().native());
        if (found == name && thread && sched_getscheduler(*thread) == SCHED_BATCH) {
            const sched_param none{};
            sched_setscheduler(*thread, SCHED_OTHER, &none);
        }
    }
}

}  // namespace

base::Result<std::unique_ptr<Worker>> Worker::create(const std::string& name,
                                                     std::span<const unsigned> cpus) {
    CUPULE_TRY_ASSIGN(auto loop, EventLoop::create());
    std::unique_ptr<Worker> worker(new Worker(std::move(loop)));
    worker->thread_ = std::thread([loop = worker->loop_.get()] { loop->run(); });
    pthread_setname_np(worker->thread_.native_handle(), name.c_str());
    if (!cpus.empty()) {
        CUPULE_TRY(pin(worker->thread_.native_handle(), cpus));
    }
    return worker;
}

Worker::~Worker() {
    loop_->stop();
    thread_.join();
}

void Worker::follow_patience() {
    // Threads of the batch class differ from others in one thing: woken, they wait until whoever
    // runs on the processor sleeps or has had its share. With a processor free they run at once.
    const int policy = is_patient_ ? SCHED_OTHER : SCHED_BATCH;
    const sched_param none{};
    may_wait_ = sched_getscheduler(0) == (is_patient_ ? SCHED_BATCH : SCHED_OTHER) &&
                sched_setscheduler(0, policy, &none) == 0;
    is_patient_ = may_wait_ ? !is_patient_ : is_patient_;
    if (!is_patient_) {
        restore_io_threads();
    }
}

void Worker::run(const std::function<void()>& work) {
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
