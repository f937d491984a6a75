#include "backend/stdio_channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

#include "backend/fd_channel.h"
#include "testing/channel_bench.h"

namespace cupule::backend {
namespace {

using testing::ChannelBench;
using testing::Listener;

struct Pipe {
    Pipe() {
        std::array<int, 2> ends{};
        EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
        reader = base::FileDescriptor(ends[0]);
        writer = base::FileDescriptor(ends[1]);
    }
    base::FileDescriptor reader;
    base::FileDescriptor writer;
};

/// Standard input and output made of two pipes.
struct PipeBench : ChannelBench {
    Pipe in;
    Pipe out;
    int stops = 0;
    StdioOwner owner{[this] { ++stops; }, in.reader.get(), out.writer.get()};
    std::unique_ptr<ByteChannel> channel = take(owner.open("com1", *loop, monitor));
    Listener listener{*channel};
};

TEST(StdioChannel, CarriesBytesBothWaysThroughPipes) {
    PipeBench b;
    b.put(b.in.writer.get(), "typed");
    EXPECT_TRUE(b.run_until([&] { return b.listener.received == "typed"; }));
    b.listener.send("printed");
    EXPECT_TRUE(b.run_until([&] { return b.get(b.out.reader.get()) == "printed"; }));
}

TEST(StdioChannel, ManySingleBytesLeaveTogether) {
    PipeBench b;
    for (int i = 0; i < 100; ++i) {
        b.listener.send("x");
    }
    EXPECT_EQ(b.get(b.out.reader.get()), "") << "nothing leaves before the delay";
    EXPECT_TRUE(b.run_until([&] { return b.get(b.out.reader.get()) == std::string(100, 'x'); }));
}

TEST(StdioChannel, UnsentOutputLeavesWithTheChannel) {
    PipeBench b;
    b.listener.send("last words");
    b.channel.reset();
    EXPECT_EQ(b.get(b.out.reader.get()), "last words");
}

TEST(StdioChannel, ASecondUserIsRefusedWithTheNameOfTheFirst) {
    PipeBench b;
    auto second = b.owner.open("com2", *b.loop, b.monitor);
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message.find("'com2'"), std::string::npos);
    EXPECT_NE(second.error().message.find("'com1' has it already"), std::string::npos);
}

TEST(StdioChannel, InputAtItsEndStopsNothingAndDoesNotSpin) {
    PipeBench b;
    b.put(b.in.writer.get(), "bye");
    b.in.writer.close();
    EXPECT_TRUE(b.run_until([&] { return b.listener.received == "bye"; }));
    b.settle();
    const int calls = b.listener.readable_calls;
    for (int i = 0; i < 20; ++i) {
        b.loop->run_once(0);
    }
    EXPECT_EQ(b.listener.readable_calls, calls);
    EXPECT_TRUE(b.channel->connected());
    b.listener.send("still here");
    EXPECT_TRUE(b.run_until([&] { return b.get(b.out.reader.get()) == "still here"; }));
}

TEST(StdioChannel, ADeviceWithoutRoomIsNotCalledAgainAndAgain) {
    PipeBench b;
    b.listener.room = 0;
    b.put(b.in.writer.get(), "waits");
    EXPECT_TRUE(b.run_until([&] { return b.listener.readable_calls > 0; }));
    for (int i = 0; i < 20; ++i) {
        b.loop->run_once(0);
    }
    EXPECT_EQ(b.listener.readable_calls, 1);
    b.listener.room = 100;
    b.listener.take();
    EXPECT_EQ(b.listener.received, "waits");
}

TEST(StdioChannel, ControlAXAsksForAStopOnceAndIsNotPassedOn) {
    PipeBench b;
    b.put(b.in.writer.get(), "a\x01xb");
    EXPECT_TRUE(b.run_until([&] { return b.stops == 1 && b.listener.received == "ab"; }));
}

TEST(StdioChannel, TheEscapeMayComeInTwoPieces) {
    PipeBench b;
    b.put(b.in.writer.get(), "\x01");
    b.settle();
    EXPECT_EQ(b.listener.received, "");
    b.put(b.in.writer.get(), "x");
    EXPECT_TRUE(b.run_until([&] { return b.stops == 1; }));
}

TEST(StdioChannel, ControlATwiceIsOneControlA) {
    PipeBench b;
    b.put(b.in.writer.get(),
          "1\x01\x01"
          "2");
    EXPECT_TRUE(b.run_until([&] {
        return b.listener.received ==
               "1\x01"
               "2";
    }));
    EXPECT_EQ(b.stops, 0);
}

TEST(StdioChannel, ControlAHPrintsHelpAndControlABIsABreak) {
    PipeBench b;
    b.put(b.in.writer.get(),
          "\x01h\x01"
          "b");
    EXPECT_TRUE(b.run_until([&] { return b.listener.breaks == 1; }));
    EXPECT_TRUE(b.run_until(
        [&] { return b.get(b.out.reader.get()).find("Ctrl-a x") != std::string::npos; }));
    EXPECT_EQ(b.listener.received, "");
}

TEST(StdioChannel, AFullPipeHoldsBytesBackAndLosesNone) {
    PipeBench b;
    std::string sent;
    std::size_t taken = 0;
    const std::string block(5000, 'b');
    do {
        taken = b.listener.send(block);
        sent.append(block, 0, taken);
    } while (taken == block.size() && sent.size() < 1'000'000);
    ASSERT_LT(taken, block.size());
    EXPECT_EQ(b.listener.writable_calls, 0);
    std::string got;
    EXPECT_TRUE(b.run_until([&] {
        got += b.get(b.out.reader.get());
        return got.size() == sent.size() && b.listener.writable_calls == 1;
    }));
    EXPECT_EQ(got, sent);
}

TEST(StdioChannel, AReaderThatLeftMeansDroppedOutputAndNoStall) {
    signal(SIGPIPE, SIG_IGN);
    PipeBench b;
    b.out.reader.close();
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(b.listener.send(std::string(5000, 'x')), 5000U);
        b.loop->run_once(0);
    }
}

