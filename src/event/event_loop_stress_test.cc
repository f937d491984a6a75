// Many threads use one loop at once; meant for TSan, and true without it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "event/event_loop.h"

namespace cupule::event {
namespace {

constexpr int threads = 4;
constexpr int rounds = 1500;

/// Runs a loop on its own thread while `work` runs on several others.
void run_beside(EventLoop& loop, const std::function<void(unsigned thread)>& work) {
    std::thread runner([&] { loop.run(); });
    std::vector<std::thread> workers;
    for (unsigned i = 0; i < threads; ++i) {
        workers.emplace_back([&, i] { work(i); });
    }
    for (std::thread& worker : workers) {
        worker.join();
    }
    loop.stop();
    runner.join();
}

/// What one monitor guards, as a device's: a timer that several threads start and stop.
struct TimedDevice {
    Monitor monitor;
    std::unique_ptr<Timer> timer;
    std::uint64_t deadline_ns = 0;
    std::uint64_t early = 0;
    std::uint64_t unwanted = 0;
    std::uint64_t fired = 0;
};

TEST(EventLoopStress, TimersStartedAndStoppedByManyThreadsFireOnceAndNeverEarlyOrAfterAStop) {
    const auto loop = *EventLoop::create();
    std::array<TimedDevice, 3> devices;
    for (TimedDevice& device : devices) {
        device.timer = loop->make_timer(device.monitor, [&] {
            ++device.fired;
            device.early += loop->clock().now_ns() < device.deadline_ns ? 1U : 0U;
            device.unwanted += device.deadline_ns == 0 ? 1 : 0;
            device.deadline_ns = 0;
        });
    }
    run_beside(*loop, [&](unsigned thread) {
        std::minstd_rand random(thread + 1);
        for (int i = 0; i < rounds; ++i) {
            TimedDevice& device = devices.at(random() % devices.size());
            MutexLock lock(device.monitor);
            if (random() % 3 == 0) {
                device.timer->stop();
                device.deadline_ns = 0;
            } else {
                device.deadline_ns = loop->clock().now_ns() + random() % (50 * ns_per_us);
                device.timer->start_at(device.deadline_ns);
            }
            EXPECT_EQ(device.timer->running(), device.deadline_ns != 0);
        }
    });
    // What still waits comes in its time, and a timer that was stopped last still starts.
    for (TimedDevice& device : devices) {
        {
            MutexLock lock(device.monitor);
            if (!device.timer->running()) {
                device.deadline_ns = loop->clock().now_ns() + 1;
                device.timer->start_at(device.deadline_ns);
            }
        }
        for (;;) {
            loop->run_once(1);
            MutexLock lock(device.monitor);
            if (!device.timer->running()) {
                break;
            }
        }
        MutexLock lock(device.monitor);
        EXPECT_GT(device.fired, 0U);
        EXPECT_EQ(device.early, 0U);
        EXPECT_EQ(device.unwanted, 0U);
        device.timer.reset();
    }
}

TEST(EventLoopStress, TimersMayDieWhileTheyFire) {
    const auto loop = *EventLoop::create();
    std::array<Monitor, threads> monitors;
    std::atomic<std::uint64_t> fired{0};
    run_beside(*loop, [&](unsigned thread) {
        Monitor& monitor = monitors.at(thread);
        for (int i = 0; i < rounds; ++i) {
            auto alive = std::make_unique<int>(1);
            auto timer = loop->make_timer(monitor, [&fired, value = alive.get()] {
                fired.fetch_add(static_cast<std::uint64_t>(*value));
            });
            {
                MutexLock lock(monitor);
                timer->start_at(loop->clock().now_ns());
            }
            if (i % 16 == 0) {
                std::this_thread::sleep_for(std::chrono::microseconds(50));
            }
            MutexLock lock(monitor);
            timer.reset();
            alive.reset();  // ASan: no callback comes from now on
        }
    });
    EXPECT_GT(fired.load(), 0U);
}

TEST(EventLoopStress, WatchesMayDieOrPauseWhileTheyFire) {
    const auto loop = *EventLoop::create();
    std::array<Monitor, threads> monitors;
    std::atomic<std::uint64_t> fired{0};
    std::atomic<std::uint64_t> while_paused{0};
    run_beside(*loop, [&](unsigned thread) {
        Monitor& monitor = monitors.at(thread);
        for (int i = 0; i < rounds; ++i) {
            const auto pipe = *base::make_eventfd();
            base::signal_eventfd(pipe.get());  // ready, and never read: fires again and again
            auto paused = std::make_unique<bool>(false);
            auto watch =
                loop->watch(pipe.get(), EPOLLIN, monitor, [&, flag = paused.get()](std::uint32_t) {
                    fired.fetch_add(1);
                    while_paused.fetch_add(*flag ? 1 : 0);
                });
            ASSERT_TRUE(watch.has_value());
            if (i % 16 == 0) {
                std::this_thread::sleep_for(std::chrono::microseconds(50));
            }
            {
                MutexLock lock(monitor);
                (*watch)->set_events(0);
                *paused = true;
            }
            if (i % 16 == 0) {
                std::this_thread::sleep_for(std::chrono::microseconds(50));
            }
            MutexLock lock(monitor);
            watch->reset();
            paused.reset();
        }
    });
    EXPECT_GT(fired.load(), 0U);
    EXPECT_EQ(while_paused.load(), 0U);
}

TEST(EventLoopStress, WorkPostedByManyThreadsRunsOnceAndInEachThreadsOrder) {
    const auto loop = *EventLoop::create();
    std::array<int, threads> next{};
    std::atomic<int> done{0};
    bool in_order = true;
    run_beside(*loop, [&](unsigned thread) {
        for (int i = 0; i < rounds; ++i) {
            loop->post([&, thread, i] {
                in_order = in_order && next.at(thread)++ == i;
                done.fetch_add(1);
            });
        }
        while (done.load() < threads * rounds) {
            std::this_thread::yield();
        }
    });
    EXPECT_TRUE(in_order);
    EXPECT_EQ(done.load(), threads * rounds);
}

}  // namespace
}  // namespace cupule::event
