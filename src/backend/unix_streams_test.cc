#include "backend/unix_streams.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "backend/unix_socket.h"

namespace cupule::backend {
namespace {

constexpr int failure_ms = 20'000;

class UnixStreams : public ::testing::Test, protected StreamHostEvents, protected HostStreamEvents {
  protected:
    UnixStreams() {
        std::string name = "/tmp/cupule_streams_XXXXXX";
        directory_ = mkdtemp(name.data());
        path_ = directory_ + "/vsock";
        host_ = *open_unix_streams(path_, *loop_, monitor_);
        event::MutexLock lock(monitor_);
        host_->set_events(this);
    }
    ~UnixStreams() override {
        event::MutexLock lock(monitor_);
        stream_.reset();
        host_.reset();
        std::filesystem::remove_all(directory_);
    }
    void connect_wanted(std::unique_ptr<HostStream> stream, std::uint32_t port) override {
        stream_ = std::move(stream);
        port_ = port;
    }
    void stream_readable() override { ++readable_; }
    void stream_writable() override { ++writable_; }

    base::FileDescriptor call(std::string_view text) {
        auto socket = *connect_unix(path_);
        say(socket, text);
        return socket;
    }
    static void say(const base::FileDescriptor& socket, std::string_view text) {
        EXPECT_EQ(send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(text.size()));
    }
    /// Empty: an end.
    static std::string read_from(const base::FileDescriptor& socket) {
        char bytes[256];
        const ssize_t count = recv(socket.get(), bytes, sizeof bytes, MSG_DONTWAIT);
        return count < 0 ? "(nothing)" : std::string(bytes, static_cast<std::size_t>(count));
    }
    template <class Condition>
    void until(Condition condition) {
        for (int waited = 0; !condition() && waited < failure_ms; waited += 10) {
            loop_->run_once(10);
        }
        EXPECT_TRUE(condition());
    }
    std::string read_stream(HostStream::Read& result) {
        event::MutexLock lock(monitor_);
        std::string bytes(64, 0);
        const iovec piece{.iov_base = bytes.data(), .iov_len = bytes.size()};
        result = stream_->read({&piece, 1});
        bytes.resize(result.bytes);
        return bytes;
    }

    std::unique_ptr<event::EventLoop> loop_ = *event::EventLoop::create();
    event::Monitor monitor_;
    std::string directory_;
    std::string path_;
    std::unique_ptr<StreamHost> host_;
    std::unique_ptr<HostStream> stream_;
    std::uint32_t port_ = 0;
    int readable_ = 0;
    int writable_ = 0;
};

TEST_F(UnixStreams, ACallerNamesAPortAndHearsOk) {
    const auto caller = call("CONNECT 7003\nand data");
    until([&] { return stream_ != nullptr; });
    EXPECT_EQ(port_, 7003U);
    event::MutexLock lock(monitor_);
    stream_->accepted(1U << 30);
    EXPECT_EQ(read_from(caller), "OK 1073741824\n");
}

TEST_F(UnixStreams, WhatStandsBehindTheLineIsData) {
    const auto caller = call("CONNECT 1\nand data");
    until([&] { return stream_ != nullptr; });
    HostStream::Read result;
    EXPECT_EQ(read_stream(result), "and data");
    EXPECT_EQ(read_stream(result), "");
    EXPECT_FALSE(result.ended);
}

TEST_F(UnixStreams, ALineMayComeInPieces) {
    const auto caller = call("CON");
    loop_->run_once(0);
    loop_->run_once(0);
    say(caller, "NECT 42949");
    loop_->run_once(0);
    loop_->run_once(0);
    say(caller, "67295\n");
    until([&] { return stream_ != nullptr; });
    EXPECT_EQ(port_, 4294967295U);
}

TEST_F(UnixStreams, OtherCallersAreTurnedAway) {
    for (const std::string& text :
         {std::string("CONNECT 4294967296\n"), std::string("CONNECT -1\n"), std::string("\n"),
          std::string("GET / HTTP/1.1\r\n"), std::string(100, 'x'), std::string("CONNECT 1 2\n")}) {
        const auto caller = call(text);
        std::string heard = "(nothing)";
        until([&] { return (heard = read_from(caller)) != "(nothing)"; });
        EXPECT_EQ(stream_, nullptr) << text;
    }
}

TEST_F(UnixStreams, CallersThatSayNothingMakeRoomForOthers) {
    std::vector<base::FileDescriptor> callers;
    for (std::size_t i = 0; i < unix_callers_max; ++i) {
        callers.push_back(*connect_unix(path_));
        loop_->run_once(0);
        loop_->run_once(0);
    }
    const auto caller = call("CONNECT 3\n");
    until([&] { return stream_ != nullptr; });
    EXPECT_EQ(read_from(callers.front()), "");
    EXPECT_EQ(read_from(callers.back()), "(nothing)");
}

TEST_F(UnixStreams, NobodyIsCalledWhereNobodyListens) {
    {
        event::MutexLock lock(monitor_);
        host_->set_events(nullptr);
    }
    const auto caller = call("CONNECT 3\n");
    until([&] { return read_from(caller).empty(); });
}

TEST_F(UnixStreams, APortIsASocketOfItsOwn) {
    {
        event::MutexLock lock(monitor_);
        EXPECT_EQ(host_->connect(80), nullptr);
    }
    const auto server = *listen_unix(path_ + "_80", 4);
    event::MutexLock lock(monitor_);
    stream_ = host_->connect(80);
    ASSERT_NE(stream_, nullptr);
    std::string text = "hello";
    const iovec piece{.iov_base = text.data(), .iov_len = text.size()};
    EXPECT_EQ(stream_->write({&piece, 1}).bytes, 5U);
    const base::FileDescriptor program(accept(server.get(), nullptr, nullptr));
    EXPECT_EQ(read_from(program), "hello");
    stream_->end_writing();
    EXPECT_EQ(read_from(program), "");
}

TEST_F(UnixStreams, AnEndOfOneHalfAndOfBothDiffer) {
    auto caller = call("CONNECT 1\n");
    until([&] { return stream_ != nullptr; });
    shutdown(caller.get(), SHUT_WR);
    HostStream::Read result;
    EXPECT_EQ(read_stream(result), "");
    EXPECT_TRUE(result.ended);
    EXPECT_FALSE(result.closed);
    caller.close();
    read_stream(result);
    EXPECT_TRUE(result.closed);
    event::MutexLock lock(monitor_);
    const iovec piece{.iov_base = &port_, .iov_len = 4};
    EXPECT_TRUE(stream_->write({&piece, 1}).closed);
}

TEST_F(UnixStreams, AStreamTellsWhatIsWanted) {
    const auto caller = call("CONNECT 1\n");
    until([&] { return stream_ != nullptr; });
    {
        event::MutexLock lock(monitor_);
        stream_->set_events(this);
    }
    say(caller, "x");
    loop_->run_once(0);
    EXPECT_EQ(readable_, 0);
    {
        event::MutexLock lock(monitor_);
        stream_->want(true, false);
    }
    until([&] { return readable_ != 0; });
    EXPECT_EQ(writable_, 0);
    {
        event::MutexLock lock(monitor_);
        stream_->want(false, true);
    }
    until([&] { return writable_ != 0; });
}

TEST_F(UnixStreams, TheSocketIsItsOwnersAndGoesWithTheHost) {
    struct stat status {};
    ASSERT_EQ(stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
    event::MutexLock lock(monitor_);
    host_.reset();
    EXPECT_NE(stat(path_.c_str(), &status), 0);
}

}  // namespace
}  // namespace cupule::backend
