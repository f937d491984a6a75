// A card with several pairs: a driver before our front end, whose control queue that is, and the
// card behind our back end, on a thread of its own.

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>

#include "device/network/virtio_net.h"
#include "device/network/virtio_net_registers.h"
#include "testing/fake_net_port.h"
#include "testing/no_device.h"
#include "testing/thread_sanitizer.h"
#include "testing/virtio_fixture.h"
#include "vhost_user/back_end_server.h"
#include "vhost_user/front_end_device.h"

namespace cupule::vhost_user {
namespace {

using testing::NoDevice;
using testing::VirtioDriver;
using testing::VirtioPciBench;
using virtio::feature::version_1;
namespace feature = device::net::feature;
namespace control = device::net::control;

constexpr std::uint16_t pairs = 2;
constexpr std::uint64_t data_at = 4 << 20;
constexpr std::size_t header_bytes = sizeof(backend::NetHeader);

class VhostUserNetTest : public testing::VirtioFixture<std::uint64_t> {
  protected:
    VhostUserNetTest() : socket_(fmt::format("/tmp/vhost-user-net-{}", getpid())) {}
    void SetUp() override {
        if (testing::under_thread_sanitizer) {
            GTEST_SKIP() << "both ends see the rings' memory at addresses of their own";
        }
        std::vector<device::NetPairPowers> powers;
        for (testing::FakeNetPort& port : ports_) {
            powers.push_back({.port = port, .worker = *worker_});
        }
        card_ = std::make_unique<device::VirtioNet>(device::VirtioNetSpec{}, powers);
        server_ = *BackEndServer::create({.device = *card_,
                                          .loop = *loop_,
                                          .monitor = monitor_,
                                          .hidden_features = feature::ctrl_vq | feature::status,
                                          .queues = 2 * pairs,
                                          .queues_in_one = 2,
                                          .has_config = false},
                                         socket_);
        thread_ = std::thread([this] { loop_->run(); });
    }
    void TearDown() override {
        bench_.reset();
        if (thread_.joinable()) {
            loop_->stop();
            thread_.join();
        }
        server_.reset();
    }

    base::Result<void> plug_in(std::uint16_t wanted) {
        bench_ = std::make_unique<VirtioPciBench>(std::make_unique<NoDevice>());
        CUPULE_TRY_ASSIGN(auto connection, FrontEnd::connect(socket_));
        FrontEndSpec spec{
            .id = {.name = "virtio-net", .type = 1},
            .features_passed = feature::mq,
            .features_own = feature::ctrl_vq,
            .packed = true,
            .queues = std::vector<virtio::QueueLimits>(2U * wanted + 1U, {.size_max = 64}),
            .has_pair_control = true,
            .queues_in_one = 2,
            .config = {0, 0, 0, 0, 0, 0, 1, 0, static_cast<std::uint8_t>(wanted), 0}};
        CUPULE_TRY_ASSIGN(auto made, FrontEndDevice::create(std::move(spec),
                                                            {.memory = *bench_->memory,
                                                             .loop = *bench_->loop,
                                                             .monitor = bench_->monitor},
                                                            std::move(connection)));
        bench_->plug_in(std::move(made));
        return {};
    }
    void start(std::uint64_t features) {
        control_ = (features & feature::mq) != 0 ? 2 * pairs : 2;
        drive(features, static_cast<std::uint16_t>(control_ + 1));
    }
    unsigned command(std::uint16_t which, std::uint16_t value) {
        const std::array<std::uint8_t, 4> out{
            static_cast<std::uint8_t>(which >> 8), static_cast<std::uint8_t>(which),
            static_cast<std::uint8_t>(value), static_cast<std::uint8_t>(value >> 8)};
        EXPECT_TRUE(bench_->memory->write({data_at}, std::as_bytes(std::span(out))));
        const std::array<VirtioDriver::Buffer, 2> buffers{
            {{.address = {data_at}, .length = 4},
             {.address = {data_at + 64}, .length = 1, .writable = true}}};
        submit(control_, buffers);
        used(control_);
        return *bench_->memory->load<std::uint8_t>({data_at + 64});
    }
    /// A frame on the transmit queue of a pair, as it arrives at that pair's port.
    void transmit(std::uint16_t pair) {
        ASSERT_TRUE(bench_->memory->fill({data_at + 0x1000}, std::byte{0}, 128));
        submit(static_cast<std::uint16_t>(2 * pair + 1),
               {.address = {data_at + 0x1000}, .length = header_bytes + 60});
    }
    void give(std::uint16_t pair) {
        submit(static_cast<std::uint16_t>(2 * pair),
               {.address = {data_at + 0x2000}, .length = 2048, .writable = true});
    }
    std::size_t sent(std::size_t pair) {
        return worker_->call([&] { return ports_[pair].sent.size(); });
    }
    bool attached(std::size_t pair) {
        return worker_->call([&] { return ports_[pair].attached; });
    }

