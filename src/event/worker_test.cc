#include "event/worker.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <thread>

#include "base/file_descriptor.h"

namespace cupule::event {
namespace {

TEST(Worker, CallRunsOnTheWorkersOwnThreadAndHasEndedWhenItReturns) {
    auto worker = *Worker::create("test");
    std::thread::id first;
    std::thread::id second;
    worker->call([&] { first = std::this_thread::get_id(); });
    worker->call([&] { second = std::this_thread::get_id(); });
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
