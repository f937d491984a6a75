#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "event/worker.h"
#include "testing/virtio_driver.h"
#include "testing/virtio_pci_bench.h"

namespace cupule::testing {

/// What tests of virtio devices share: the device on a bus of its own, the worker it is served by,
/// and the driver's side of its queues, by number. `Parameter` as in ::testing::TestWithParam.
template <class Parameter>
class VirtioFixture : public ::testing::TestWithParam<Parameter> {
  protected:
    static constexpr int failure_ms = 20'000;

    /// The device goes before what the test made for it.
    void TearDown() override { bench_.reset(); }

    /// Up to DRIVER_OK, with the first `queues` queues.
    void drive(std::uint64_t features, std::uint16_t queues) {
        features_ = features;
        ASSERT_TRUE(bench_->negotiate(features_));
        for (std::uint16_t queue = 0; queue < queues; ++queue) {
            add_queue(queue);
        }
        bench_->drive();
        ASSERT_EQ(bench_->status(), 0x0F);
    }
    void add_queue(std::uint16_t queue) {
        const VirtioDriver::Options options{
            .features = features_, .size = ring_size_, .base = {0x1'0000 + 0x8000ULL * queue}};
        drivers_[queue] = std::make_unique<VirtioDriver>(*bench_->memory, options);
        bench_->set_queue(queue, drivers_[queue]->geometry());
    }

    void submit(std::uint16_t queue, std::span<const VirtioDriver::Buffer> buffers,
                std::uint64_t token = 1) {
        ASSERT_TRUE(drivers_[queue]->submit(buffers, token));
        if (drivers_[queue]->publish()) {
            notify(queue);
        }
    }
    void submit(std::uint16_t queue, const VirtioDriver::Buffer& buffer, std::uint64_t token = 1) {
        submit(queue, std::span(&buffer, 1), token);
    }
    virtual void notify(std::uint16_t queue) { bench_->notify(queue); }

    /// The next used chain; silence is a failure.
    VirtioDriver::Used used(std::uint16_t queue) {
        std::optional<VirtioDriver::Used> got;
        EXPECT_TRUE(until([&] {
            got = drivers_[queue]->collect();
            return got.has_value();
        })) << "queue "
            << queue << " is silent";
        EXPECT_EQ(drivers_[queue]->violation(), "");
        return got.value_or(VirtioDriver::Used{});
    }
    /// Nothing was used although all that was asked has been worked on.
    bool silent(std::uint16_t queue) {
        settle();
        return !drivers_[queue]->collect().has_value();
    }
    /// Waits for the work of other threads and of the loop; false when it does not come to `what`.
    bool until(const std::function<bool()>& what) {
        for (int i = 0; i < failure_ms; ++i) {
            if (what()) {
                return true;
            }
            bench_->loop->run_once(1);
        }
        return false;
    }

    template <class Work>
    auto on_worker(Work work) {
        return worker_->call(std::move(work));
    }
    /// Lets the worker do what it has been told of.
    void settle() {
        for (int i = 0; i < 8; ++i) {
            on_worker([] {});
        }
    }

    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("test");
    std::unique_ptr<VirtioPciBench> bench_;
    /// What was negotiated.
    std::uint64_t features_ = 0;
    std::uint16_t ring_size_ = 64;
    std::map<std::uint16_t, std::unique_ptr<VirtioDriver>> drivers_;
};

}  // namespace cupule::testing
