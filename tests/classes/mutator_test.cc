// Class 3, what is read twice, on every device: a thread of the guest changes rings, tables,
// headers and data while the device works on them. Under ASan and TSan this is where a second look
// at guest memory shows.

#include <atomic>
#include <random>
#include <thread>

#include "every_device.h"
#include "virtio/features.h"

namespace cupule::testing {
namespace {

constexpr std::uint64_t rings_at = 0x1'0000;
constexpr std::uint64_t ring_bytes = 0x8000;
constexpr std::uint64_t data_at = 2 << 20;
constexpr std::uint64_t data_bytes = 64 << 10;
constexpr std::uint16_t queues_max = 8;
constexpr unsigned lives = 40;
constexpr unsigned lives_max = 20'000;
constexpr unsigned rounds = 12;

class Mutator : public EveryDevice {
  protected:
    ~Mutator() override { stop(); }

    void mutate() {
        thread_ = std::thread([this] {
            std::mt19937_64 random(23);
            while (!stop_) {
                change(random);
            }
        });
    }
    void stop() {
        stop_ = true;
        if (thread_.joinable()) {
            thread_.join();
        }
    }

    void change(std::mt19937_64& random) {
        const std::uint64_t ring = rings_at + random() % (queues_max * ring_bytes - 8);
        const std::uint64_t data = data_at + random() % (data_bytes - 8);
        const memory::GuestMemory& memory = *bench_.memory;
        switch (random() % 6) {
            case 0:
                EXPECT_TRUE(
                    memory.store({ring & ~1ULL}, static_cast<std::uint16_t>(random() % 40)));
                break;
            case 1:
                EXPECT_TRUE(memory.store({ring & ~7ULL}, random() % VirtioPciBench::ram_size));
                break;
            case 2:
                EXPECT_TRUE(memory.store({ring & ~7ULL}, random() & 0x8087'0007'0000'0FFF));
                break;
            case 3:
                EXPECT_TRUE(
                    memory.store({data & ~3ULL}, static_cast<std::uint32_t>(random() % 16)));
                break;
            case 4:
                EXPECT_TRUE(memory.store({data & ~7ULL}, random() % 4096));
                break;
            default:
                EXPECT_TRUE(memory.store({data & ~7ULL}, random()));
                break;
        }
    }

    /// Reset to DRIVER_OK with every queue there is.
    bool start(std::uint64_t features) {
        bench_.set_status(0);
        drivers_.clear();
        if (!bench_.negotiate(features & bench_.offered())) {
            return false;
        }
        const auto queues =
            std::min<std::size_t>(bench_.transport->device().queues().size(), queues_max);
        for (std::uint16_t i = 0; i < queues; ++i) {
            drivers_.push_back(std::make_unique<VirtioDriver>(
                *bench_.memory,
                VirtioDriver::Options{
                    .features = features, .size = 16, .base = {rings_at + i * ring_bytes}}));
            bench_.set_queue(i, drivers_[i]->geometry());
        }
        bench_.drive();
        return true;
    }

    /// A chain of one to four buffers, readable ones first, anywhere in the data.
    void submit(std::uint16_t queue) {
        std::vector<VirtioDriver::Buffer> buffers(1 + random_() % 4);
        const std::size_t readable = random_() % (buffers.size() + 1);
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            const std::uint64_t offset = random_() % (data_bytes / 2) & ~7ULL;
            const auto length = static_cast<std::uint32_t>(random_() % 3 == 0 ? 16 : 512);
            buffers[i] = {{data_at + offset}, length, i >= readable};
        }
        static_cast<void>(drivers_[queue]->submit(buffers, 0));
        static_cast<void>(drivers_[queue]->publish());
        bench_.notify(queue);
    }

    std::mt19937_64 random_{42};
    std::atomic<bool> stop_{false};
    std::thread thread_;
    std::vector<std::unique_ptr<VirtioDriver>> drivers_;
};

TEST_P(Mutator, Class3_ChangesGuestMemoryWhileTheDeviceRuns) {
    using namespace virtio::feature;
    mutate();
    unsigned broken = 0;
    // At least until it broke a queue: a tame mutator proves nothing.
    for (unsigned life = 0; life < lives || (broken == 0 && life < lives_max); ++life) {
        const std::uint64_t features = version_1 | 0xFF'FFFF | (life % 2 != 0 ? ring_packed : 0) |
                                       (life % 3 != 0 ? indirect_desc | event_idx : 0);
        ASSERT_TRUE(start(features));
        for (unsigned round = 0; round < rounds; ++round) {
            for (std::uint16_t queue = 0; queue < drivers_.size(); ++queue) {
                submit(queue);
            }
            disturb();
            bench_.loop->run_once(0);
        }
        broken += (bench_.status() & 0x40) != 0 ? 1U : 0U;
    }
    stop();
    // Nothing of it lasts: a driver that behaves finds a device that works.
    ASSERT_TRUE(start(version_1));
    EXPECT_EQ(bench_.status(), 0x0F);
    bench_.set_status(0);
    EXPECT_GT(broken, 0U) << "it was too tame to break a queue";
}

INSTANTIATE_TEST_SUITE_P(, Mutator, ::testing::ValuesIn(every_device), name_of_device);

}  // namespace
}  // namespace cupule::testing
