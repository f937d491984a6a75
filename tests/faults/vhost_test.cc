// Devices whose rings the kernel serves, before a kernel that only takes notes.

#include <gtest/gtest.h>

#include <optional>

#include "backend/tap_port.h"
#include "base/log.h"
#include "device/network/vhost_net.h"
#include "device/network/vhost_vsock.h"
#include "driven_device.h"
#include "fake_vhost.h"

namespace cupule::device {
namespace {

using testing::DrivenDevice;
using testing::needs_reset;

class VhostTest : public ::testing::Test, private base::LogSink {
  protected:
    VhostTest() {
        testing::answer_ioctls(
            [this](unsigned long request, void* argument) { return vhost_(request, argument); });
    }
    ~VhostTest() override {
        base::set_log_sink(before_);
        device_.reset();
        testing::answer_ioctls({});
    }
    void plug_in_vsock() {
        device_.emplace(3);
        kernel_ = *testing::open_vhost(device_->bench());
        device_->bench().plug_in(std::make_unique<VhostVsock>(42, *kernel_));
    }
    void plug_in_card(virtio::PciTransportModel model) {
        device_.emplace(2);
        auto queues = backend::open_tap("cuptap9", 1);
        ASSERT_TRUE(queues) << queues.error().message;
        tap_.emplace(*backend::TapQueue::create(
            std::make_shared<backend::TapQueues>(std::move(*queues)), 0));
        kernel_ = *testing::open_vhost(device_->bench());
        device_->bench().plug_in(std::make_unique<VhostNet>(VhostNetSpec{}, *kernel_, *tap_),
                                 nullptr, false, model);
    }
    void complaints_ask_for_a_reset() {
        for (const unsigned ring : {1U, 0U}) {
            ASSERT_TRUE(device_->start(0));
            ASSERT_GE(vhost_.error.at(ring), 0);
            base::signal_eventfd(vhost_.error.at(ring));
            device_->bench().loop->run_once(0);
            EXPECT_TRUE(device_->asks_for_reset());
            device_->bench().set_status(0);
            EXPECT_EQ(vhost_.error.at(ring), -1);
        }
        EXPECT_EQ(lines_, 1U);
    }

    testing::FakeVhost vhost_;
    std::optional<backend::TapQueue> tap_;
    std::unique_ptr<virtio::VhostKernel> kernel_;
    std::optional<DrivenDevice> device_;

  private:
    void write(base::LogLevel /*level*/, std::string_view line) override {
        lines_ += line.find("the ring is broken") != std::string_view::npos ? 1U : 0U;
    }
    unsigned lines_ = 0;
    base::LogSink* before_ = base::set_log_sink(this);
};

TEST_F(VhostTest, ARingThatTheKernelFindsBrokenAsksForAReset) {
    ASSERT_NO_FATAL_FAILURE(plug_in_card(virtio::PciTransportModel::modern));
    complaints_ask_for_a_reset();
}

TEST_F(VhostTest, ASocketsRingToo) {
    plug_in_vsock();
    complaints_ask_for_a_reset();
}

TEST_F(VhostTest, ALegacyDriverTakesAQueueBackFromTheKernelAndGivesItAgain) {
    ASSERT_NO_FATAL_FAILURE(plug_in_card(virtio::PciTransportModel::legacy));
    testing::VirtioPciBench& bench = device_->bench();
    namespace registers = virtio::pci_layout::legacy;
    const auto set_queue = [&](std::uint16_t queue, std::uint64_t page) {
        bench.write_legacy(registers::queue_select, 2, queue);
        bench.write_legacy(registers::queue_address, 4, page);
    };
    bench.write_legacy(registers::device_status, 1, 3);
    bench.write_legacy(registers::driver_features, 4, 0);
    set_queue(0, 0x10);
    set_queue(1, 0x20);
    bench.write_legacy(registers::device_status, 1, 7);
    ASSERT_EQ(bench.read_legacy(registers::device_status, 1), 7U);
    EXPECT_EQ(vhost_.back_end, (std::map<unsigned, int>{{0, tap_->fd()}, {1, tap_->fd()}}));
    set_queue(0, 0);
    EXPECT_EQ(vhost_.back_end, (std::map<unsigned, int>{{0, -1}, {1, tap_->fd()}}));
    set_queue(0, 0x30);
    EXPECT_EQ(vhost_.back_end, (std::map<unsigned, int>{{0, tap_->fd()}, {1, tap_->fd()}}));
    bench.write_legacy(registers::device_status, 1, 0);
    EXPECT_EQ(vhost_.back_end, (std::map<unsigned, int>{{0, -1}, {1, -1}}));
}

}  // namespace
}  // namespace cupule::device
