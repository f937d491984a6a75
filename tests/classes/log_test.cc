// Class 21, what a guest can make the host write down, on every device.

#include <random>

#include "every_device.h"
#include "testing/recording_log.h"
#include "virtio/features.h"

namespace cupule::testing {
namespace {

/// More kinds of faults than any device knows, each of which is one line for all its life.
constexpr std::size_t lines_max = 16;

class Log : public EveryDevice {
  protected:
    void start() {
        bench_.set_status(0);
        drivers_.clear();
        ASSERT_TRUE(
            bench_.negotiate(bench_.offered() & (virtio::feature::version_1 | base::mask(24))));
        const auto queues = std::min<std::size_t>(bench_.transport->device().queues().size(), 6);
        for (std::uint16_t i = 0; i < queues; ++i) {
            drivers_.push_back(std::make_unique<VirtioDriver>(
                *bench_.memory,
                VirtioDriver::Options{
                    .features = 0, .size = 16, .base = {0x1'0000 + i * 0x8000ULL}}));
            bench_.set_queue(i, drivers_[i]->geometry());
        }
        bench_.drive();
    }
    /// A request of random bytes.
    void ask(std::uint16_t queue) {
        std::vector<VirtioDriver::Buffer> buffers(1 + random_() % 3);
        bool writable = false;
        for (VirtioDriver::Buffer& buffer : buffers) {
            writable = writable || random_() % 3 == 0;
            buffer = {.address = {0x20'0000 + (random_() % 64) * 4096},
                      .length = static_cast<std::uint32_t>(1 + random_() % 600),
                      .writable = writable};
            const std::array<std::uint64_t, 3> bytes{random_(), random_() % 64, random_()};
            ASSERT_TRUE(bench_.memory->write(buffer.address, std::as_bytes(std::span(bytes))));
        }
        if (!drivers_[queue]->submit(buffers, 0)) {
            return;
        }
        drivers_[queue]->publish();
        bench_.notify(queue);
        while (drivers_[queue]->collect()) {
        }
    }
    /// Registers, too, take anything.
    void touch() {
        const std::uint64_t offset = random_() % 0x40;
        bench_.write(offset, 1U << random_() % 4, random_());
        bench_.write(0x2000 + random_() % 0x100, 1U << random_() % 4, random_());
        bench_.notify(static_cast<std::uint16_t>(random_()));
    }

    RecordingLog log_;
    std::mt19937_64 random_{21};
    std::vector<std::unique_ptr<VirtioDriver>> drivers_;
};

TEST_P(Log, Class21_NoGuestFillsTheLog) {
    for (int life = 0; life < 60; ++life) {
        start();
        for (int i = 0; i < 40; ++i) {
            for (std::uint16_t queue = 0; queue < drivers_.size(); ++queue) {
                ask(queue);
            }
            disturb();
        }
        worker_->call([] {});
        bench_.loop->run_once(0);
        for (int i = 0; i < 40; ++i) {
            touch();
        }
        worker_->call([] {});
        bench_.loop->run_once(0);
    }
    EXPECT_LE(log_.lines().size(), lines_max) << log_.text();
}

TEST_P(Log, Class21_ABrokenQueueIsOneLine) {
    const auto queues = bench_.transport->device().queues().size();
    const auto queue = static_cast<std::uint16_t>(std::min<std::size_t>(queues - 1, 1));
    for (int life = 0; life < 20; ++life) {
        start();
        ASSERT_TRUE(
            bench_.memory->store<std::uint16_t>(drivers_[queue]->geometry().driver_area + 2, 999));
        for (int i = 0; i < 3; ++i) {
            bench_.notify(queue);
            worker_->call([] {});
            bench_.loop->run_once(0);
        }
        worker_->call([] {});
        bench_.loop->run_once(0);
        EXPECT_EQ(bench_.status() & 0x40, 0x40);
    }
    ASSERT_EQ(log_.lines().size(), 1U) << log_.text();
    EXPECT_NE(log_.lines()[0].find("available index jumped"), std::string::npos) << log_.text();
}

INSTANTIATE_TEST_SUITE_P(, Log, ::testing::ValuesIn(every_device), name_of_device);

}  // namespace
}  // namespace cupule::testing
