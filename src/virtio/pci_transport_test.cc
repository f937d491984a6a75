#include "virtio/pci_transport.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>

#include "testing/config_range.h"
#include "testing/device_contract.h"
#include "testing/echo_device.h"
#include "testing/virtio_pci_bench.h"
#include "testing/virtio_workload.h"

namespace cupule::virtio {
namespace {

using namespace pci_layout;
using testing::EchoDevice;
using testing::VirtioDriver;
using testing::VirtioPciBench;
using testing::VirtioWorkload;

constexpr std::uint64_t modern = feature::version_1;

/// Refuses or records.
class FakeWiring : public EventWiring {
  public:
    bool add_doorbell(const io::Doorbell& doorbell) override {
        if (!willing) {
            return false;
        }
        doorbells.push_back(doorbell);
        return true;
    }
    void remove_doorbell(const io::Doorbell& doorbell) override {
        const auto found = std::ranges::find(doorbells, doorbell);
        ASSERT_NE(found, doorbells.end());
        doorbells.erase(found);
    }
    bool route(int eventfd, const irq::MsiMessage& message) override {
        if (willing) {
            routes[eventfd] = message;
        }
        return willing;
    }
    void unroute(int eventfd) override { EXPECT_EQ(routes.erase(eventfd), 1U); }

