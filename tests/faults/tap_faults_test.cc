#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "backend/net_options.h"
#include "backend/tap_port.h"
#include "base/file_descriptor.h"
#include "device/network/vhost_net.h"
#include "device/network/virtio_net.h"
#include "device/network/virtio_net_registers.h"
#include "driven_device.h"
#include "event/worker.h"
#include "fake_vhost.h"

namespace cupule::device {
namespace {

using testing::DrivenDevice;
using testing::FaultPlan;
using testing::good;
using testing::open_vhost;
using testing::VirtioDriver;
using Frame = std::vector<std::uint8_t>;
namespace feature = net::feature;

constexpr std::uint64_t output_at = 4 << 20;
constexpr std::uint64_t input_at = 5 << 20;
constexpr std::uint64_t command_at = 6 << 20;
constexpr std::size_t header_bytes = sizeof(backend::NetHeader);
constexpr int patience_ms = 20'000;

/// An Ethernet frame that nobody else sends.
Frame frame_of(std::uint8_t fill) {
    Frame frame(60, fill);
    std::fill_n(frame.begin(), 6, std::uint8_t{0xFF});
    frame[12] = 0x88;  // a local experimental EtherType (IEEE 802)
    frame[13] = 0xB5;
    return frame;
}

/// The host's end of a tap.
class Wire {
  public:
    explicit Wire(const std::string& name)
        : socket_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x88B5))) {
        place_.sll_family = AF_PACKET;
        place_.sll_protocol = htons(0x88B5);
        place_.sll_ifindex = static_cast<int>(if_nametoindex(name.c_str()));
        bind(socket_.get(), address(), sizeof place_);
    }
    void send(const Frame& frame) const {
        EXPECT_EQ(sendto(socket_.get(), frame.data(), frame.size(), 0, address(), sizeof place_),
                  static_cast<ssize_t>(frame.size()));
    }
    bool hears(const Frame& frame) const {
        pollfd there{.fd = socket_.get(), .events = POLLIN, .revents = 0};
        Frame got(frame.size());
        while (poll(&there, 1, patience_ms) == 1) {
            if (recv(socket_.get(), got.data(), got.size(), 0) > 0 && got == frame) {
                return true;
            }
        }
        return false;
    }

  private:
    const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&place_); }
    sockaddr_ll place_{};
    base::FileDescriptor socket_;
};

/// A card on a new tap of one or two queues.
class TapRun {
  public:
    TapRun(std::string name, std::uint16_t pairs) : pairs_(pairs), device_(pairs == 1 ? 2 : 5) {
        options_.kind = backend::NetKind::tap;
        options_.name = std::move(name);
        options_.queues = pairs;
    }
    ~TapRun() {
        device_.bench().transport.reset();
        for (std::size_t i = 0; i < ports_.size(); ++i) {
            workers_[i]->call([this, i] { ports_[i].reset(); });
        }
    }

    bool open() {
        for (unsigned i = 0; i < pairs_; ++i) {
            auto worker = event::Worker::create("test");
            if (!good(worker)) {
                return false;
            }
            workers_.push_back(std::move(*worker));
        }
        std::vector<event::Worker*> serving;
        std::ranges::transform(workers_, std::back_inserter(serving),
                               &std::unique_ptr<event::Worker>::get);
        auto ports = backend::open_net_ports(options_, serving);
        if (!good(ports)) {
            return false;
        }
        ports_ = std::move(*ports);
        std::vector<NetPairPowers> powers;
        for (std::size_t i = 0; i < ports_.size(); ++i) {
            powers.push_back({.port = *ports_[i], .worker = *workers_[i]});
        }
        return good(
            device_.bench().try_to_plug_in(std::make_unique<VirtioNet>(VirtioNetSpec{}, powers)));
    }

