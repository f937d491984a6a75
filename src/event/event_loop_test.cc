#include "event/event_loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <thread>

namespace cupule::event {
namespace {

std::unique_ptr<EventLoop> make_loop() {
    return *EventLoop::create();
}

TEST(EventLoop, RunsPostedWorkInOrderAndStops) {
    const auto loop = make_loop();
    std::vector<int> order;
    std::thread poster([&] {
        loop->post([&] { order.push_back(1); });
        loop->post([&] { order.push_back(2); });
        loop->post([&] { loop->stop(); });
    });
    loop->run();
    poster.join();
    EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(EventLoop, FiresTimersInDeadlineOrder) {
    const auto loop = make_loop();
    Monitor monitor;
    std::vector<int> order;
    const auto late = loop->make_timer(monitor, [&] {
        order.push_back(2);
        loop->stop();
    });
    const auto early = loop->make_timer(monitor, [&] { order.push_back(1); });
    const std::uint64_t now = loop->clock().now_ns();
    {
        MutexLock lock(monitor);
        late->start_at(now + 2 * ns_per_ms);
        early->start_at(now + ns_per_ms);
    }
    loop->run();
    EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(EventLoop, AStoppedOrRestartedTimerDoesNotFireItsOldDeadline) {
    const auto loop = make_loop();
    Monitor monitor;
    int fired = 0;
    const auto stopped = loop->make_timer(monitor, [&] { ++fired; });
    const auto end = loop->make_timer(monitor, [&] { loop->stop(); });
    const std::uint64_t now = loop->clock().now_ns();
    {
        MutexLock lock(monitor);
        stopped->start_at(now);
        stopped->stop();
        EXPECT_FALSE(stopped->running());
        end->start_at(now + ns_per_ms);
    }
    loop->run();
    EXPECT_EQ(fired, 0);
}

TEST(EventLoop, CallsAWatchUntilItIsPausedOrDestroyed) {
    const auto loop = make_loop();
    Monitor monitor;
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
    const base::FileDescriptor reader(ends[0]);
    const base::FileDescriptor writer(ends[1]);
    int calls = 0;
    auto watch = *loop->watch(reader.get(), EPOLLIN, monitor, [&](std::uint32_t) { ++calls; });
    ASSERT_EQ(write(writer.get(), "x", 1), 1);
    loop->run_once(1000);
    EXPECT_EQ(calls, 1);
    {
        MutexLock lock(monitor);
        watch->set_events(0);
    }
    loop->run_once(0);
    EXPECT_EQ(calls, 1);
    MutexLock lock(monitor);
    watch.reset();
}

TEST(EventLoop, APollerLooksUntilItSaysThatItIsDoneAndMayStartAgain) {
    const auto loop = make_loop();
    Monitor monitor;
    int looks = 0;
    const auto poller = loop->make_poller(monitor, [&](std::uint64_t) { return ++looks % 3 != 0; });
    loop->run_once(0);
    EXPECT_EQ(looks, 0);
    for (int round = 1; round <= 2; ++round) {
        {
            MutexLock lock(monitor);
            poller->start();
            poller->start();
        }
        for (int i = 0; i < 5; ++i) {
            loop->run_once(0);
        }
        EXPECT_EQ(looks, 3 * round);
    }
}

TEST(EventLoop, PollersLookInTurnAndKeepNothingElseFromItsTurn) {
    const auto loop = make_loop();
    Monitor monitor;
    int first = 0;
    int second = 0;
    const auto one = loop->make_poller(monitor, [&](std::uint64_t) { return ++first != 0; });
    const auto other = loop->make_poller(monitor, [&](std::uint64_t) {
        ++second;
        if (second == 100) {
            loop->post([&] { loop->stop(); });
        }
        return true;
    });
    {
        MutexLock lock(monitor);
        one->start();
        other->start();
    }
    loop->run();
    EXPECT_GE(second, 100);
    EXPECT_EQ(first, second);
}

TEST(EventLoop, ADestroyedPollerLooksNoMoreEvenWhenItDestroysItself) {
    const auto loop = make_loop();
    Monitor monitor;
    int looks = 0;
    std::unique_ptr<Poller> own;
    own = loop->make_poller(monitor, [&](std::uint64_t) {
        ++looks;
        own.reset();
        return true;
    });
    auto other = loop->make_poller(monitor, [&](std::uint64_t) { return ++looks != 0; });
    {
        MutexLock lock(monitor);
        own->start();
        other->start();
        other.reset();
    }
    loop->run_once(0);
    loop->run_once(0);
    EXPECT_EQ(looks, 1);
}

}  // namespace
}  // namespace cupule::event