    bool willing = true;
    std::vector<io::Doorbell> doorbells;
    std::map<int, irq::MsiMessage> routes;
};

class PciTransportTest : public ::testing::Test {
  protected:
    void start(std::uint64_t features = modern) {
        options_.features = features;
        driver_ = std::make_unique<VirtioDriver>(*bench_.memory, options_);
        ASSERT_TRUE(bench_.negotiate(features));
        bench_.set_queue(0, driver_->geometry());
        bench_.drive();
        ASSERT_EQ(bench_.status(), 0x0F);
    }
    void enable_msix() {
        const std::uint64_t capability = bench_.read_config(0x34, 1);
        ASSERT_EQ(bench_.read_config(capability, 1), 0x11U);
        bench_.write_config(capability + 2, 2, 0x8000);
        for (std::uint64_t vector = 0; vector < 3; ++vector) {
            bench_.write_msix(16 * vector, 0xFEE0'0000);
            bench_.write_msix(16 * vector + 8, 0x40 + vector);
            bench_.write_msix(16 * vector + 12, 0);
        }
    }
    void exchange(unsigned rounds) {
        VirtioWorkload workload(*bench_.memory, *driver_, options_, {4 << 20}, 7);
        for (unsigned i = 0; i < rounds; ++i) {
            ASSERT_TRUE(workload.submit());
            if (driver_->publish()) {
                bench_.notify(0);
            }
            device_->serve(0);
            workload.collect();
        }
        EXPECT_EQ(workload.finished(), rounds);
        EXPECT_EQ(workload.problem(), "");
        EXPECT_EQ(driver_->violation(), "");
    }

    VirtioDriver::Options options_{.features = modern, .size = 16, .base = {0x1'0000}};
    std::unique_ptr<EchoDevice> made_ = std::make_unique<EchoDevice>();
    EchoDevice* device_ = made_.get();
    FakeWiring wiring_;
    VirtioPciBench bench_{std::move(made_), &wiring_};
    std::unique_ptr<VirtioDriver> driver_;
};

TEST(PciTransportModels, OnlyOldDeviceTypesHaveALegacyInterface) {
    VirtioPciBench bench{std::make_unique<EchoDevice>()};
    const auto refused = PciTransport::create(std::make_unique<EchoDevice>(),
                                              {.memory = *bench.memory,
                                               .loop = *bench.loop,
                                               .monitor = bench.monitor,
                                               .messages = bench.messages,
                                               .model = PciTransportModel::transitional});
    EXPECT_FALSE(refused.has_value());
}

TEST_F(PciTransportTest, IdentifiesItselfAsAModernDevice) {
    EXPECT_EQ(bench_.read_config(0, 4), 0x106A'1AF4U);
    EXPECT_EQ(bench_.read_config(0x2C, 4), 0x002A'1AF4U);
    EXPECT_EQ(bench_.read_config(8, 4), 0xFF00'0001U);
}

TEST_F(PciTransportTest, ListsEveryStructureInItsPlace) {
    std::map<std::uint64_t, std::uint64_t> found;
    for (std::uint64_t at = bench_.read_config(0x34, 1); at != 0;
         at = bench_.read_config(at + 1, 1)) {
        if (bench_.read_config(at, 1) == 9) {
            found[bench_.read_config(at + 3, 1)] = bench_.read_config(at + 8, 4);
        }
    }
    const std::map<std::uint64_t, std::uint64_t> wanted{
        {1, 0}, {2, 0x3000}, {3, 0x1000}, {4, 0x2000}, {5, 0}};
    EXPECT_EQ(found, wanted);
}

TEST_F(PciTransportTest, RefusesFeaturesThatWereNotOffered) {
    EXPECT_EQ(bench_.offered(),
              device_->features() | feature::notification_data | feature::notif_config_data);
    EXPECT_FALSE(bench_.negotiate(modern | base::bit(5)));
    bench_.set_status(0);
    EXPECT_FALSE(bench_.negotiate(base::bit(3)));  // without VERSION_1
    bench_.set_status(0);
    EXPECT_TRUE(bench_.negotiate(modern | base::bit(3)));
}

TEST_F(PciTransportTest, MissingQueuesHaveSizeZeroAndTakeNothing) {
    bench_.write(common::queue_select, 2, 2);
    bench_.write(common::queue_size, 2, 4);
    bench_.write(common::queue_enable, 2, 1);
    EXPECT_EQ(bench_.read(common::queue_size, 2), 0U);
    EXPECT_EQ(bench_.read(common::queue_enable, 2), 0U);
    EXPECT_EQ(bench_.read(common::num_queues, 2), 2U);
}

TEST_F(PciTransportTest, QueueSizesThatCannotBeStayTheOffered) {
    bench_.write(common::queue_select, 2, 0);
    for (const std::uint64_t size : {0U, 65U, 0xFFFFU}) {
        bench_.write(common::queue_size, 2, size);
        EXPECT_EQ(bench_.read(common::queue_size, 2), 64U);
    }
}

TEST_F(PciTransportTest, VectorsThatCannotBeHadReadBackAsNone) {
    bench_.write(common::queue_select, 2, 0);
    for (const std::uint64_t offset : {common::config_msix_vector, common::queue_msix_vector}) {
        bench_.write(offset, 2, 3);
        EXPECT_EQ(bench_.read(offset, 2), no_vector);
        bench_.write(offset, 2, 2);
        EXPECT_EQ(bench_.read(offset, 2), 2U);
    }
}

TEST_F(PciTransportTest, WrongWidthsChangeNothing) {
    bench_.write(common::queue_select, 4, 1);
    EXPECT_EQ(bench_.read(common::queue_select, 2), 0U);
    bench_.write(common::device_status, 2, 1);
    EXPECT_EQ(bench_.status(), 0);
    bench_.write(common::queue_desc + 2, 4, 0x1234);
    EXPECT_EQ(bench_.read(common::queue_desc, 8), 0U);
}

TEST_F(PciTransportTest, CarriesDataInBothRingFormats) {
    for (const std::uint64_t features :
         {modern, modern | feature::ring_packed | feature::event_idx | feature::indirect_desc,
          modern | feature::event_idx | feature::notification_data}) {
        start(features);
        exchange(100);
        bench_.set_status(0);
        EXPECT_EQ(bench_.status(), 0);
        EXPECT_FALSE(bench_.transport->active());
    }
}

TEST_F(PciTransportTest, WithoutMsixInterruptsByLineAndIsrReadClears) {
    start();
    exchange(1);
    bench_.loop->run_once(0);
    EXPECT_TRUE(bench_.line.level);
    EXPECT_EQ(bench_.read(isr_offset, 1), 1U);
    EXPECT_FALSE(bench_.line.level);
    EXPECT_EQ(bench_.read(isr_offset, 1), 0U);
}

TEST_F(PciTransportTest, WithoutARouteTheEventLoopSendsTheQueuesMessage) {
    wiring_.willing = false;
    enable_msix();
    bench_.write(common::queue_select, 2, 0);
    bench_.write(common::queue_msix_vector, 2, 1);
    start();
    exchange(1);
    bench_.loop->run_once(0);
    ASSERT_EQ(bench_.messages.messages.size(), 1U);
    EXPECT_EQ(bench_.messages.messages[0].data, 0x41U);
    EXPECT_FALSE(bench_.line.level);
}

TEST_F(PciTransportTest, RoutesFollowTheVectorsMask) {
    enable_msix();
    start();
    bench_.write(common::queue_select, 2, 0);
    bench_.write(common::queue_msix_vector, 2, 2);
    ASSERT_EQ(wiring_.routes.size(), 1U);
    EXPECT_EQ(wiring_.routes.begin()->second.data, 0x42U);
    exchange(1);
    bench_.loop->run_once(0);
    EXPECT_TRUE(bench_.messages.messages.empty());  // the route's, not ours
    bench_.write_msix(16 * 2 + 12, 1);
    EXPECT_TRUE(wiring_.routes.empty());
    bench_.loop->run_once(0);  // becomes pending
    bench_.write_msix(16 * 2 + 12, 0);
    EXPECT_EQ(bench_.messages.messages.size(), 1U);
    EXPECT_EQ(wiring_.routes.size(), 1U);
    bench_.set_status(0);
    EXPECT_TRUE(wiring_.routes.empty());
}

TEST_F(PciTransportTest, DoorbellsFollowTheBarAndEndWithTheDevice) {
    start();
    ASSERT_EQ(wiring_.doorbells.size(), 1U);
    EXPECT_EQ(wiring_.doorbells[0].address, VirtioPciBench::structures_at + notify_offset);
    EXPECT_EQ(wiring_.doorbells[0].size, 2);
    bench_.write_config(4, 2, 4);  // decoding off
    EXPECT_TRUE(wiring_.doorbells.empty());
    bench_.write_config(0x20, 4, 0xA000'0000);
    bench_.write_config(4, 2, 6);
    ASSERT_EQ(wiring_.doorbells.size(), 1U);
    EXPECT_EQ(wiring_.doorbells[0].address, 0xA000'0000 + notify_offset);
    event::MutexLock lock(bench_.monitor);
    bench_.transport->reset();
    EXPECT_TRUE(wiring_.doorbells.empty());
}

TEST_F(PciTransportTest, AnAreaOutsideRamNeedsAReset) {
    options_.features = modern;
    driver_ = std::make_unique<VirtioDriver>(*bench_.memory, options_);
    ASSERT_TRUE(bench_.negotiate(modern));
    QueueGeometry at = driver_->geometry();
    at.device_area = {VirtioPciBench::ram_size};
    bench_.set_queue(0, at);
    bench_.drive();
    EXPECT_EQ(bench_.status(), 0x4F);
    EXPECT_EQ(bench_.read(isr_offset, 1), 2U);
    bench_.set_status(0);
    start();
    exchange(3);
}

TEST_F(PciTransportTest, AHostThatCannotStartTheDeviceNeedsAReset) {
    device_->fail_next = true;
    ASSERT_TRUE(bench_.negotiate(modern));
    bench_.drive();
    EXPECT_EQ(bench_.status(), 0x4F);
    EXPECT_FALSE(bench_.transport->active());
}

TEST_F(PciTransportTest, ABrokenRingNeedsAResetAndWorksAfterIt) {
    start();
    ASSERT_TRUE(bench_.memory->store<std::uint16_t>(driver_->geometry().driver_area + 2, 999));
    device_->serve(0);
    bench_.loop->run_once(0);
    EXPECT_EQ(bench_.status(), 0x4F);
    bench_.set_status(0);
    start();
    exchange(3);
}

TEST_F(PciTransportTest, ResetWithChainsInFlightLosesNone) {
    start();
    VirtioWorkload workload(*bench_.memory, *driver_, options_, {4 << 20}, 7);
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(workload.submit());
    }
    driver_->publish();
    while (Chain chain = device_->running.at(0).queue.pop()) {
        device_->held.push_back(std::move(chain));
    }
    ASSERT_FALSE(device_->held.empty());
    bench_.set_status(0);
    EXPECT_TRUE(device_->held.empty());
    start();
    exchange(3);
}

TEST_F(PciTransportTest, AQueueIsResetAndStartedAgainWhileTheDeviceRuns) {
    start(modern | feature::ring_reset);
    exchange(5);
    bench_.write(common::queue_select, 2, 0);
    bench_.write(common::queue_reset, 2, 1);
    EXPECT_EQ(bench_.read(common::queue_reset, 2), 0U);
    EXPECT_EQ(bench_.read(common::queue_enable, 2), 0U);
    EXPECT_TRUE(device_->running.empty());
    driver_ = std::make_unique<VirtioDriver>(*bench_.memory, options_);
    bench_.set_queue(0, driver_->geometry());
    EXPECT_EQ(bench_.read(common::queue_enable, 2), 1U);
    exchange(5);
}

TEST_F(PciTransportTest, Class1_NoFieldWrittenInAnyStatusStateReachesARunningQueue) {
    using namespace status;
    const std::array<std::uint8_t, 7> states{
        0,    acknowledge, acknowledge | driver, acknowledge | driver | features_ok, 0x0F,
        0x4F,   // DEVICE_NEEDS_RESET
        0x8F};  // FAILED
    std::mt19937_64 random(1);
    for (const std::uint8_t state : states) {
        SCOPED_TRACE(state);
        bench_.set_status(0);
        const bool runs = (state & driver_ok) != 0;
        if (runs) {
            start();
        }
        if (state == 0x4F) {
            ASSERT_TRUE(
                bench_.memory->store<std::uint16_t>(driver_->geometry().driver_area + 2, 999));
            device_->serve(0);
            bench_.loop->run_once(0);
        } else if (state == (acknowledge | driver | features_ok)) {
            ASSERT_TRUE(bench_.negotiate(modern));
        } else if (state != 0x0F) {
            bench_.set_status(state & acknowledge);
            bench_.set_status(state);
        }
        ASSERT_EQ(bench_.status(), state);
        for (std::uint64_t offset = 0; offset < common::end; ++offset) {
            for (unsigned size = 1; size <= 8; size *= 2) {
                // The status moves on only by itself, above.
                if (offset <= common::device_status && offset + size > common::device_status) {
                    continue;
                }
                for (const std::uint64_t value :
                     {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{8}, std::uint64_t{0x2'0000},
                      ~std::uint64_t{0}, random()}) {
                    bench_.write(common::queue_select, 2, random() % 3);
                    bench_.write(offset, size, value & base::ones(size));
                }
            }
        }
        EXPECT_EQ(bench_.status(), state);
        ASSERT_EQ(device_->running.contains(0), runs);
        EXPECT_FALSE(device_->running.contains(1));
        if (runs) {
            EXPECT_EQ(device_->running.at(0).queue.geometry(), driver_->geometry());
            bench_.write(common::queue_select, 2, 0);
            EXPECT_EQ(bench_.read(common::queue_size, 2), 16U);
            EXPECT_EQ(bench_.read(common::queue_enable, 2), 1U);
        }
        if (state == 0x0F) {
            exchange(20);
        }
        bench_.set_status(0);
        start();
        exchange(3);
    }
}

TEST_F(PciTransportTest, QueuesDoNotStartLateWithoutRingReset) {
    start();
    bench_.write(common::queue_select, 2, 1);
    bench_.write(common::queue_enable, 2, 1);
    EXPECT_EQ(bench_.read(common::queue_enable, 2), 0U);
    bench_.write(common::queue_select, 2, 0);
    bench_.write(common::queue_reset, 2, 1);
    EXPECT_EQ(bench_.read(common::queue_enable, 2), 1U);
}

TEST_F(PciTransportTest, ConfigurationChangesCountAGeneration) {
    start();
    device_->events->config_changed();
    bench_.loop->run_once(0);
    EXPECT_EQ(bench_.read(common::config_generation, 1), 1U);
    EXPECT_EQ(bench_.read(isr_offset, 1), 2U);
}

TEST_F(PciTransportTest, TheWindowReadsAndWritesTheStructures) {
    std::uint64_t window = bench_.read_config(0x34, 1);
    while (bench_.read_config(window, 1) != 9 || bench_.read_config(window + 3, 1) != 5) {
        window = bench_.read_config(window + 1, 1);
        ASSERT_NE(window, 0U);
    }
    bench_.write_config(window + 4, 1, structures_bar);
    bench_.write_config(window + 8, 4, device_offset + 4);
    bench_.write_config(window + 12, 4, 4);
    EXPECT_EQ(bench_.read_config(window + 16, 4), 0x1122'3344U);
    bench_.write_config(window + 16, 4, 0xABCD'EF01);
    EXPECT_EQ(bench_.read(device_offset + 4, 4), 0xABCD'EF01U);
    // What is no access there can be does nothing.
    const std::vector<std::array<std::uint64_t, 3>> refused{
        {1, 0, 4}, {4, 0x4000, 4},        {4, 0x3FFE, 4},
        {4, 1, 2}, {4, device_offset, 8}, {4, 0xFFFF'FFFF, 1}};
    for (const auto& [bar, offset, length] : refused) {
        bench_.write_config(window + 4, 1, bar);
        bench_.write_config(window + 8, 4, offset);
        bench_.write_config(window + 12, 4, length);
        bench_.write_config(window + 16, 4, 0x5555'5555);
        EXPECT_EQ(bench_.read_config(window + 16, 4), 0x5555'5555U);
    }
    EXPECT_EQ(bench_.read(device_offset, 8), 0xABCD'EF01'5566'7788U);
}

TEST_F(PciTransportTest, QueuesWaitWhileTheDriverAllowsNoDma) {
    start();
    exchange(3);
    bench_.write_config(4, 2, 2);
    EXPECT_TRUE(device_->running.empty());
    EXPECT_TRUE(bench_.transport->active());
    bench_.write_config(4, 2, 6);
    ASSERT_EQ(device_->running.size(), 1U);
    exchange(3);
    bench_.write_config(4, 2, 2);
    bench_.set_status(0);
    EXPECT_FALSE(bench_.transport->active());
    start();
    EXPECT_TRUE(device_->running.empty());  // the driver that starts without DMA waits too
    bench_.write_config(4, 2, 6);
    exchange(3);
}

TEST_F(PciTransportTest, QueuesAreResetAndAddedWhileTheyWait) {
    start(modern | feature::ring_reset);
    bench_.write_config(4, 2, 2);
    bench_.write(common::queue_select, 2, 0);
    bench_.write(common::queue_reset, 2, 1);
    driver_ = std::make_unique<VirtioDriver>(*bench_.memory, options_);
    bench_.set_queue(0, driver_->geometry());
    EXPECT_TRUE(device_->running.empty());
    bench_.write_config(4, 2, 6);
    ASSERT_EQ(device_->running.size(), 1U);
    exchange(5);
}

TEST_F(PciTransportTest, AHostThatCannotGoOnAfterDmaWasOffNeedsAReset) {
    start();
    bench_.write_config(4, 2, 2);
    device_->fail_next = true;
    bench_.write_config(4, 2, 6);
    EXPECT_EQ(bench_.status(), 0x4F);
    EXPECT_FALSE(bench_.transport->active());
}

TEST(PciTransportMsi, SendsOneMessageWithTheCauseInTheIsr) {
    VirtioPciBench bench{std::make_unique<EchoDevice>(), nullptr, true};
    const std::uint64_t capability = bench.read_config(0x34, 1);
    ASSERT_EQ(bench.read_config(capability, 1), 5U);
    bench.write_config(capability + 4, 4, 0xFEE0'0000);
    bench.write_config(capability + 12, 2, 0x55);
    bench.write_config(capability + 2, 2, 1);
    bench.write(common::config_msix_vector, 2, 0);
    EXPECT_EQ(bench.read(common::config_msix_vector, 2), no_vector);
    ASSERT_TRUE(bench.negotiate(modern));
    bench.drive();
    auto& device = dynamic_cast<EchoDevice&>(bench.transport->device());
    device.events->config_changed();
    bench.loop->run_once(0);
    ASSERT_EQ(bench.messages.messages.size(), 1U);
    EXPECT_EQ(bench.messages.messages[0].data, 0x55U);
    EXPECT_FALSE(bench.line.level);
    EXPECT_EQ(bench.read(isr_offset, 1), 2U);
}

/// The four structures as they lie in the BAR.
class BarRange : public io::IoHandler {
  public:
    explicit BarRange(VirtioPciBench& bench) : bench_(bench) {}
    std::uint64_t read(std::uint64_t offset, unsigned size) override {
        // Reads below the bus: the contract moves BARs.
        bench_.place();
        return bench_.read(offset, size);
    }
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override {
        bench_.place();
        bench_.write(offset, size, value);
    }

  private:
    VirtioPciBench& bench_;
};

testing::ContractSubject make_subject() {
    struct Owner {
        VirtioPciBench bench{std::make_unique<EchoDevice>()};
        testing::ConfigRange config{bench.transport->function()};
        BarRange bar{bench};
    };
    auto owner = std::make_shared<Owner>();
    event::MutexLock lock(owner->bench.monitor);
    owner->bench.transport->reset();
    testing::ContractSubject subject{.owner = owner, .device = owner->bench.transport.get()};
    subject.ranges.push_back({.handler = &owner->config, .size = 256});
    subject.ranges.push_back({.handler = &owner->bar, .size = structures_size});
    return subject;
}

CUPULE_DEVICE_CONTRACT(VirtioPci, make_subject)

}  // namespace
}  // namespace cupule::virtio
