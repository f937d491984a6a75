#include "event/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>

namespace cupule::event {
namespace {

TEST(ThreadPool, RunsAllThatWasPostedBeforeItEnds) {
    std::atomic<int> done{0};
    {
        ThreadPool pool("test", 3);
        for (int i = 0; i < 1000; ++i) {
            pool.post([&done] { ++done; });
        }
    }
    EXPECT_EQ(done, 1000);
}

TEST(ThreadPool, WorkThatWaitsDoesNotHoldUpOthers) {
    ThreadPool pool("test", 2);
    std::atomic<bool> second{false};
    std::atomic<bool> first{false};
    pool.post([&] {
        while (!second) {
            std::this_thread::yield();
        }
        first = true;
    });
    pool.post([&] { second = true; });
    while (!first) {
        std::this_thread::yield();
    }
}

}  // namespace
}  // namespace cupule::event
