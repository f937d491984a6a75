#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "backend/net_options.h"
#include "base/file_descriptor.h"
#include "device/network/virtio_net.h"
#include "driven_device.h"
#include "event/worker.h"

namespace cupule::device {
namespace {

using backend::NetKind;
using testing::DrivenDevice;
using testing::FaultPlan;
using testing::good;
using testing::VirtioDriver;

constexpr std::uint64_t output_at = 4 << 20;
constexpr std::uint64_t input_at = 5 << 20;
constexpr std::size_t header_bytes = sizeof(backend::NetHeader);
constexpr std::size_t arp_bytes = 42;

/// 10.0.2.15 asks for 10.0.2.2 (RFC 826), behind an empty virtio header.
std::vector<std::uint8_t> arp_question() {
    const std::array<std::uint8_t, arp_bytes> arp{
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x52, 0x54, 0, 1,  2, 3, 8, 6,  // broadcast
        0,    1,    8,    0,    6,    4,    0,    1,                        // a request
        0x52, 0x54, 0,    1,    2,    3,    10,   0,    2, 15,              // from
        0,    0,    0,    0,    0,    0,    10,   0,    2, 2};              // to
    std::vector<std::uint8_t> frame(header_bytes + arp_bytes);
    std::ranges::copy(arp, frame.begin() + header_bytes);
    return frame;
}

/// A card of one pair with its port on a worker.
class NetRun {
  public:
    explicit NetRun(backend::NetOptions options) : options_(std::move(options)) {}
    ~NetRun() {
        device_.bench().transport.reset();
        if (!ports_.empty()) {
            worker_->call([this] { ports_.clear(); });
        }
    }

    bool open() {
        auto worker = event::Worker::create("test");
        if (!good(worker)) {
            return false;
        }
        worker_ = std::move(*worker);
        event::Worker* const worker_of_pair = worker_.get();
        auto ports = backend::open_net_ports(options_, std::span(&worker_of_pair, 1));
        if (!good(ports)) {
            return false;
        }
        ports_ = std::move(*ports);
        const std::vector<NetPairPowers> powers{{.port = *ports_[0], .worker = *worker_}};
        return good(
            device_.bench().try_to_plug_in(std::make_unique<VirtioNet>(VirtioNetSpec{}, powers)));
    }

    DrivenDevice& device() { return device_; }
    bool start() { return device_.start(0) && make_room(); }
    bool make_room() {
        const VirtioDriver::Buffer buffer{{input_at}, 2048, true};
        return device_.submit(0, {&buffer, 1});
    }
    void send() {
        if (device_.asks_for_reset()) {
            return;
        }
        const auto frame = arp_question();
        ASSERT_TRUE(device_.bench().memory->write({output_at}, std::as_bytes(std::span(frame))));
        const VirtioDriver::Buffer buffer{
            {output_at}, static_cast<std::uint32_t>(frame.size()), false};
        ASSERT_TRUE(device_.submit(1, {&buffer, 1}));
        device_.answer(1);
    }
    /// Whether a frame comes in.
    bool receives(int milliseconds) { return device_.answer_within(0, milliseconds).has_value(); }