    DrivenDevice& device() { return device_; }
    bool steers() { return (device_.bench().offered() & feature::rss) != 0; }
    bool start() {
        const std::uint64_t several = feature::ctrl_vq | feature::mq;
        const std::uint64_t features =
            pairs_ == 1 ? 0 : several | (device_.bench().offered() & feature::rss);
        return device_.start(features) && make_room(0) && (pairs_ == 1 || make_room(2));
    }
    bool make_room(std::uint16_t queue) {
        const VirtioDriver::Buffer buffer{room_of(queue), 2048, true};
        return device_.submit(queue, {&buffer, 1});
    }
    void send(const Frame& frame) {
        if (device_.asks_for_reset()) {
            return;
        }
        Frame out(header_bytes);
        out.insert(out.end(), frame.begin(), frame.end());
        ASSERT_TRUE(device_.bench().memory->write({output_at}, std::as_bytes(std::span(out))));
        const VirtioDriver::Buffer buffer{
            {output_at}, static_cast<std::uint32_t>(out.size()), false};
        ASSERT_TRUE(device_.submit(1, {&buffer, 1}));
        device_.answer(1);
    }
    /// Whether this frame comes in a receive queue; the host's own are passed over.
    bool receives(const Frame& frame, std::uint16_t queue) {
        while (const auto used = device_.answer_within(queue, patience_ms)) {
            Frame got(used->written);
            EXPECT_TRUE(device_.bench().memory->read(room_of(queue),
                                                     std::as_writable_bytes(std::span(got))));
            if (got.size() == header_bytes + frame.size() &&
                std::equal(frame.begin(), frame.end(), got.begin() + header_bytes)) {
                return true;
            }
            make_room(queue);
        }
        return false;
    }
    /// All frames shall come in the pair `pair`: the answer, or nothing when the device wants a
    /// reset.
    std::optional<std::uint8_t> steer_to(std::uint8_t pair) {
        Frame out{4, 1, 0, 0, 0, 0, 0, 0, pair, 0, pair, 0, 2, 0, 0};
        EXPECT_TRUE(device_.bench().memory->write({command_at}, std::as_bytes(std::span(out))));
        const std::array<VirtioDriver::Buffer, 2> buffers{
            VirtioDriver::Buffer{{command_at}, static_cast<std::uint32_t>(out.size()), false},
            VirtioDriver::Buffer{{command_at + 0x1000}, 1, true}};
        if (device_.asks_for_reset() || !device_.submit(4, buffers) || !device_.answer(4)) {
            return std::nullopt;
        }
        return device_.bench().memory->load<std::uint8_t>({command_at + 0x1000});
    }

