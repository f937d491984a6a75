#include "event/worker.h"

#include <gtest/gtest.h>
#include <liburing.h>
#include <sched.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "base/file_descriptor.h"

namespace cupule::event {
namespace {

TEST(Worker, CallRunsOnTheWorkersOwnThreadAndHasEndedWhenItReturns) {
    auto worker = *Worker::create("test");
    std::thread::id first;
    worker->call([&] { first = std::this_thread::get_id(); });
    const std::thread::id second = worker->call([] { return std::this_thread::get_id(); });
    EXPECT_NE(first, std::this_thread::get_id());
    EXPECT_EQ(first, second);
}

TEST(Worker, AWatchThatCallDestroyedFiresNoMore) {
    auto worker = *Worker::create("test");
    const auto fd = *base::make_eventfd();
    int fired = 0;
    std::unique_ptr<FdWatch> watch;
    worker->call([&] {
        watch = *worker->loop().watch(fd.get(), EPOLLIN, worker->monitor(),
                                      [&](std::uint32_t) { ++fired; });
    });
    for (int i = 0; i < 100; ++i) {
        base::signal_eventfd(fd.get());
    }
    worker->call([&] { watch.reset(); });
    const int then = fired;
    base::signal_eventfd(fd.get());
    worker->call([] {});
    EXPECT_EQ(fired, then);
}

TEST(Worker, RunsOnTheProcessorsItIsGiven) {
    cpu_set_t allowed;
    ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    unsigned last = 0;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        last = CPU_ISSET(cpu, &allowed) ? cpu : last;
    }
    auto worker = *Worker::create("test", std::span(&last, 1));
    cpu_set_t found;
    worker->call([&] { sched_getaffinity(0, sizeof found, &found); });
    EXPECT_EQ(CPU_COUNT(&found), 1);
    EXPECT_TRUE(CPU_ISSET(last, &found));
    for (const unsigned none : {unsigned{CPU_SETSIZE - 1}, 1U << 20}) {
        const std::array<unsigned, 2> cpus{last, none};
        EXPECT_FALSE(Worker::create("test", cpus).has_value());
    }
}

/// The worker's policy after so many batches of one request.
int policy_after(Worker& worker, std::uint64_t batches) {
    return worker.call([&] {
        for (std::uint64_t i = 0; i < batches; ++i) {
            worker.served(1);
        }
        return sched_getscheduler(0);
    });
}

void choose_policy(Worker& worker, int policy) {
    worker.call([&] {
        const sched_param none{};
        ASSERT_EQ(sched_setscheduler(0, policy, &none), 0);
    });
}

TEST(Worker, LetsItsWakersGoOnWhileItIsPatientOnly) {
    auto worker = *Worker::create("test");
    choose_policy(*worker, SCHED_OTHER);
    EXPECT_EQ(policy_after(*worker, WakePatience::eager_batches - 1), SCHED_OTHER);
    EXPECT_EQ(policy_after(*worker, 1), SCHED_BATCH);
    EXPECT_EQ(policy_after(*worker, WakePatience::trial_batches - 1), SCHED_BATCH);
    EXPECT_EQ(policy_after(*worker, 1), SCHED_OTHER);
    worker->call([&] { worker->served(0); });  // nothing was handed back: says nothing
}

/// The class of the thread that carries out the worker's io_uring requests; -1: there is none.
int io_thread_policy(pid_t worker) {
    const std::string name = "iou-wrk-" + std::to_string(worker);
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        std::string found;
        std::getline(std::ifstream(task.path() / "comm"), found);
        if (found == name) {
            return sched_getscheduler(std::stoi(task.path().filename()));
        }
    }
    return -1;
}

TEST(Worker, ThreadsOfIoUringsAreOrdinaryOnesAfterATrial) {
    auto worker = *Worker::create("test");
    choose_policy(*worker, SCHED_OTHER);
    const pid_t thread = worker->call([] { return gettid(); });
    io_uring ring{};
    if (worker->call([&] { return io_uring_queue_init(4, &ring, 0); }) != 0) {
        GTEST_SKIP() << "the host refuses io_uring";
    }
    EXPECT_EQ(policy_after(*worker, WakePatience::eager_batches), SCHED_BATCH);
    worker->call([&] {
        io_uring_sqe* const entry = io_uring_get_sqe(&ring);
        io_uring_prep_nop(entry);
        io_uring_sqe_set_flags(entry, IOSQE_ASYNC);
        io_uring_submit_and_wait(&ring, 1);
    });
    EXPECT_EQ(io_thread_policy(thread), SCHED_BATCH);
    EXPECT_EQ(policy_after(*worker, WakePatience::trial_batches), SCHED_OTHER);
    EXPECT_EQ(io_thread_policy(thread), SCHED_OTHER);
    worker->call([&] { io_uring_queue_exit(&ring); });
}

TEST(Worker, LeavesASchedulingThatTheUserChoseAlone) {
    auto worker = *Worker::create("test");
    choose_policy(*worker, SCHED_IDLE);
    EXPECT_EQ(policy_after(*worker, 10 * WakePatience::eager_batches), SCHED_IDLE);
    // Also one that comes in between, which is not undone at the end of a trial.
    auto other = *Worker::create("test");
    choose_policy(*other, SCHED_OTHER);
    EXPECT_EQ(policy_after(*other, WakePatience::eager_batches), SCHED_BATCH);
    choose_policy(*other, SCHED_IDLE);
    EXPECT_EQ(policy_after(*other, 10 * WakePatience::eager_batches), SCHED_IDLE);
}

TEST(Worker, EndsWithWorkNeverAskedForAndAfterWork) {
    for (int i = 0; i < 20; ++i) {
        auto worker = *Worker::create("test");
        if (i % 2 == 0) {
            worker->call([] {});
        }
    }
}

}  // namespace
}  // namespace cupule::event