TEST(StdioChannel, RegularFilesWorkThoughEpollRefusesThem) {
    ChannelBench b;
    const std::string in_path = ::testing::TempDir() + "/stdio_in";
    const std::string out_path = ::testing::TempDir() + "/stdio_out";
    auto in = ChannelBench::take(base::open_file(in_path, O_RDWR | O_CREAT | O_TRUNC, 0600));
    auto out = ChannelBench::take(base::open_file(out_path, O_RDWR | O_CREAT | O_TRUNC, 0600));
    b.put(in.get(), "from a file");
    lseek(in.get(), 0, SEEK_SET);
    b.put(out.get(), "before ");
    StdioOwner owner([] {}, in.get(), out.get());
    auto channel = ChannelBench::take(owner.open("com1", *b.loop, b.monitor));
    Listener listener(*channel);
    listener.send("to a file");
    EXPECT_TRUE(b.run_until([&] { return listener.received == "from a file"; }));
    channel.reset();
    lseek(out.get(), 0, SEEK_SET);
    EXPECT_EQ(b.get(out.get()), "before to a file");
}

TEST(StdioChannel, DevNullIsAnInputAtItsEnd) {
    ChannelBench b;
    auto null = ChannelBench::take(base::open_file("/dev/null", O_RDWR));
    StdioOwner owner([] {}, null.get(), null.get());
    auto channel = ChannelBench::take(owner.open("com1", *b.loop, b.monitor));
    Listener listener(*channel);
    b.settle();
    EXPECT_EQ(listener.received, "");
    EXPECT_EQ(listener.send("gone"), 4U);
}

TEST(StdioChannel, SocketsWorkAsStandardInputAndOutput) {
    ChannelBench b;
    std::array<int, 2> ends{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    base::FileDescriptor ours(ends[0]);
    base::FileDescriptor theirs(ends[1]);
    StdioOwner owner([] {}, ours.get(), ours.get());
    auto channel = ChannelBench::take(owner.open("com1", *b.loop, b.monitor));
    Listener listener(*channel);
    b.put(theirs.get(), "in");
    EXPECT_TRUE(b.run_until([&] { return listener.received == "in"; }));
    listener.send("out");
    EXPECT_TRUE(b.run_until([&] { return b.get(theirs.get()) == "out"; }));
    EXPECT_EQ(fcntl(ours.get(), F_GETFL) & O_NONBLOCK, 0) << "the shared file keeps its mode";
}

struct Terminal {
    Terminal() {
        int master_fd = -1;
        int slave_fd = -1;
        EXPECT_EQ(openpty(&master_fd, &slave_fd, nullptr, nullptr, nullptr), 0);
        master = base::FileDescriptor(master_fd);
        slave = base::FileDescriptor(slave_fd);
    }
    termios mode() const {
        termios now{};
        tcgetattr(slave.get(), &now);
        return now;
    }
    base::FileDescriptor master;
    base::FileDescriptor slave;
};

TEST(StdioChannel, ATerminalIsRawWhileInUseAndAsFoundAfterwards) {
    ChannelBench b;
    Terminal terminal;
    const termios found = terminal.mode();
    ASSERT_NE(found.c_lflag & ICANON, 0U);
    {
        StdioOwner owner([] {}, terminal.slave.get(), terminal.slave.get());
        auto channel = ChannelBench::take(owner.open("com1", *b.loop, b.monitor));
        EXPECT_EQ(terminal.mode().c_lflag & (ICANON | ECHO | ISIG), 0U);
        EXPECT_NE(terminal.mode().c_oflag & OPOST, 0U) << "our own log stays readable";
        EXPECT_EQ(fcntl(terminal.slave.get(), F_GETFL) & O_NONBLOCK, 0);
        owner.restore_terminal();
        EXPECT_EQ(terminal.mode().c_lflag, found.c_lflag);
    }
    EXPECT_EQ(terminal.mode().c_lflag, found.c_lflag);
}

TEST(StdioChannel, TheOwnersEndRestoresTheTerminal) {
    ChannelBench b;
    Terminal terminal;
    const termios found = terminal.mode();
    {
        StdioOwner owner([] {}, terminal.slave.get(), terminal.slave.get());
        auto channel = ChannelBench::take(owner.open("com1", *b.loop, b.monitor));
        EXPECT_NE(terminal.mode().c_lflag, found.c_lflag);
    }
    EXPECT_EQ(terminal.mode().c_lflag, found.c_lflag);
    EXPECT_EQ(terminal.mode().c_iflag, found.c_iflag);
}

TEST(StdioChannel, KeysOfATerminalArriveOneByOneWithoutEcho) {
    ChannelBench b;
    Terminal terminal;
    StdioOwner owner([] {}, terminal.slave.get(), terminal.slave.get());
    auto channel = ChannelBench::take(owner.open("com1", *b.loop, b.monitor));
    Listener listener(*channel);
    b.put(terminal.master.get(), "\x03q");
    EXPECT_TRUE(b.run_until([&] { return listener.received == "\x03q"; }));
    EXPECT_EQ(b.get(terminal.master.get()), "");
}

}  // namespace
}  // namespace cupule::backend
