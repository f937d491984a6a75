#include "backend/byte_channel_factory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <pty.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "backend/socket_channel.h"
#include "testing/channel_bench.h"

namespace cupule::backend {
namespace {

using testing::ChannelBench;
using testing::Listener;

std::string error_of(std::string_view text) {
    auto spec = parse_channel(text);
    return spec ? "" : spec.error().message;
}

TEST(ParseChannel, ReadsEveryForm) {
    const auto spec = [](std::string_view text) { return ChannelBench::take(parse_channel(text)); };
    EXPECT_EQ(spec(""), ChannelSpec{});
    EXPECT_EQ(spec("null"), ChannelSpec{});
    EXPECT_EQ(spec("stdio"), ChannelSpec{.kind = ChannelKind::stdio});
    EXPECT_EQ(spec("/dev/ttyS3"), (ChannelSpec{.kind = ChannelKind::tty, .path = "/dev/ttyS3"}));
    EXPECT_EQ(spec("pty"), ChannelSpec{.kind = ChannelKind::pty});
    EXPECT_EQ(spec("pty:/tmp/x"), (ChannelSpec{.kind = ChannelKind::pty, .path = "/tmp/x"}));
    EXPECT_EQ(spec("unix:/a:b"), (ChannelSpec{.kind = ChannelKind::unix_server, .path = "/a:b"}));
    EXPECT_EQ(spec("unix-client:c"), (ChannelSpec{.kind = ChannelKind::unix_client, .path = "c"}));
    EXPECT_EQ(spec("file:log"), (ChannelSpec{.kind = ChannelKind::file, .path = "log"}));
}

TEST(ParseChannel, TcpIsLoopbackUnlessAnAddressIsGiven) {
    const auto tcp = [](std::string_view text) {
        const auto spec = ChannelBench::take(parse_channel(text));
        EXPECT_EQ(spec.kind, ChannelKind::tcp);
        return fmt::format("{} {}", spec.address, spec.port);
    };
    EXPECT_EQ(tcp("tcp:4444"), "127.0.0.1 4444");
    EXPECT_EQ(tcp("tcp:0.0.0.0:65535"), "0.0.0.0 65535");
    EXPECT_EQ(tcp("tcp:[::1]:1"), "::1 1");
}

TEST(ParseChannel, ErrorsNameTheValueAndWhatExists) {
    EXPECT_NE(error_of("serial0").find("'serial0'"), std::string::npos);
    EXPECT_NE(error_of("serial0").find("stdio, tcp:PORT"), std::string::npos);
    EXPECT_NE(error_of("stdio2"), "");
    EXPECT_NE(error_of("/tmp/tty"), "");
    for (const char* text :
         {"tcp:", "tcp:0", "tcp:65536", "tcp:-1", "tcp:12x", "tcp:1.2.3.4:", "tcp: 1"}) {
        EXPECT_NE(error_of(text).find("not a number from 1 to 65535"), std::string::npos) << text;
    }
    EXPECT_NE(error_of("tcp::80").find("lacks the address"), std::string::npos);
    for (const char* text : {"pty:", "unix:", "unix-client:", "file:"}) {
        EXPECT_NE(error_of(text).find("lacks the path"), std::string::npos) << text;
    }
}

/// Opens channels and plays the program at their other end.
struct OpenBench : ChannelBench {
    StdioOwner stdio{[] {}, -1, -1};
    std::string directory;

