// Reset, pause and removal at every number of requests in flight, which the host ends late: nobody
// touches the driver's memory afterwards, and the disk works again.

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "device/storage/virtio_blk.h"
#include "testing/holding_disk.h"
#include "testing/memory_disk.h"
#include "testing/virtio_pci_bench.h"
#include "virtio/features.h"

namespace cupule::device {
namespace {

using testing::VirtioDriver;
using testing::VirtioPciBench;
using virtio::feature::version_1;

constexpr int failure_ms = 20'000;
constexpr std::uint16_t ring_size = 16;
constexpr std::uint64_t header_at = 3 << 20;
constexpr std::uint64_t status_at = header_at + 0x1000;
constexpr std::uint64_t data_at = 4 << 20;
constexpr std::uint32_t data_bytes = 512;

/// How a device is stopped.
enum class Way : std::uint8_t { status, machine, dma_off, ring, removal };

class BlkInFlight : public ::testing::TestWithParam<std::tuple<std::uint64_t, Way>> {
  protected:
    BlkInFlight() {
        const std::array<std::byte, data_bytes> there{std::byte{0x5A}};
        const iovec all{.iov_base = const_cast<std::byte*>(there.data()), .iov_len = there.size()};
        EXPECT_TRUE(memory_disk_.write(std::span(&all, 1), 0));
        plug_in();
    }

