#pragma once

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <thread>

#include "base/error.h"
#include "event/mutex.h"
#include "testing/host_faults.h"
#include "testing/virtio_driver.h"
#include "testing/virtio_pci_bench.h"
#include "virtio/features.h"

namespace cupule::testing {

/// DEVICE_NEEDS_RESET: what a driver sees of a queue that the host could not serve.
inline constexpr std::uint8_t needs_reset = 0x40;

/// An error that a user can understand counts as a good end, when a call has gone wrong.
template <class T>
bool good(const base::Result<T>& result) {
    if (!result) {
        EXPECT_GT(result.error().message.size(), 10U);
        EXPECT_TRUE(stop_host_faults().fired) << result.error().message;
    }
    return result.has_value();
}

/// A device behind its transport with one queue that a driver uses, while the host may fail.
class DrivenDevice {
  public:
    explicit DrivenDevice(std::uint16_t queues = 1) : queues_(queues) {}

    VirtioPciBench& bench() { return bench_; }
    VirtioDriver& driver(std::uint16_t queue) { return *drivers_[queue]; }

    /// Reset to DRIVER_OK. False when the device asks for a reset at once.
    bool start(std::uint64_t features) {
        bench_.set_status(0);
        EXPECT_TRUE(bench_.negotiate(features | virtio::feature::version_1));
        for (std::uint16_t queue = 0; queue < queues_; ++queue) {
            const VirtioDriver::Options options{
                .features = 0, .size = 16, .base = {0x1'0000U + 0x1'0000U * queue}};
            drivers_[queue].emplace(*bench_.memory, options);
            bench_.set_queue(queue, drivers_[queue]->geometry());
        }
        bench_.drive();
        return !asks_for_reset();
    }

    bool asks_for_reset() {
        bench_.loop->run_once(0);
        return (bench_.status() & needs_reset) != 0;
    }

    bool submit(std::uint16_t queue, std::span<const VirtioDriver::Buffer> buffers,
                std::uint64_t token = 0) {
        if (!drivers_[queue]->submit(buffers, token)) {
            return false;
        }
        drivers_[queue]->publish();
        bench_.notify(queue);
        return true;
    }

    /// The next answer; nothing when the device asks for a reset, which a driver sees. Silence is
    /// a failure.
    std::optional<VirtioDriver::Used> answer(std::uint16_t queue) {
        const auto used = answer_within(queue, 20'000);
        EXPECT_TRUE(used || asks_for_reset()) << "neither an answer nor DEVICE_NEEDS_RESET";
        return used;
    }
    /// The same where no answer may come.
    std::optional<VirtioDriver::Used> answer_within(std::uint16_t queue, int milliseconds) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
        while (std::chrono::steady_clock::now() < end) {
            if (const auto used = drivers_[queue]->collect()) {
                return used;
            }
            EXPECT_EQ(drivers_[queue]->violation(), "");
            if (asks_for_reset()) {
                return std::nullopt;
            }
            std::this_thread::sleep_for(std::chrono::microseconds(20));
        }
        return std::nullopt;
    }

  private:
    const std::uint16_t queues_;
    VirtioPciBench bench_;
    std::array<std::optional<VirtioDriver>, 8> drivers_{};
};

}  // namespace cupule::testing
