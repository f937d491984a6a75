#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <random>

#include "backend/frame_queue.h"
#include "backend/hub_port.h"
#include "backend/loop_port.h"
#include "backend/net_options.h"
#include "backend/tap_port.h"
#include "backend/unix_socket.h"

namespace cupule::backend {
namespace {

using Frame = std::vector<std::uint8_t>;
constexpr int failure_ms = 20'000;

/// Hears of frames and takes them all, as a card with many buffers does.
class Card : public NetPortEvents {
  public:
    explicit Card(NetPort& wire) : port(wire) {
        port.set_events(this);
        port.want_frames(true);
    }
    ~Card() override { port.set_events(nullptr); }
    void frames_came() override {
        Frame frame(net_frame_bytes_max);
        const iovec place{.iov_base = frame.data(), .iov_len = frame.size()};
        while (const std::size_t bytes = port.receive({&place, 1})) {
            frames.emplace_back(frame.begin() + sizeof(NetHeader),
                                frame.begin() + static_cast<std::ptrdiff_t>(bytes));
        }
        port.want_frames(true);
    }
    void room_came() override { ++rooms; }
    void link_changed(bool up) override { link = up; }

    NetPort::Sent send(const Frame& frame) {
        NetHeader header;
        const std::array<iovec, 2> parts{
            iovec{.iov_base = &header, .iov_len = sizeof header},
            iovec{.iov_base = const_cast<std::uint8_t*>(frame.data()), .iov_len = frame.size()}};
        const auto result = port.send(parts);
        port.flush();
        return result;
    }

    NetPort& port;
    std::vector<Frame> frames;
    int rooms = 0;
    bool link = true;
};

class NetPortTest : public ::testing::Test {
  protected:
    NetPortTest() {
        std::string pattern = std::filesystem::temp_directory_path() / "cupule-net-XXXXXX";
        directory_ = mkdtemp(pattern.data());
    }
    ~NetPortTest() override { std::filesystem::remove_all(directory_); }

    bool until(const std::function<bool()>& done) {
        const std::uint64_t end = loop_->clock().now_ns() + failure_ms * event::ns_per_ms;
        while (!done() && loop_->clock().now_ns() < end) {
            loop_->run_once(50);
        }
        return done();
    }
    std::unique_ptr<NetPort> serve() {
        event::MutexLock lock(monitor_);
        return *open_hub_server(path(), *loop_, monitor_);
    }
    std::unique_ptr<NetPort> join() {
        event::MutexLock lock(monitor_);
        return *open_hub_client(path(), *loop_, monitor_);
    }
    std::string path() const { return directory_ / "hub"; }