  private:
    static memory::GuestAddress room_of(std::uint16_t queue) {
        return {input_at + std::uint64_t{0x1'0000} * queue};
    }

    const std::uint16_t pairs_;
    backend::NetOptions options_;
    std::vector<std::unique_ptr<event::Worker>> workers_;
    std::vector<std::unique_ptr<backend::NetPort>> ports_;
    DrivenDevice device_;
};

class TapFaultsTest : public ::testing::Test {
  protected:
    void SetUp() override {
        if (const auto tap = backend::open_tap(name_, 1); !tap) {
            GTEST_SKIP() << tap.error().message;
        }
    }

    const std::string name_ = "cupflt" + std::to_string(getpid() % 1'000'000);
};

TEST_F(TapFaultsTest, ATapCarriesFramesAgainAfterwards) {
    const unsigned met = testing::walk_host_faults(600, [this](const FaultPlan& plan) {
        TapRun run(name_, 1);
        testing::start_host_faults(plan);
        if (!run.open()) {
            return;
        }
        if (run.start()) {
            run.send(frame_of(1));
            const testing::WellHost well;
            Wire(name_).send(frame_of(2));
        }
        testing::stop_host_faults();
        ASSERT_TRUE(run.start());
        const Wire wire(name_);
        wire.send(frame_of(3));
        EXPECT_TRUE(run.receives(frame_of(3), 0)) << "the guest does not hear the host";
        run.send(frame_of(4));
        EXPECT_TRUE(wire.hears(frame_of(4))) << "the host does not hear the guest";
        run.device().bench().set_status(0);
    });
    EXPECT_GT(met, 20U);
}

TEST_F(TapFaultsTest, SteeringIsOfferedAndWorksOrTheDriverHearsThatItDoesNot) {
    if (TapRun tried(name_, 2); !tried.open() || !tried.steers()) {
        GTEST_SKIP() << "the kernel takes no steering program from this process";
    }
    unsigned not_offered = 0;
    unsigned refused = 0;
    const unsigned met = testing::walk_host_faults(900, [&](const FaultPlan& plan) {
        TapRun run(name_, 2);
        testing::start_host_faults(plan);
        if (!run.open()) {
            return;
        }
        if (run.start() && run.steers()) {
            const auto answer = run.steer_to(1);
            EXPECT_TRUE(answer != 1 || testing::stop_host_faults().fired);
            refused += answer == 1 ? 1U : 0U;
        }
        testing::stop_host_faults();
        ASSERT_TRUE(run.start());
        const Wire wire(name_);
        const bool steers = run.steers();
        not_offered += steers ? 0U : 1U;
        if (steers) {
            EXPECT_EQ(run.steer_to(1), 0);
        }
        wire.send(frame_of(3));
        EXPECT_TRUE(run.receives(frame_of(3), steers ? 2 : 0)) << "the guest does not hear";
        run.send(frame_of(4));
        EXPECT_TRUE(wire.hears(frame_of(4))) << "the host does not hear the guest";
        run.device().bench().set_status(0);
    });
    EXPECT_GT(met, 40U);
    EXPECT_GT(not_offered, 0U);
    EXPECT_GT(refused, 0U);
}

TEST(TapTest, OffloadsThatTheKernelRefusesAreLoggedOnce) {
    class Lines : public base::LogSink {
      public:
        void write(base::LogLevel /*level*/, std::string_view line) override {
            count += line.find("offloads cannot be set") != std::string_view::npos ? 1U : 0U;
        }
        unsigned count = 0;
    } lines;
    testing::answer_ioctls([](unsigned long request, void* flags) {
        errno = EINVAL;
        return request == TUNSETOFFLOAD && flags != nullptr ? -1 : 0;
    });
    auto queues = backend::open_tap("cuptap9", 1);
    ASSERT_TRUE(queues) << queues.error().message;
    auto tap =
        backend::TapQueue::create(std::make_shared<backend::TapQueues>(std::move(*queues)), 0);
    ASSERT_TRUE(tap) << tap.error().message;
    base::LogSink* const before = base::set_log_sink(&lines);
    for (int i = 0; i < 3; ++i) {
        tap->set_receive_offloads({.checksum = true});
    }
    base::set_log_sink(before);
    testing::answer_ioctls({});
    EXPECT_EQ(lines.count, 1U);
}

/// The kernel's ends of a tap and of vhost, as far as a start and a stop ask.
int kernel_answer(unsigned long request, void* argument) {
    if (request == VHOST_GET_FEATURES) {
        *static_cast<std::uint64_t*>(argument) = virtio::feature::version_1 | feature::mrg_rxbuf;
    }
    return 0;
}

TEST(VhostNetFaultsTest, ACardOfTheKernelStartsOrSaysWhyNot) {
    testing::answer_ioctls(&kernel_answer);
    const unsigned met = testing::walk_host_faults(300, [](const FaultPlan& plan) {
        DrivenDevice device(2);
        testing::start_host_faults(plan);
        auto queues = backend::open_tap("cuptap9", 1);
        if (!good(queues)) {
            return;
        }
        auto tap =
            backend::TapQueue::create(std::make_shared<backend::TapQueues>(std::move(*queues)), 0);
        if (!good(tap)) {
            return;
        }
        auto kernel = open_vhost(device.bench());
        if (!good(kernel) || !good(device.bench().try_to_plug_in(
                                 std::make_unique<VhostNet>(VhostNetSpec{}, **kernel, *tap)))) {
            return;
        }
        device.start(0);
        device.bench().set_status(0);
        testing::stop_host_faults();
        EXPECT_TRUE(device.start(0));
        device.bench().set_status(0);
        device.bench().transport.reset();
    });
    testing::answer_ioctls({});
    EXPECT_GT(met, 20U);
}

}  // namespace
}  // namespace cupule::device