    const std::string socket_;
    std::array<testing::FakeNetPort, pairs> ports_;
    std::unique_ptr<event::EventLoop> loop_ = *event::EventLoop::create();
    event::Monitor monitor_;
    std::unique_ptr<device::VirtioNet> card_;
    std::unique_ptr<BackEndServer> server_;
    std::thread thread_;
    std::uint16_t control_ = 2;
};

TEST_P(VhostUserNetTest, TheDriverChoosesHowManyPairsRun) {
    ASSERT_TRUE(plug_in(pairs));
    EXPECT_EQ(bench_->read(0x2008, 2), pairs);
    start(GetParam() | feature::mq | feature::ctrl_vq);
    transmit(0);
    used(1);
    EXPECT_EQ(sent(0), 1U);
    EXPECT_FALSE(attached(1));
    // The second pair stands still until it is wanted; then what was asked is done.
    transmit(1);
    give(1);
    EXPECT_EQ(command(control::mq_pairs_set, 2), control::ok);
    used(3);
    EXPECT_EQ(sent(1), 1U);
    EXPECT_TRUE(until([&] { return attached(1); }));
    worker_->call([&] { ports_[1].come(testing::FakeNetPort::Frame(header_bytes + 60)); });
    used(2);
    EXPECT_EQ(command(control::mq_pairs_set, 1), control::ok);
    EXPECT_TRUE(until([&] { return !attached(1); }));
    transmit(1);
    transmit(0);
    used(1);
    EXPECT_EQ(sent(1), 1U);
    EXPECT_EQ(command(control::mq_pairs_set, 2), control::ok);
    used(3);
    EXPECT_EQ(sent(1), 2U);
}

TEST_P(VhostUserNetTest, OtherCommandsAndCountsAreRefused) {
    ASSERT_TRUE(plug_in(pairs));
    start(GetParam() | feature::mq | feature::ctrl_vq);
    EXPECT_EQ(command(control::mq_pairs_set, 0), control::error);
    EXPECT_EQ(command(control::mq_pairs_set, pairs + 1), control::error);
    EXPECT_EQ(command(control::rx_promisc, 1), control::error);
    EXPECT_FALSE(attached(1));
}

TEST_P(VhostUserNetTest, ADriverThatKnowsOnePairHasTheControlQueueBehindIt) {
    ASSERT_TRUE(plug_in(pairs));
    start(GetParam() | feature::ctrl_vq);
    EXPECT_EQ(command(control::mq_pairs_set, 2), control::error);
    transmit(0);
    used(1);
    bench_->set_status(0);
    start(GetParam() | feature::mq | feature::ctrl_vq);
    EXPECT_EQ(command(control::mq_pairs_set, 2), control::ok);
}

TEST_P(VhostUserNetTest, MorePairsThanTheBackEndHasAreAnError) {
    const auto refused = plug_in(pairs + 1);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message, "the back end serves 2 queues, 3 are wanted");
}

INSTANTIATE_TEST_SUITE_P(Rings, VhostUserNetTest,
                         ::testing::Values(version_1, version_1 | virtio::feature::ring_packed),
                         [](const auto& param_info) {
                             return (param_info.param & virtio::feature::ring_packed) != 0
                                        ? "Packed"
                                        : "Split";
                         });

}  // namespace
}  // namespace cupule::vhost_user