    OpenBench() {
        std::string pattern = ::testing::TempDir() + "channelXXXXXX";
        directory = mkdtemp(pattern.data());
    }
    std::string path(const char* file) const { return directory + "/" + file; }
    std::unique_ptr<ByteChannel> open(const std::string& text) {
        return take(open_channel(take(parse_channel(text)), "com1", *loop, monitor, stdio));
    }
    std::string open_error(const std::string& text) {
        auto channel = open_channel(take(parse_channel(text)), "com1", *loop, monitor, stdio);
        return channel ? "" : channel.error().message;
    }
    /// A connected socket; empty when nobody listens.
    static base::FileDescriptor connect_to(const std::string& path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
        base::FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const auto* raw = reinterpret_cast<const sockaddr*>(&address);
        return connect(socket.get(), raw, sizeof address) == 0 ? std::move(socket)
                                                               : base::FileDescriptor();
    }
};

TEST(OpenChannel, NullTakesEverythingAndGivesNothing) {
    OpenBench b;
    auto channel = b.open("null");
    Listener listener(*channel);
    EXPECT_EQ(listener.send("text"), 4U);
    listener.take();
    EXPECT_EQ(listener.received, "");
    EXPECT_FALSE(channel->connected());
}

TEST(OpenChannel, FileKeepsTheOutput) {
    OpenBench b;
    auto channel = b.open("file:" + b.path("log"));
    Listener listener(*channel);
    listener.send("line\n");
    auto file = ChannelBench::take(base::open_file(b.path("log"), O_RDONLY));
    EXPECT_TRUE(b.run_until([&] { return ChannelBench::get(file.get()) == "line\n"; }));
}

TEST(OpenChannel, ErrorsNameUserAndPath) {
    OpenBench b;
    const std::string message = b.open_error("file:/nonexistent/log");
    EXPECT_EQ(message, "com1: cannot open '/nonexistent/log': No such file or directory");
    EXPECT_NE(b.open_error("/dev/null").find("is not a terminal"), std::string::npos);
}

TEST(OpenChannel, UnixServerServesOneClientAfterTheOther) {
    OpenBench b;
    const std::string path = b.path("socket");
    auto channel = b.open("unix:" + path);
    Listener listener(*channel);
    struct stat status {};
    ASSERT_EQ(stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    EXPECT_EQ(listener.send("nobody hears"), 12U);

    auto first = OpenBench::connect_to(path);
    EXPECT_TRUE(b.run_until([&] { return listener.connections == 1; }));
    auto second = OpenBench::connect_to(path);
    ChannelBench::put(first.get(), "one");
    ChannelBench::put(second.get(), "two");
    EXPECT_TRUE(b.run_until([&] { return listener.received == "one"; }));
    b.settle();
    EXPECT_EQ(listener.received, "one") << "the second waits";
    listener.send("to one");
    EXPECT_TRUE(b.run_until([&] { return ChannelBench::get(first.get()) == "to one"; }));

    first.close();
    EXPECT_TRUE(b.run_until([&] { return listener.received == "onetwo"; }));
    EXPECT_EQ(listener.disconnections, 1);
    EXPECT_EQ(listener.connections, 2);
    channel.reset();
    EXPECT_NE(stat(path.c_str(), &status), 0) << "the file goes with the channel";
}

TEST(OpenChannel, AClientThatLeavesWhileTheDeviceWaitsForRoomReleasesIt) {
    OpenBench b;
    auto channel = b.open("unix:" + b.path("socket"));
    Listener listener(*channel);
    auto client = OpenBench::connect_to(b.path("socket"));
    EXPECT_TRUE(b.run_until([&] { return channel->connected(); }));
    while (listener.send(std::string(5000, 'x')) == 5000) {
    }
    EXPECT_EQ(listener.writable_calls, 0);
    client.close();
    EXPECT_TRUE(
        b.run_until([&] { return listener.writable_calls == 1 && listener.disconnections == 1; }));
    EXPECT_EQ(listener.send("dropped"), 7U);
}

TEST(OpenChannel, UnixServerReplacesADeadSocketButNothingElse) {
    OpenBench b;
    const std::string path = b.path("socket");
    auto channel = b.open("unix:" + path);
    EXPECT_NE(b.open_error("unix:" + path).find("in use by another server"), std::string::npos);
    // Leave a socket file behind as a crash does.
    std::rename(path.c_str(), b.path("dead").c_str());
    channel.reset();
    channel = b.open("unix:" + b.path("dead"));
    EXPECT_TRUE(OpenBench::connect_to(b.path("dead")));
    ChannelBench::take(base::open_file(b.path("file"), O_WRONLY | O_CREAT, 0600));
    EXPECT_NE(b.open_error("unix:" + b.path("file")).find("is not a socket"), std::string::npos);
}

TEST(OpenChannel, ASocketPathThatIsTooLongIsRefused) {
    OpenBench b;
    EXPECT_NE(b.open_error("unix:/" + std::string(200, 'x')).find("1 to 107"), std::string::npos);
}

TEST(OpenChannel, UnixClientTalksToItsServer) {
    OpenBench b;
    EXPECT_NE(b.open_error("unix-client:" + b.path("none")).find("cannot connect"),
              std::string::npos);
    auto server = b.open("unix:" + b.path("socket"));
    Listener server_listener(*server);
    auto client = b.open("unix-client:" + b.path("socket"));
    Listener client_listener(*client);
    client_listener.send("hello");
    EXPECT_TRUE(b.run_until([&] { return server_listener.received == "hello"; }));
    server_listener.send("world");
    EXPECT_TRUE(b.run_until([&] { return client_listener.received == "world"; }));
    server.reset();
    EXPECT_TRUE(b.run_until([&] { return client_listener.disconnections == 1; }));
    EXPECT_FALSE(client->connected());
    auto again = b.open("unix:" + b.path("socket"));
    EXPECT_TRUE(b.run_until([&] { return client_listener.connections == 1; }));
}

/// A port that was free a moment ago.
std::uint16_t free_port() {
    base::FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    socklen_t size = sizeof address;
    getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
}

base::FileDescriptor connect_tcp(std::uint32_t host, std::uint16_t port) {
    base::FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(host);
    const auto* raw = reinterpret_cast<const sockaddr*>(&address);
    return connect(socket.get(), raw, sizeof address) == 0 ? std::move(socket)
                                                           : base::FileDescriptor();
}

TEST(OpenChannel, TcpListensOnLoopbackOnly) {
    OpenBench b;
    const std::uint16_t port = free_port();
    auto channel = b.open(fmt::format("tcp:{}", port));
    Listener listener(*channel);
    EXPECT_FALSE(connect_tcp(INADDR_LOOPBACK + 1, port)) << "127.0.0.2 is not 127.0.0.1";
    auto client = connect_tcp(INADDR_LOOPBACK, port);
    ASSERT_TRUE(client);
    ChannelBench::put(client.get(), "in");
    EXPECT_TRUE(b.run_until([&] { return listener.received == "in"; }));
    listener.send("out");
    EXPECT_TRUE(b.run_until([&] { return ChannelBench::get(client.get()) == "out"; }));
    EXPECT_NE(b.open_error(fmt::format("tcp:{}", port)).find("cannot listen"), std::string::npos);
    EXPECT_NE(b.open_error("tcp:localhost:99").find("in figures"), std::string::npos);
}

TEST(OpenChannel, PtyCarriesBytesBetweenUsersThatComeAndGo) {
    OpenBench b;
    const std::string link = b.path("console");
    auto channel = b.open("pty:" + link);
    Listener listener(*channel);
    b.settle();
    EXPECT_FALSE(channel->connected());
    EXPECT_EQ(listener.send(std::string(100'000, 'x')), 100'000U) << "nobody there: dropped";
    for (int user = 1; user <= 3; ++user) {
        listener.received.clear();
        auto slave = ChannelBench::take(base::open_file(link, O_RDWR | O_NOCTTY));
        EXPECT_TRUE(b.run_until([&] { return listener.connections == user; }));
        ChannelBench::put(slave.get(), "a\nb\x03");
        EXPECT_TRUE(b.run_until([&] { return listener.received == "a\nb\x03"; })) << "raw";
        listener.send("out\n");
        EXPECT_TRUE(b.run_until([&] { return ChannelBench::get(slave.get()) == "out\n"; }));
        slave.close();
        EXPECT_TRUE(b.run_until([&] { return listener.disconnections == user; }));
    }
    const int calls = listener.readable_calls;
    b.settle();
    EXPECT_EQ(listener.readable_calls, calls) << "the hang-up does not spin";
    channel.reset();
    EXPECT_NE(access(link.c_str(), F_OK), 0);
}

TEST(OpenChannel, PtyHearsAWriterThatLeftBeforeItLooked) {
    OpenBench b;
    auto channel = b.open("pty:" + b.path("console"));
    Listener listener(*channel);
    auto slave = ChannelBench::take(base::open_file(b.path("console"), O_RDWR | O_NOCTTY));
    ChannelBench::put(slave.get(), "quick");
    slave.close();
    EXPECT_TRUE(b.run_until([&] { return listener.received == "quick"; }));
}

TEST(OpenChannel, PtyDoesNotReplaceAFileByItsLink) {
    OpenBench b;
    ChannelBench::take(base::open_file(b.path("file"), O_WRONLY | O_CREAT, 0600));
    EXPECT_NE(b.open_error("pty:" + b.path("file")).find("not a symbolic link"), std::string::npos);
}

TEST(OpenChannel, TtyIsRawAndComesBackAsFound) {
    OpenBench b;
    int master_fd = -1;
    int slave_fd = -1;
    std::array<char, 64> name{};
    ASSERT_EQ(openpty(&master_fd, &slave_fd, name.data(), nullptr, nullptr), 0);
    base::FileDescriptor master(master_fd);
    base::FileDescriptor slave(slave_fd);
    termios found{};
    tcgetattr(slave.get(), &found);
    auto channel = b.open(name.data());
    Listener listener(*channel);
    ChannelBench::put(master.get(), "\x03q\r");
    EXPECT_TRUE(b.run_until([&] { return listener.received == "\x03q\r"; }));
    listener.send("out\n");
    EXPECT_TRUE(b.run_until([&] { return ChannelBench::get(master.get()) == "out\n"; }));
    channel.reset();
    termios after{};
    tcgetattr(slave.get(), &after);
    EXPECT_EQ(after.c_lflag, found.c_lflag);
    EXPECT_EQ(after.c_oflag, found.c_oflag);
}

TEST(OpenChannel, ATtyThatGoesAwayBecomesAnOpenWire) {
    OpenBench b;
    int master_fd = -1;
    int slave_fd = -1;
    std::array<char, 64> name{};
    ASSERT_EQ(openpty(&master_fd, &slave_fd, name.data(), nullptr, nullptr), 0);
    base::FileDescriptor master(master_fd);
    base::FileDescriptor slave(slave_fd);
    auto channel = b.open(name.data());
    Listener listener(*channel);
    master.close();
    EXPECT_TRUE(b.run_until([&] { return listener.disconnections == 1; }));
    EXPECT_EQ(listener.send("gone"), 4U);
}

}  // namespace
}  // namespace cupule::backend
