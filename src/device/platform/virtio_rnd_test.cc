#include "device/platform/virtio_rnd.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>

#include "testing/virtio_fixture.h"

namespace cupule::device {
namespace {

using testing::VirtioDriver;

class CountingEntropy : public backend::EntropySource {
  public:
    base::Result<void> fill(std::span<std::byte> to) override {
        if (fail) {
            return base::fail("none left");
        }
        given += to.size();
        std::memset(to.data(), 0xA5, to.size());
        return {};
    }
    std::atomic<bool> fail{false};
    std::atomic<std::uint64_t> given{0};
};

class VirtioRndTest : public testing::VirtioFixture<std::uint64_t> {
  protected:
    VirtioRndTest() {
        ring_size_ = 16;
        bench_ = std::make_unique<testing::VirtioPciBench>(
            std::make_unique<VirtioRnd>(source_, *worker_));
    }
    void start() { drive(GetParam(), 1); }
    VirtioDriver::Used request(std::uint32_t bytes, bool writable = true) {
        submit(0, {.address = {4 << 20}, .length = bytes, .writable = writable});
        return used(0);
    }

    CountingEntropy source_;
};

TEST_P(VirtioRndTest, FillsBuffersAndNoMoreThanItsLimit) {
    start();
    ASSERT_TRUE(bench_->memory->fill({4 << 20}, std::byte{0}, 8192));
    EXPECT_EQ(request(100).written, 100U);
    EXPECT_EQ(bench_->memory->load<std::uint8_t>({(4 << 20) + 99}), 0xA5);
    EXPECT_EQ(bench_->memory->load<std::uint8_t>({(4 << 20) + 100}), 0);
    EXPECT_EQ(request(8192).written, VirtioRnd::request_bytes_max);
    EXPECT_EQ(source_.given, 100 + VirtioRnd::request_bytes_max);
    EXPECT_EQ(drivers_[0]->violation(), "");
    settle();
    const auto reports = bench_->transport->device().report();
    ASSERT_EQ(reports.size(), 1U);
    EXPECT_EQ(reports[0].requests, 2U);
    EXPECT_EQ(reports[0].bytes, source_.given);
    EXPECT_GE(reports[0].kicks, 1U);
    EXPECT_EQ(reports[0].interrupts + reports[0].suppressed, 2U);
    EXPECT_EQ(reports[0].latency.total(), 2U);
}

TEST_P(VirtioRndTest, AnswersABufferItCannotWriteWithNothing) {
    start();
    EXPECT_EQ(request(64, false).written, 0U);
    EXPECT_EQ(request(64).written, 64U);
}

TEST_P(VirtioRndTest, AnEmptySourceGivesNothingAndTheDeviceGoesOn) {
    start();
    source_.fail = true;
    EXPECT_EQ(request(64).written, 0U);
    source_.fail = false;
    EXPECT_EQ(request(64).written, 64U);
}

TEST_P(VirtioRndTest, ResetsUnderLoadStopTheWorkerEachTime) {
    for (int round = 0; round < 50; ++round) {
        start();
        const VirtioDriver::Buffer buffer{.address = {4 << 20}, .length = 64, .writable = true};
        for (std::uint64_t i = 0; i < 8; ++i) {
            ASSERT_TRUE(drivers_[0]->submit(std::span(&buffer, 1), i));
        }
        drivers_[0]->publish();
        bench_->notify(0);
        bench_->set_status(0);
        const std::uint64_t then = source_.given;
        worker_->call([] {});
        EXPECT_EQ(source_.given, then);
    }
}

INSTANTIATE_TEST_SUITE_P(Rings, VirtioRndTest,
                         ::testing::Values(virtio::feature::version_1,
                                           virtio::feature::version_1 |
                                               virtio::feature::ring_packed));

TEST(EntropyBudget, GivesAWindowsBytesAndThenWaitsForTheNext) {
    EntropyBudget budget;
    EXPECT_EQ(budget.delay_ns(1000), 0U);
    EXPECT_EQ(budget.take(EntropyBudget::window_bytes + 5), EntropyBudget::window_bytes);
    EXPECT_EQ(budget.delay_ns(2000), EntropyBudget::window_ns - 1000);
    EXPECT_EQ(budget.take(1), 0U);
    EXPECT_EQ(budget.delay_ns(1000 + EntropyBudget::window_ns), 0U);
    EXPECT_EQ(budget.take(1), 1U);
}

}  // namespace
}  // namespace cupule::device