    std::filesystem::path directory_;
    std::unique_ptr<event::EventLoop> loop_ = *event::EventLoop::create();
    event::Monitor monitor_;
};

TEST_F(NetPortTest, AHubGivesEachFrameToAllOthers) {
    const auto server = serve();
    const auto first = join();
    const auto second = join();
    Card a(*server);
    Card b(*first);
    Card c(*second);
    // The server knows both once it has heard them.
    ASSERT_EQ(b.send(Frame(60, 1)), NetPort::Sent::done);
    ASSERT_EQ(c.send(Frame(61, 2)), NetPort::Sent::done);
    ASSERT_TRUE(until([&] { return a.frames.size() == 2; }));
    ASSERT_EQ(a.send(Frame(1514, 3)), NetPort::Sent::done);
    ASSERT_EQ(b.send(Frame(65'000, 4)), NetPort::Sent::done);
    ASSERT_TRUE(until([&] {
        return a.frames.size() == 3 && !b.frames.empty() && c.frames.size() >= 2 &&
               b.frames.back().size() == 1514 && c.frames.back().size() == 65'000;
    }));
    EXPECT_EQ(a.frames.back(), Frame(65'000, 4));
    EXPECT_EQ(b.frames.back(), Frame(1514, 3));
    for (const Frame& frame : b.frames) {
        EXPECT_NE(frame.front(), 4);  // never its own
    }
}

TEST_F(NetPortTest, ASlowPeerHoldsTheSenderBackAndNothingIsLost) {
    const auto server = serve();
    const auto client = join();
    Card a(*server);
    Card b(*client);
    ASSERT_EQ(a.send(Frame(60)), NetPort::Sent::done);
    ASSERT_EQ(b.send(Frame(60)), NetPort::Sent::done);
    ASSERT_TRUE(until([&] { return a.frames.size() == 1; }));
    std::size_t sent = 0;
    while (b.send(Frame(1400, static_cast<std::uint8_t>(sent))) == NetPort::Sent::done) {
        ASSERT_LT(++sent, 100'000U);
    }
    EXPECT_GT(sent, 100U);
    ASSERT_TRUE(until([&] { return b.rooms > 0 && a.frames.size() == sent + 1; }));
    for (std::size_t i = 0; i < sent; ++i) {
        ASSERT_EQ(a.frames[i + 1], Frame(1400, static_cast<std::uint8_t>(i)));
    }
}

TEST_F(NetPortTest, AClientsLinkFollowsItsServer) {
    auto server = serve();
    const auto client = join();
    Card card(*client);
    EXPECT_TRUE(client->link_up());
    server.reset();
    ASSERT_TRUE(until([&] { return !card.link; }));
    EXPECT_FALSE(client->link_up());
    EXPECT_EQ(card.send(Frame(60)), NetPort::Sent::done);
    server = serve();
    ASSERT_TRUE(until([&] { return card.link; }));
}

TEST_F(NetPortTest, APeerThatSendsNonsenseIsCutOff) {
    const auto server = serve();
    Card card(*server);
    for (const Frame& nonsense : {Frame{0, 0, 0, 13}, Frame{0xFF, 0xFF, 0xFF, 0xFF}}) {
        const auto peer = *connect_unix(path());
        ASSERT_EQ(write(peer.get(), nonsense.data(), nonsense.size()), 4);
        std::uint8_t byte = 0;
        ASSERT_TRUE(until([&] { return recv(peer.get(), &byte, 1, MSG_DONTWAIT) == 0; }));
    }
    EXPECT_TRUE(card.frames.empty());
}

TEST_F(NetPortTest, AFrameThatComesInPiecesIsWhole) {
    const auto server = serve();
    Card card(*server);
    const auto peer = *connect_unix(path());
    Frame bytes{0, 0, 0, 60};
    bytes.resize(64, 7);
    for (const std::uint8_t byte : bytes) {
        EXPECT_TRUE(card.frames.empty());
        ASSERT_EQ(write(peer.get(), &byte, 1), 1);
        loop_->run_once(5);
    }
    ASSERT_TRUE(until([&] { return card.frames.size() == 1; }));
    EXPECT_EQ(card.frames.front(), Frame(60, 7));
}

TEST_F(NetPortTest, AClientWithoutAServerIsAnErrorThatNamesThePath) {
    const auto port = open_hub_client(path(), *loop_, monitor_);
    ASSERT_FALSE(port.has_value());
    EXPECT_NE(port.error().message.find(path()), std::string::npos);
}

// The user network.

Frame hex(std::string_view text) {
    Frame frame;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
        frame.push_back(
            static_cast<std::uint8_t>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
    }
    return frame;
}

TEST_F(NetPortTest, WhatALoopIsSentComesBackInOrderAndWhatItCannotHoldIsLost) {
    std::unique_ptr<NetPort> port;
    {
        event::MutexLock lock(monitor_);
        port = make_loop_port(*loop_, monitor_);
    }
    std::optional<Card> card(std::in_place, *port);
    Frame frame(60);
    for (std::size_t i = 0; i < loop_frames_max + 3; ++i) {
        frame[0] = static_cast<std::uint8_t>(i);
        event::MutexLock lock(monitor_);
        EXPECT_EQ(card->send(frame), NetPort::Sent::done);
    }
    EXPECT_TRUE(card->frames.empty()) << "not inside a call";
    ASSERT_TRUE(until([&] { return card->frames.size() >= loop_frames_max; }));
    EXPECT_EQ(card->frames.size(), loop_frames_max);
    for (std::size_t i = 0; i < loop_frames_max; ++i) {
        frame[0] = static_cast<std::uint8_t>(i);
        ASSERT_EQ(card->frames[i], frame);
    }
    {
        event::MutexLock lock(monitor_);
        card->send(Frame(net_frame_bytes_max));
        frame[0] = 77;
        card->send(frame);
    }
    ASSERT_TRUE(until([&] { return card->frames.size() > loop_frames_max; }));
    EXPECT_EQ(card->frames.back(), frame) << "the one that was too long is lost";
    event::MutexLock lock(monitor_);
    card.reset();
    port.reset();
}

TEST_F(NetPortTest, ALoopThatRanEmptyGivesFramesOfOtherLengthsBackWhole) {
    std::unique_ptr<NetPort> port;
    {
        event::MutexLock lock(monitor_);
        port = make_loop_port(*loop_, monitor_);
    }
    std::optional<Card> card(std::in_place, *port);
    std::vector<Frame> sent;
    for (const std::size_t bytes : {60U, 9000U, 1514U, 61U, 60'000U, 100U}) {
        for (std::uint8_t i = 0; i < 3; ++i) {
            sent.emplace_back(bytes + i, static_cast<std::uint8_t>(bytes + i));
            event::MutexLock lock(monitor_);
            card->send(sent.back());
        }
        ASSERT_TRUE(until([&] { return card->frames.size() == sent.size(); }));
    }
    EXPECT_EQ(card->frames, sent);
    event::MutexLock lock(monitor_);
    card.reset();
    port.reset();
}

TEST_F(NetPortTest, TheUserNetworksRouterAnswersArp) {
    const auto port = *open_slirp_port({}, *loop_, monitor_);
    {
        Card card(*port);
        // Who has 10.0.2.2? Tell 10.0.2.15 (RFC 826).
        card.send(
            hex("ffffffffffff525400000001080600010800060400015254000000010a00020f"
                "0000000000000a000202"));
        const auto answer = [&] {
            return std::ranges::any_of(card.frames, [](const Frame& frame) {
                return frame.size() >= 42 && frame[12] == 8 && frame[13] == 6 && frame[21] == 2 &&
                       frame[31] == 2;
            });
        };
        EXPECT_TRUE(until(answer));
    }
}

TEST_F(NetPortTest, ATakenHostPortIsAnErrorThatNamesIt) {
    const base::FileDescriptor taken(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ASSERT_EQ(bind(taken.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(listen(taken.get(), 1), 0);
    ASSERT_EQ(getsockname(taken.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    const HostForward forward{.host_address = htonl(INADDR_LOOPBACK),
                              .host_port = ntohs(address.sin_port),
                              .guest_port = 22};
    const auto port = open_slirp_port({.forwards = {forward}}, *loop_, monitor_);
    ASSERT_FALSE(port.has_value());
    EXPECT_NE(port.error().message.find(std::to_string(forward.host_port)), std::string::npos);
}

TEST_F(NetPortTest, AForwardedPortAsksForTheGuest) {
    // A port that was free a moment ago.
    const base::FileDescriptor probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ASSERT_EQ(bind(probe.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    auto copy = probe.duplicate();
    const HostForward forward{.host_address = htonl(INADDR_LOOPBACK),
                              .host_port = ntohs(address.sin_port),
                              .guest_port = 22};
    const_cast<base::FileDescriptor&>(probe).close();
    copy->close();
    const auto port = open_slirp_port({.forwards = {forward}}, *loop_, monitor_);
    ASSERT_TRUE(port.has_value()) << port.error().message;
    Card card(**port);
    const base::FileDescriptor client(
        socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    connect(client.get(), reinterpret_cast<sockaddr*>(&address), size);
    // The router looks for 10.0.2.15.
    EXPECT_TRUE(until([&] {
        return std::ranges::any_of(card.frames, [](const Frame& frame) {
            return frame.size() >= 42 && frame[12] == 8 && frame[13] == 6 && frame[41] == 15;
        });
    }));
}

// Taps: where this process may make one.

TEST_F(NetPortTest, FramesCrossATapBothWays) {
    auto taps = open_tap("cupuletest0", 1);
    if (!taps) {
        GTEST_SKIP() << taps.error().message;
    }
    const auto port = *make_tap_port(
        *TapQueue::create(std::make_shared<TapQueues>(std::move(*taps)), 0), *loop_, monitor_);
    Card card(*port);
    EXPECT_TRUE(port->offloads().checksum);
    // The host's own IPv6 greets whoever is on the wire (RFC 4861); it takes what we send.
    EXPECT_EQ(card.send(Frame(60, 1)), NetPort::Sent::done);
    std::filesystem::path packets = "/sys/class/net/cupuletest0/statistics/rx_packets";
    auto file = *base::open_file(packets, O_RDONLY);
    std::array<char, 16> text{};
    ASSERT_GT(read(file.get(), text.data(), text.size()), 0);
    EXPECT_EQ(text[0], '1');
}

TEST_F(NetPortTest, ATapThatCannotBeOpenedIsAnErrorThatNamesIt) {
    const auto taps = open_tap("lo", 1);
    ASSERT_FALSE(taps.has_value());
    EXPECT_NE(taps.error().message.find("'lo'"), std::string::npos);
}

// Options.

TEST(NetOptions, ReadsTheGrammar) {
    const auto tap = parse_net_options("tap=tap0,mac_seed=one,mtu=9000,queues=4");
    ASSERT_TRUE(tap.has_value()) << tap.error().message;
    EXPECT_EQ(
        *tap,
        (NetOptions{
            .kind = NetKind::tap, .name = "tap0", .mac_seed = "one", .mtu = 9000, .queues = 4}));
    EXPECT_TRUE(parse_net_options("tap=tap0,vhost,mac_seed=one")->vhost);
    const auto old = parse_net_options("tap_old,mac=00:16:3E:0a:b:C0");
    ASSERT_TRUE(old.has_value());
    EXPECT_EQ(old->name, "tap_old");
    EXPECT_EQ(*old->mac, (MacAddress{0, 0x16, 0x3E, 0x0A, 0x0B, 0xC0}));
    const auto user = parse_net_options(
        "user,hostfwd=tcp::2222-:22,hostfwd=udp:0.0.0.0:1-10.0.2."
        "16:53,restrict,no_host_loopback");
    ASSERT_TRUE(user.has_value()) << user.error().message;
    EXPECT_TRUE(user->slirp.restricted);
    EXPECT_FALSE(user->slirp.host_loopback);
    EXPECT_EQ(
        user->slirp.forwards,
        (std::vector<HostForward>{
            {.host_address = htonl(0x7F00'0001), .host_port = 2222, .guest_port = 22},
            {.udp = true, .guest_address = htonl(0x0A00'0210), .host_port = 1, .guest_port = 53}}));
    EXPECT_EQ(parse_net_options("user,bps=1M/2K,pps=1000")->limit,
              (RateLimit{.bytes_per_s = 1 << 20, .operations_per_s = 1000, .bytes_burst = 2048}));
    EXPECT_EQ(parse_net_options("loop,mtu=1500")->kind, NetKind::loop);
    EXPECT_TRUE(parse_net_options("tap=t,queues=3")->workers.empty());
    EXPECT_EQ(parse_net_options("user,iothread")->workers, WorkerCpus{{}});
    EXPECT_EQ(parse_net_options("tap=t,iothread=2@0:1/2,queues=3")->workers,
              (WorkerCpus{{0, 1}, {2}}));
    EXPECT_EQ(parse_net_options("tap=loop")->name, "loop");
    EXPECT_EQ(parse_net_options("unix=/run/hub")->kind, NetKind::unix_server);
    EXPECT_EQ(parse_net_options("unix-client=/run/hub")->name, "/run/hub");
}

TEST(NetOptions, RefusesWhatItDoesNotUnderstandAndNamesIt) {
    for (const auto& [text, names] :
         std::vector<std::pair<std::string, std::string>>{{"", "user, tap=NAME"},
                                                          {"bridge=br0", "bridge=br0"},
                                                          {"tap=", "1 to 15"},
                                                          {"tap=a_name_of_16_char", "a_name_of_16"},
                                                          {"tap=x/y", "x/y"},
                                                          {"unix=", "unix="},
                                                          {"user,mac=01:0:0:0:0:1", "group"},
                                                          {"user,mac=0:0:0:0:0:0", "zero"},
                                                          {"user,mac=1:2:3", "1:2:3"},
                                                          {"user,mac=0:1:2:3:4:5:6", "six"},
                                                          {"user,mtu=67", "68"},
                                                          {"user,mtu=70000", "65535"},
                                                          {"user,queues=2", "tap"},
                                                          {"tap=t,queues=17", "16"},
                                                          {"tap=t,vhost,queues=2", "queues=2"},
                                                          {"user,vhost", "tap"},
                                                          {"tap=t,hostfwd=tcp::1-:2", "hostfwd"},
                                                          {"user,hostfwd=tcp:1-2", "tcp::2222"},
                                                          {"user,hostfwd=tcp::0-:2", "rule"},
                                                          {"user,hostfwd=tcp:x:1-:2", "rule"},
                                                          {"user,bps=0", "bps"},
                                                          {"user,pps=1X", "pps"},
                                                          {"tap=t,vhost,bps=1M", "bps"},
                                                          {"user,iothread=2", "1 pairs"},
                                                          {"tap=t,iothread=0", "1 to 40"},
                                                          {"tap=t,vhost,iothread", "iothread"},
                                                          {"vhost-user=s,iothread", "iothread"},
                                                          {"user,iothreads", "iothreads"},
                                                          {"user,fast", "fast"}}) {
        const auto options = parse_net_options(text);
        ASSERT_FALSE(options.has_value()) << text;
        EXPECT_NE(options.error().message.find(names), std::string::npos)
            << options.error().message;
    }
}

TEST(NetOptions, GeneratesTheAddressesOfAcrnDm) {
    // printf 3-0-vm1 | md5sum; printf 4-0 | md5sum
    EXPECT_EQ(generated_mac(3, 0, "vm1"), (MacAddress{0x00, 0x16, 0x3E, 0xee, 0x08, 0x2b}));
    EXPECT_EQ(generated_mac(4, 0, ""), (MacAddress{0x00, 0x16, 0x3E, 0x20, 0xfd, 0xcf}));
}

}  // namespace
}  // namespace cupule::backend