    static Way way() { return std::get<1>(GetParam()); }
    void plug_in() {
        bench_.plug_in(std::make_unique<VirtioBlk>(VirtioBlkSpec{}, &disk_, workers_));
    }
    void start() {
        const std::uint64_t features =
            std::get<0>(GetParam()) | virtio::feature::indirect_desc | virtio::feature::ring_reset;
        make_driver(features);
        ASSERT_TRUE(bench_.negotiate(features));
        bench_.set_queue(0, driver_->geometry());
        bench_.drive();
        ASSERT_EQ(bench_.status(), 0x0F);
    }
    void make_driver(std::uint64_t features) {
        driver_ = std::make_unique<VirtioDriver>(
            *bench_.memory,
            VirtioDriver::Options{.features = features, .size = ring_size, .base = {0x1'0000}});
    }
    /// Reads of sector 0, each with a place of its own.
    void submit(std::uint32_t count) {
        ASSERT_TRUE(bench_.memory->fill({header_at}, std::byte{0}, 16));
        for (std::uint32_t i = 0; i < count; ++i) {
            ASSERT_TRUE(
                bench_.memory->fill({data_at + i * data_bytes}, std::byte{0xCC}, data_bytes));
            ASSERT_TRUE(bench_.memory->store<std::uint8_t>({status_at + i}, 0xEE));
            const std::array<VirtioDriver::Buffer, 3> buffers{
                {{{header_at}, 16, false},
                 {{data_at + i * data_bytes}, data_bytes, true},
                 {{status_at + i}, 1, true}}};
            ASSERT_TRUE(driver_->submit(buffers, i, VirtioDriver::Shape::indirect));
        }
        driver_->publish();
        bench_.notify(0);
        await([&] { return disk_.held() == count; });
    }
    static void await(const std::function<bool()>& done) {
        for (int i = 0; i < failure_ms; ++i) {
            if (done()) {
                return;
            }
            poll(nullptr, 0, 1);
        }
        FAIL() << "it never came";
    }
    void check_answers(std::uint32_t count) {
        for (std::uint32_t i = 0; i < count; ++i) {
            std::optional<VirtioDriver::Used> used;
            await([&] { return (used = driver_->collect()).has_value(); });
            EXPECT_EQ(used->written, data_bytes + 1);
            EXPECT_EQ(bench_.memory->load<std::uint8_t>({status_at + used->token}), 0);
            EXPECT_EQ(bench_.memory->load<std::uint8_t>({data_at + used->token * data_bytes}),
                      0x5A);
        }
        EXPECT_FALSE(driver_->collect());
        EXPECT_EQ(driver_->violation(), "");
    }
    std::vector<std::byte> ram() const {
        std::vector<std::byte> bytes(VirtioPciBench::ram_size);
        EXPECT_TRUE(bench_.memory->read({0}, bytes));
        return bytes;
    }

    void stop() {
        switch (way()) {
            case Way::status:
                return bench_.set_status(0);
            case Way::machine: {
                event::MutexLock lock(bench_.monitor);
                return bench_.transport->reset();
            }
            case Way::dma_off:
                return bench_.write_config(4, 2, 3);
            case Way::ring:
                return bench_.write(virtio::pci_layout::common::queue_reset, 2, 1);
            case Way::removal:
                return bench_.transport.reset();
        }
    }
    /// The host ends one request after the other while the device is being stopped, which lasts
    /// until the last one.
    void stop_with_late_answers(std::uint32_t count) {
        std::atomic<bool> over{false};
        std::thread stopping([&] {
            stop();
            over = true;
        });
        for (std::uint32_t i = 0; i < count; ++i) {
            EXPECT_FALSE(over) << "with " << count - i << " requests in flight";
            EXPECT_EQ(disk_.let_go(1), 1U);
            std::this_thread::yield();
        }
        stopping.join();
        EXPECT_EQ(disk_.held(), 0U);
    }
    void settle() {
        for (int i = 0; i < 4; ++i) {
            worker_->call([] {});
            bench_.loop->run_once(0);
        }
    }
    void go_on(std::uint32_t count) {
        switch (way()) {
            case Way::dma_off:
                bench_.write_config(4, 2, 7);
                return check_answers(count);
            case Way::ring:
                EXPECT_EQ(bench_.read(virtio::pci_layout::common::queue_reset, 2), 0U);
                make_driver(std::get<0>(GetParam()) | virtio::feature::indirect_desc);
                return bench_.set_queue(0, driver_->geometry());
            case Way::removal:
                plug_in();
                return start();
            case Way::machine: {
                {
                    event::MutexLock lock(bench_.monitor);
                    bench_.place();
                }
                return start();
            }
            case Way::status:
                return start();
        }
    }

    testing::MemoryDisk memory_disk_;
    testing::HoldingDisk disk_{memory_disk_};
    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("test");
    std::vector<event::Worker*> workers_{worker_.get()};
    VirtioPciBench bench_;
    std::unique_ptr<VirtioDriver> driver_;
};

TEST_P(BlkInFlight, Class2_LateAnswersTouchNothingAndTheDiskWorksAgain) {
    start();
    for (std::uint32_t in_flight = 0; in_flight <= ring_size; ++in_flight) {
        SCOPED_TRACE(in_flight);
        submit(in_flight);
        stop_with_late_answers(in_flight);
        // The driver's from here on.
        const std::vector<std::byte> before = ram();
        settle();
        EXPECT_TRUE(ram() == before);
        go_on(in_flight);
        submit(1);
        EXPECT_EQ(disk_.let_go(), 1U);
        check_answers(1);
        if (::testing::Test::HasFailure()) {
            break;
        }
    }
    disk_.let_go();
}

std::string name_of(const ::testing::TestParamInfo<std::tuple<std::uint64_t, Way>>& info) {
    const auto [features, way] = info.param;
    const char* const ways[] = {"Reset", "MachineReset", "DmaOff", "RingReset", "Removal"};
    return std::string((features & virtio::feature::ring_packed) != 0 ? "Packed" : "Split") +
           ways[static_cast<unsigned>(way)];
}

INSTANTIATE_TEST_SUITE_P(
    , BlkInFlight,
    ::testing::Combine(::testing::Values(version_1, version_1 | virtio::feature::ring_packed),
                       ::testing::Values(Way::status, Way::machine, Way::dma_off, Way::ring,
                                         Way::removal)),
    name_of);

}  // namespace
}  // namespace cupule::device