  private:
    const backend::NetOptions options_;
    std::unique_ptr<event::Worker> worker_;
    std::vector<std::unique_ptr<backend::NetPort>> ports_;
    DrivenDevice device_{2};
};

TEST(NetFaultsTest, TheUserNetworkAnswersAgainAfterwards) {
    const unsigned met = testing::walk_host_faults(600, [](const FaultPlan& plan) {
        NetRun run({.kind = NetKind::user});
        testing::start_host_faults(plan);
        if (!run.open()) {
            return;
        }
        if (run.start()) {
            run.send();
            run.receives(plan.number == 0 ? 20'000 : 20);
        }
        testing::stop_host_faults();
        ASSERT_TRUE(run.start());
        run.send();
        EXPECT_TRUE(run.receives(20'000)) << "no answer from the router";
        run.device().bench().set_status(0);
    });
    EXPECT_GT(met, 20U);
}

class NetSocketFaultsTest : public ::testing::Test {
  protected:
    NetSocketFaultsTest() {
        address_.sun_family = AF_UNIX;
        std::memcpy(address_.sun_path, path_.data(), path_.size());
    }
    ~NetSocketFaultsTest() override { unlink(path_.c_str()); }

    const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&address_); }
    static base::FileDescriptor new_socket() {
        return base::FileDescriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    }
    base::FileDescriptor connect_peer() const {
        base::FileDescriptor peer = new_socket();
        EXPECT_EQ(connect(peer.get(), address(), sizeof address_), 0);
        return peer;
    }
    static void send_frame(int peer) {
        const auto frame = arp_question();
        std::array<std::uint8_t, 4 + arp_bytes> bytes{0, 0, 0, arp_bytes};
        std::copy_n(frame.begin() + header_bytes, arp_bytes, bytes.begin() + 4);
        ::send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }
    static bool frame_comes(int peer) {
        pollfd there{.fd = peer, .events = POLLIN, .revents = 0};
        std::array<std::uint8_t, 256> bytes{};
        return poll(&there, 1, 20'000) == 1 && recv(peer, bytes.data(), bytes.size(), 0) > 0;
    }

    const std::string path_ = ::testing::TempDir() + "/net_faults." + std::to_string(getpid());
    sockaddr_un address_{};
};

TEST_F(NetSocketFaultsTest, AHubCarriesFramesAgainAfterwards) {
    const unsigned met = testing::walk_host_faults(600, [this](const FaultPlan& plan) {
        NetRun run({.kind = NetKind::unix_server, .name = path_});
        testing::start_host_faults(plan);
        if (!run.open()) {
            return;
        }
        base::FileDescriptor peer;
        {
            const testing::WellHost well;
            peer = connect_peer();
            send_frame(peer.get());
        }
        if (run.start()) {
            run.receives(plan.number == 0 ? 20'000 : 20);
            run.send();
        }
        testing::stop_host_faults();
        const base::FileDescriptor next = connect_peer();
        ASSERT_TRUE(run.start());
        send_frame(next.get());
        EXPECT_TRUE(run.receives(20'000)) << "the guest does not hear the hub";
        run.send();
        EXPECT_TRUE(frame_comes(next.get())) << "the hub does not hear the guest";
        run.device().bench().set_status(0);
    });
    EXPECT_GT(met, 20U);
}

TEST_F(NetSocketFaultsTest, AClientOfAHubComesBack) {
    const unsigned met = testing::walk_host_faults(600, [this](const FaultPlan& plan) {
        unlink(path_.c_str());
        const base::FileDescriptor hub = new_socket();
        ASSERT_EQ(bind(hub.get(), address(), sizeof address_), 0);
        ASSERT_EQ(listen(hub.get(), 8), 0);
        NetRun run({.kind = NetKind::unix_client, .name = path_});
        testing::start_host_faults(plan);
        if (!run.open()) {
            return;
        }
        base::FileDescriptor peer;
        {
            const testing::WellHost well;
            peer = base::FileDescriptor(accept4(hub.get(), nullptr, nullptr, SOCK_CLOEXEC));
            send_frame(peer.get());
        }
        if (run.start()) {
            run.receives(plan.number == 0 ? 20'000 : 20);
            run.send();
        }
        testing::stop_host_faults();
        ASSERT_TRUE(run.start());
        send_frame(peer.get());
        if (!run.receives(plan.number == 0 ? 20'000 : 20)) {
            // This connection was lost: the next one works.
            pollfd waiting{.fd = hub.get(), .events = POLLIN, .revents = 0};
            ASSERT_EQ(poll(&waiting, 1, 20'000), 1) << "the client does not come back";
            peer = base::FileDescriptor(accept4(hub.get(), nullptr, nullptr, SOCK_CLOEXEC));
            send_frame(peer.get());
            EXPECT_TRUE(run.receives(20'000)) << "the guest does not hear the hub";
        }
        run.send();
        EXPECT_TRUE(frame_comes(peer.get())) << "the hub does not hear the guest";
        run.device().bench().set_status(0);
    });
    EXPECT_GT(met, 20U);
}

}  // namespace
}  // namespace cupule::device
