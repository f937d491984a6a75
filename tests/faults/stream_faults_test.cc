#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "backend/unix_socket.h"
#include "backend/unix_streams.h"
#include "driven_device.h"
#include "event/event_loop.h"

namespace cupule::backend {
namespace {

using testing::FaultPlan;
using testing::good;
using testing::WellHost;

/// Takes each call, and sends back what it reads.
class Echo : public StreamHostEvents, public HostStreamEvents {
  public:
    void connect_wanted(std::unique_ptr<HostStream> stream, std::uint32_t port) override {
        stream_ = std::move(stream);
        stream_->set_events(this);
        stream_->want(true, false);
        stream_->accepted(port + 1000);
    }
    void stream_readable() override {
        std::array<char, 64> bytes{};
        iovec place{.iov_base = bytes.data(), .iov_len = bytes.size()};
        const auto got = stream_->read({&place, 1});
        text_.append(bytes.data(), got.bytes);
        if (got.ended) {
            stream_.reset();
            text_.clear();
            return;
        }
        stream_writable();
    }
    void stream_writable() override {
        while (!text_.empty()) {
            const iovec place{.iov_base = text_.data(), .iov_len = text_.size()};
            const auto put = stream_->write({&place, 1});
            if (put.closed) {
                stream_.reset();
                text_.clear();
                return;
            }
            text_.erase(0, put.bytes);
            if (put.bytes == 0) {
                break;
            }
        }
        stream_->want(true, !text_.empty());
    }
    void end() { stream_.reset(); }

  private:
    std::unique_ptr<HostStream> stream_;
    std::string text_;
};

/// A loop that a test turns, with a host of streams on it.
class StreamRun {
  public:
    explicit StreamRun(std::string path) : path_(std::move(path)) {}
    ~StreamRun() {
        if (loop_) {
            const event::MutexLock lock(monitor_);
            echo_.end();
            host_.reset();
        }
    }

    bool open() {
        auto loop = event::EventLoop::create();
        if (!good(loop)) {
            return false;
        }
        loop_ = std::move(*loop);
        const event::MutexLock lock(monitor_);
        auto host = open_unix_streams(path_, *loop_, monitor_);
        if (!good(host)) {
            return false;
        }
        host_ = std::move(*host);
        host_->set_events(&echo_);
        return true;
    }

    /// What a caller is answered until `bytes` have come; less when the connection ends first, or
    /// nothing comes for as long as `turns` of the loop. Nothing wrong happens to the caller
    /// itself.
    std::string talk(std::string_view words, std::size_t bytes, int turns) {
        base::FileDescriptor socket;
        {
            const WellHost well;
            auto connected = connect_unix(path_);
            if (!connected) {
                return connected.error().message;
            }
            socket = std::move(*connected);
            ::send(socket.get(), words.data(), words.size(), MSG_NOSIGNAL);
        }
        std::string heard;
        for (int i = 0; i < turns; ++i) {
            loop_->run_once(10);
            const WellHost well;
            std::array<char, 64> got{};
            const ssize_t count = recv(socket.get(), got.data(), got.size(), MSG_DONTWAIT);
            if (count == 0 || (count < 0 && errno != EAGAIN)) {
                return heard;
            }
            heard.append(got.data(), static_cast<std::size_t>(std::max(count, 0L)));
            if (heard.size() >= bytes) {
                return heard;
            }
        }
        return heard;
    }

  private:
    const std::string path_;
    std::unique_ptr<event::EventLoop> loop_;
    event::Monitor monitor_;
    Echo echo_;
    std::unique_ptr<StreamHost> host_;
};

TEST(StreamFaultsTest, ACallerIsAnsweredOrReadsAnEndAndTheNextIsAnswered) {
    const std::string path = ::testing::TempDir() + "/stream_faults." + std::to_string(getpid());
    constexpr int patience = 2000;
    constexpr std::string_view words = "CONNECT 7\nhello";
    constexpr std::string_view answer = "OK 1007\nhello";
    const unsigned met = testing::walk_host_faults(300, [&](const FaultPlan& plan) {
        StreamRun run(path);
        testing::start_host_faults(plan);
        if (!run.open()) {
            return;
        }
        const std::string heard = run.talk(words, answer.size(), plan.number == 0 ? patience : 20);
        EXPECT_TRUE(heard == answer || testing::stop_host_faults().fired) << heard;
        EXPECT_TRUE(answer.starts_with(heard)) << heard;
        testing::stop_host_faults();
        EXPECT_EQ(run.talk(words, answer.size(), patience), answer);
    });
    EXPECT_GT(met, 20U);
}

}  // namespace
}  // namespace cupule::backend
