#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "backend/byte_channel_factory.h"
#include "backend/stdio_channel.h"
#include "base/file_descriptor.h"
#include "device/serial/virtio_console.h"
#include "driven_device.h"
#include "event/worker.h"

namespace cupule::device {
namespace {

using testing::DrivenDevice;
using testing::FaultPlan;
using testing::good;
using testing::VirtioDriver;

constexpr std::uint64_t data_at = 4 << 20;
constexpr std::uint64_t input_at = 5 << 20;

/// A console of one port, with its channel on a worker.
class ConsoleRun {
  public:
    explicit ConsoleRun(backend::ChannelSpec spec) : spec_(std::move(spec)) {}
    ~ConsoleRun() {
        if (worker_) {
            device_.bench().transport.reset();
            worker_->call([this] { channel_.reset(); });
        }
    }

    bool open() {
        auto worker = event::Worker::create("test");
        if (!good(worker)) {
            return false;
        }
        worker_ = std::move(*worker);
        base::Result<std::unique_ptr<backend::ByteChannel>> made;
        worker_->call([&] {
            made =
                backend::open_channel(spec_, "test", worker_->loop(), worker_->monitor(), stdio_);
            if (made) {
                channel_ = std::move(*made);
            }
        });
        if (!good(made)) {
            return false;
        }
        const std::vector<ConsolePortPowers> ports{
            {.spec = {.name = "port", .console = true}, .channel = *channel_}};
        return good(
            device_.bench().try_to_plug_in(std::make_unique<VirtioConsole>(ports, *worker_)));
    }

    DrivenDevice& device() { return device_; }
    bool start() { return device_.start(0); }

    void say(std::string_view text) {
        if (device_.asks_for_reset()) {
            return;
        }
        ASSERT_TRUE(device_.bench().memory->write({data_at}, std::as_bytes(std::span(text))));
        const VirtioDriver::Buffer buffer{
            {data_at}, static_cast<std::uint32_t>(text.size()), false};
        ASSERT_TRUE(device_.submit(1, {&buffer, 1}));
        device_.answer(1);
    }
    void make_room() {
        const VirtioDriver::Buffer buffer{{input_at}, 64, true};
        ASSERT_TRUE(device_.submit(0, {&buffer, 1}));
    }

  private:
    const backend::ChannelSpec spec_;
    backend::StdioOwner stdio_{[] {}, -1, -1};
    std::unique_ptr<event::Worker> worker_;
    std::unique_ptr<backend::ByteChannel> channel_;
    DrivenDevice device_{2};
};

TEST(ConsoleFaultsTest, AFileGetsAllUnlessWritingItFails) {
    const std::string path = ::testing::TempDir() + "/console_faults." + std::to_string(getpid());
    const unsigned met = testing::walk_host_faults(400, [&](const FaultPlan& plan) {
        testing::FaultRecord record;
        {
            ConsoleRun run({.kind = backend::ChannelKind::file, .path = path});
            testing::start_host_faults(plan);
            if (!run.open()) {
                return;
            }
            if (run.start()) {
                run.say("first ");
                run.say("second ");
            }
            record = testing::stop_host_faults();
            ASSERT_TRUE(run.start());
            run.say("third ");
            run.device().bench().set_status(0);
        }
        std::ifstream file(path);
        const std::string there((std::istreambuf_iterator<char>(file)), {});
        if (!record.fired || (record.call == "write" && !record.may_last)) {
            EXPECT_EQ(there, "first second third ");
        }
    });
    unlink(path.c_str());
    EXPECT_GT(met, 20U);
}

TEST(ConsoleFaultsTest, APtyOpensOrSaysWhyNot) {
    const unsigned met = testing::walk_host_faults(400, [&](const FaultPlan& plan) {
        ConsoleRun run({.kind = backend::ChannelKind::pty});
        testing::start_host_faults(plan);
        if (!run.open()) {
            return;
        }
        if (run.start()) {
            run.say("text");
        }
        testing::stop_host_faults();
        ASSERT_TRUE(run.start());
        run.say("text");
        run.device().bench().set_status(0);
    });
    EXPECT_GT(met, 20U);
}

base::FileDescriptor connect_to(const std::string& path) {
    base::FileDescriptor client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    EXPECT_EQ(connect(client.get(), generic, sizeof address), 0);
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return client;
}

TEST(ConsoleFaultsTest, AClientOfASocketTalksToTheGuestAgainAfterwards) {
    const std::string path = ::testing::TempDir() + "/console_faults." + std::to_string(getpid());
    const unsigned met = testing::walk_host_faults(600, [&](const FaultPlan& plan) {
        ConsoleRun run({.kind = backend::ChannelKind::unix_server, .path = path});
        testing::start_host_faults(plan);
        if (!run.open()) {
            return;
        }
        base::FileDescriptor client;
        {
            const testing::WellHost well;
            client = connect_to(path);
        }
        if (run.start()) {
            run.make_room();
            {
                const testing::WellHost well;
                send(client.get(), "input", 5, MSG_NOSIGNAL);
            }
            run.device().answer_within(0, plan.number == 0 ? 20'000 : 20);
            run.say("text");
        }
        testing::stop_host_faults();
        // The client that is there may have been lost; another one is not.
        client = connect_to(path);
        ASSERT_TRUE(run.start());
        run.make_room();
        EXPECT_EQ(send(client.get(), "again", 5, MSG_NOSIGNAL), 5);
        EXPECT_TRUE(run.device().answer_within(0, 20'000)) << "the guest does not hear the client";
        run.say("text");
        std::array<char, 16> bytes{};
        EXPECT_GT(recv(client.get(), bytes.data(), bytes.size(), 0), 0);
        run.device().bench().set_status(0);
    });
    EXPECT_GT(met, 20U);
}

}  // namespace
}  // namespace cupule::device
