// Driver and device on threads of their own, as guest and host are.

#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/file_descriptor.h"
#include "testing/virtio_driver.h"
#include "testing/virtio_workload.h"
#include "virtio/device.h"
#include "virtio/features.h"
#include "virtio/queue_config.h"

namespace cupule::virtio {
namespace {

using testing::VirtioDriver;
using testing::VirtioWorkload;

constexpr std::uint64_t ram_size = 8 << 20;
constexpr int failure_ms = 20'000;  // a wake-up that takes this long is a lost one

/// Sleeps until the eventfd was signalled, and takes the signal; false when none comes.
bool wait_for(int fd) {
    pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, failure_ms) != 1) {
        return false;
    }
    base::drain_eventfd(fd);
    return true;
}

class QueueThreads : public ::testing::TestWithParam<std::uint64_t> {
  protected:
    Queue start(const QueueGeometry& at) {
        QueueConfig config({.size_max = at.size});
        EXPECT_TRUE(config.set_area(QueueArea::descriptors, at.descriptor_area));
        EXPECT_TRUE(config.set_area(QueueArea::driver, at.driver_area));
        EXPECT_TRUE(config.set_area(QueueArea::device, at.device_area));
        config.enable();
        return *std::move(config).activate(*memory_, options_.features);
    }

    VirtioDriver::Options options_{.features = GetParam(), .size = 32, .base = {0x1'0000}};
    std::unique_ptr<memory::GuestMemory> memory_ = *memory::GuestMemory::create(
        {.pieces = {{{0}, ram_size}}, .huge_pages = memory::HugePages::never});
    base::FileDescriptor kick_ = *base::make_eventfd();
    base::FileDescriptor call_ = *base::make_eventfd();
};

/// The loop of queue.h, with sleeps; every third batch is left for the next round.
void serve(RunningQueue& running, const std::atomic<bool>& stop) {
    Queue& queue = running.queue;
    while (!stop) {
        queue.disable_notifications();
        while (Chain chain = queue.pop()) {
            const std::uint32_t written = testing::answer_request(chain);
            queue.push_used(std::move(chain), written);
            if (queue.statistics().requests % 3 == 0) {
                running.publish();
            }
        }
        running.publish();
        if (!queue.enable_notifications() && !wait_for(running.kick_fd)) {
            return;
        }
    }
}

TEST_P(QueueThreads, Class18_NoWakeUpIsLostInEitherDirection) {
    constexpr std::uint64_t requests = 20'000;
    VirtioDriver driver(*memory_, options_);
    VirtioWorkload workload(*memory_, driver, options_, {4 << 20}, 11);
    std::atomic<bool> stop = false;
    RunningQueue running{.index = 0,
                         .queue = start(driver.geometry()),
                         .kick_fd = kick_.get(),
                         .call_fd = call_.get()};
    std::thread device([&] { serve(running, stop); });
    std::mt19937_64 random(5);
    bool awake = true;
    while (awake && workload.finished() < requests && workload.problem().empty()) {
        for (std::uint64_t i = random() % 8; i > 0 && workload.submit(); --i) {
        }
        if (driver.publish()) {
            base::signal_eventfd(kick_.get());
        }
        driver.disable_interrupts();
        workload.collect();
        if (driver.outstanding() > random() % 8 && !driver.enable_interrupts()) {
            awake = wait_for(call_.get());
        }
    }
    stop = true;
    base::signal_eventfd(kick_.get());
    device.join();
    EXPECT_TRUE(awake) << "an interrupt was lost after " << workload.finished();
    EXPECT_EQ(workload.problem(), "");
    EXPECT_EQ(running.queue.fault(), QueueFault::none);
}

TEST_P(QueueThreads, Class3_AMutatorCanBreakTheQueueButNothingElse) {
    VirtioDriver driver(*memory_, options_);
    const std::uint64_t bytes = VirtioDriver::bytes_needed(options_);
    std::atomic<bool> stop = false;
    std::thread mutator([&] {
        std::mt19937_64 random(17);
        const auto store = [&](std::uint64_t at, auto value) {
            EXPECT_TRUE(memory_->store(options_.base + at % (bytes - 8), value));
        };
        while (!stop) {
            const std::uint64_t at = random();
            switch (random() % 4) {
                case 0:
                    store(at & ~1ULL, static_cast<std::uint16_t>(random() % 40));
                    break;
                case 1:
                    store(at & ~7ULL, random() % ram_size);
                    break;
                case 2:
                    store(at & ~7ULL, random() & 0x8087'0007'0000'0FFF);
                    break;
                default:
                    store(0x1000 + at % 16, static_cast<std::uint16_t>(random() % 40));
                    break;
            }
        }
    });
    Queue queue = start(driver.geometry());
    std::uint64_t faults = 0;
    std::uint64_t served = 0;
    while (faults + served < 5000 || faults == 0 || served == 0) {
        std::array<Chain, 8> chains;
        const std::size_t count = queue.pop(chains);
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint32_t written = testing::answer_request(chains[i]);
            queue.push_used(std::move(chains[i]), written);
        }
        served += count;
        if (count == 0) {
            std::this_thread::yield();
        }
        static_cast<void>(queue.publish());
        static_cast<void>(queue.enable_notifications());
        if (queue.broken()) {
            ++faults;
            queue = start(driver.geometry());  // the driver's reset
        }
    }
    stop = true;
    mutator.join();
    EXPECT_EQ(queue.in_flight(), 0U);
}

TEST_P(QueueThreads, AQueueMovesIntoAWorkerAndBack) {
    VirtioDriver driver(*memory_, options_);
    VirtioWorkload workload(*memory_, driver, options_, {4 << 20}, 23);
    Queue queue = start(driver.geometry());
    for (int round = 0; round < 50; ++round) {
        while (workload.submit()) {
        }
        driver.publish();
        std::thread worker([mine = std::move(queue), &queue]() mutable {
            for (int i = 0; i < 5; ++i) {
                if (Chain chain = mine.pop()) {
                    const std::uint32_t written = testing::answer_request(chain);
                    static_cast<void>(mine.complete(std::move(chain), written));
                }
            }
            queue = std::move(mine);
        });
        worker.join();
        workload.collect();
    }
    EXPECT_EQ(workload.problem(), "");
    EXPECT_GE(workload.finished(), 50U);
}

INSTANTIATE_TEST_SUITE_P(
    , QueueThreads,
    ::testing::Values(0, feature::event_idx | feature::indirect_desc,
                      feature::event_idx | feature::in_order, feature::ring_packed,
                      feature::ring_packed | feature::event_idx | feature::indirect_desc,
                      feature::ring_packed | feature::event_idx | feature::in_order),
    [](const auto& test) {
        return std::string((test.param & feature::ring_packed) != 0 ? "Packed" : "Split") +
               ((test.param & feature::event_idx) != 0 ? "EventIdx" : "Flags") +
               ((test.param & feature::in_order) != 0 ? "InOrder" : "");
    });

}  // namespace
}  // namespace cupule::virtio
