// Classes 7 to 9 on every device: DMA that points at registers, and every register with every width
// a bus has (the vCPU cuts others).

#include <random>

#include "every_device.h"
#include "virtio/features.h"
#include "virtio/pci_layout.h"

namespace cupule::testing {
namespace {

using namespace virtio::pci_layout;

class Registers : public EveryDevice {
  protected:
    /// What the bus makes of an access: a piece that a BAR has, or nothing.
    std::uint64_t bar_access(std::uint64_t address, unsigned size, const std::uint64_t* value) {
        const auto lookup = bench_.mmio.lookup(0);
        const auto* found = lookup.find(address, size);
        if (found == nullptr) {
            return base::ones(size);
        }
        event::MutexLock lock(bench_.monitor);
        if (value != nullptr) {
            found->handler->write(address - found->handler_base, size, *value);
            return 0;
        }
        return found->handler->read(address - found->handler_base, size);
    }
    bool alive() {
        bench_.set_status(0);
        return bench_.negotiate(virtio::feature::version_1 & bench_.offered()) &&
               bench_.status() == 0x0B;
    }
};

TEST_P(Registers, Class7_DmaThatPointsAtRegistersReachesNone) {
    // Rings in RAM whose buffers, and rings that themselves, lie in the device's own BARs.
    for (const std::uint64_t target : {VirtioPciBench::structures_at, VirtioPciBench::msix_at,
                                       std::uint64_t{0xFEE0'0000}, std::uint64_t{0xFEC0'0000}}) {
        bench_.set_status(0);
        ASSERT_TRUE(bench_.negotiate(virtio::feature::version_1));
        const VirtioDriver::Options options{.features = 0, .size = 16, .base = {0x1'0000}};
        VirtioDriver driver(*bench_.memory, options);
        const auto queues = bench_.transport->device().queues().size();
        const auto queue = static_cast<std::uint16_t>(std::min<std::size_t>(queues - 1, 1));
        bench_.set_queue(queue, driver.geometry());
        bench_.drive();
        const std::array<VirtioDriver::Buffer, 2> buffers{
            {{{target}, 16, false}, {{target + 0x14}, 16, true}}};
        ASSERT_TRUE(driver.submit(buffers, 1));
        driver.publish();
        bench_.notify(queue);
        worker_->call([] {});
        worker_->call([] {});
        bench_.loop->run_once(0);
        EXPECT_EQ(bench_.status(), 0x4F) << "the queue takes an address that is no RAM";
        EXPECT_FALSE(driver.collect());
    }
    bench_.set_status(0);
    ASSERT_TRUE(bench_.negotiate(virtio::feature::version_1));
    bench_.set_queue(0, {.size = 16,
                         .descriptor_area = {VirtioPciBench::structures_at},
                         .driver_area = {VirtioPciBench::structures_at + 0x1000},
                         .device_area = {VirtioPciBench::structures_at + 0x2000}});
    bench_.drive();
    EXPECT_EQ(bench_.status() & 0x40, 0x40);
    EXPECT_TRUE(alive());
}

TEST_P(Registers, Class8_EveryOffsetOfTheMsixBarTakesEveryWidth) {
    std::mt19937_64 random(8);
    for (std::uint64_t offset = 0; offset < 0x1000; ++offset) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            const std::uint64_t value = random();
            const std::uint64_t address = VirtioPciBench::msix_at + offset;
            bar_access(address, size, &value);
            const std::uint64_t answer = bar_access(address, size, nullptr);
            EXPECT_EQ(answer & ~base::ones(size), 0U) << offset << " " << size;
        }
    }
    EXPECT_TRUE(alive());
}

TEST_P(Registers, Class8_SelectorsThatNameNoQueueOrVectorChangeNothing) {
    ASSERT_TRUE(alive());
    const std::uint64_t queues = bench_.read(common::num_queues, 2);
    for (std::uint64_t selector = 0; selector <= 0xFFFF; ++selector) {
        bench_.write(common::queue_select, 2, selector);
        bench_.write(common::queue_msix_vector, 2, selector);
        if (selector >= queues) {
            ASSERT_EQ(bench_.read(common::queue_size, 2), 0U) << selector;
            ASSERT_EQ(bench_.read(common::queue_msix_vector, 2), 0U) << selector;
            bench_.write(common::queue_enable, 2, 1);
            ASSERT_EQ(bench_.read(common::queue_enable, 2), 0U) << selector;
        }
    }
    EXPECT_TRUE(alive());
}

TEST_P(Registers, Class9_EveryOffsetOfTheStructuresTakesEveryWidth) {
    std::mt19937_64 random(9);
    const std::uint64_t bytes = 0x4000;
    for (std::uint64_t offset = 0; offset < bytes; ++offset) {
        // Whole pages of nothing are sampled.
        if (offset % 0x1000 > 0x200 && offset % 0x1000 < 0xFF0 && offset % 61 != 0) {
            continue;
        }
        for (unsigned size = 1; size <= 8; size *= 2) {
            const std::uint64_t value = random();
            const std::uint64_t address = VirtioPciBench::structures_at + offset;
            bar_access(address, size, &value);
            const std::uint64_t answer = bar_access(address, size, nullptr);
            EXPECT_EQ(answer & ~base::ones(size), 0U) << offset << " " << size;
        }
        bench_.loop->run_once(0);
    }
    EXPECT_TRUE(alive());
}

TEST_P(Registers, Class9_EveryOffsetOfTheLegacyWindowTakesEveryWidth) {
    using virtio::PciTransportModel;
    if (std::string_view(GetParam()) == "vsock") {
        GTEST_SKIP() << "it has no legacy interface";
    }
    std::mt19937_64 random(9);
    for (const auto model : {PciTransportModel::transitional, PciTransportModel::legacy}) {
        bench_.plug_in(make(GetParam()), nullptr, false, model);
        for (const bool msix : {false, true}) {
            const std::uint64_t capability = bench_.read_config(0x34, 1);
            ASSERT_EQ(bench_.read_config(capability, 1), 0x11U);
            bench_.write_config(capability + 2, 2, msix ? 0x8000 : 0);
            // A driver comes, with each queue in turn, and is gone again.
            for (std::uint64_t round = 0; round < 8; ++round) {
                bench_.write_legacy(legacy::device_status, 1, 3);
                bench_.write_legacy(legacy::queue_select, 2, round % 4);
                bench_.write_legacy(legacy::queue_address, 4, 0x10 + round);
                bench_.write_legacy(legacy::device_status, 1, 7);
                for (std::uint64_t offset = 0; offset < legacy_bar_size; ++offset) {
                    for (unsigned size = 1; size <= 4 && offset + size <= legacy_bar_size;
                         size *= 2) {
                        bench_.write_legacy(offset, size, random() & base::ones(size));
                        EXPECT_EQ(bench_.read_legacy(offset, size) & ~base::ones(size), 0U)
                            << offset << " " << size;
                    }
                }
                worker_->call([] {});
                bench_.loop->run_once(0);
                bench_.write_legacy(legacy::device_status, 1, 0);
                EXPECT_EQ(bench_.read_legacy(legacy::device_status, 1), 0U);
                EXPECT_FALSE(bench_.transport->active());
            }
        }
        bench_.write_legacy(legacy::device_status, 1, 3);
        bench_.write_legacy(legacy::queue_select, 2, 0);
        EXPECT_NE(bench_.read_legacy(legacy::queue_size, 2), 0U);
        bench_.write_legacy(legacy::queue_address, 4, 0x10);
        EXPECT_EQ(bench_.read_legacy(legacy::queue_address, 4), 0x10U);
        bench_.write_legacy(legacy::device_status, 1, 0);
    }
}

INSTANTIATE_TEST_SUITE_P(, Registers, ::testing::ValuesIn(every_device), name_of_device);

}  // namespace
}  // namespace cupule::testing
