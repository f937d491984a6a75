#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "device/storage/virtio_blk.h"
#include "driven_device.h"
#include "event/worker.h"
#include "vhost_user/back_end_server.h"
#include "vhost_user/front_end_device.h"

namespace cupule::vhost_user {
namespace {

using testing::DrivenDevice;
using testing::FaultPlan;
using testing::good;
using testing::VirtioDriver;

constexpr std::uint64_t header_at = 3 << 20;
constexpr std::uint64_t status_at = header_at + 0x1000;
constexpr std::uint64_t data_at = 4 << 20;

/// A disk in host memory that ends requests as they come.
class MemoryDisk : public backend::BlockStore {
  public:
    std::uint64_t size() const override { return bytes_.size(); }
    base::Result<void> read(std::span<const iovec> to, std::uint64_t at) override {
        for (const iovec& each : to) {
            std::memcpy(each.iov_base, bytes_.data() + at, each.iov_len);
            at += each.iov_len;
        }
        return {};
    }
    base::Result<void> write(std::span<const iovec> from, std::uint64_t at) override {
        for (const iovec& each : from) {
            std::memcpy(bytes_.data() + at, each.iov_base, each.iov_len);
            at += each.iov_len;
        }
        return {};
    }
    base::Result<void> flush() override { return {}; }
    base::Result<void> discard(std::uint64_t, std::uint64_t) override { return {}; }
    base::Result<void> write_zeroes(std::uint64_t, std::uint64_t, bool) override { return {}; }

  private:
    std::vector<std::byte> bytes_ = std::vector<std::byte>(1 << 20);
};

/// Both ends in one process: a back end with a loop of its own, and a driver before the front end.
class BothEnds {
  public:
    explicit BothEnds(std::string socket) : socket_(std::move(socket)) {}
    ~BothEnds() {
        device_.bench().transport.reset();
        if (thread_.joinable()) {
            loop_->stop();
            thread_.join();
        }
        server_.reset();
        disk_device_.reset();
    }

    bool open() { return serve() && plug_in(); }
    DrivenDevice& device() { return device_; }

    /// One sector there or back; whether the disk says that it worked. Without a back end a request
    /// waits for one: not `patient` does not wait with it.
    bool move(std::uint32_t type, bool patient = true) {
        memory::GuestMemory& memory = *device_.bench().memory;
        EXPECT_TRUE(memory.store<std::uint32_t>({header_at}, type));
        EXPECT_TRUE(memory.store<std::uint64_t>({header_at + 8}, 7));
        EXPECT_TRUE(memory.store<std::uint8_t>({status_at}, 0xEE));
        const std::array<VirtioDriver::Buffer, 3> buffers{
            {{{header_at}, 16, false}, {{data_at}, 512, type == 0}, {{status_at}, 1, true}}};
        if (device_.asks_for_reset() || !device_.submit(0, buffers)) {
            return false;
        }
        const auto used = patient ? device_.answer(0) : device_.answer_within(0, 20);
        return used && memory.load<std::uint8_t>({status_at}) == 0;
    }

  private:
    bool serve() {
        auto loop = event::EventLoop::create();
        auto worker = event::Worker::create("disk");
        if (!good(loop) || !good(worker)) {
            return false;
        }
        loop_ = std::move(*loop);
        worker_ = std::move(*worker);
        workers_ = {worker_.get()};
        disk_device_ =
            std::make_unique<device::VirtioBlk>(device::VirtioBlkSpec{}, &disk_, workers_);
        auto server = BackEndServer::create(
            {.device = *disk_device_, .loop = *loop_, .monitor = monitor_, .queues = 1}, socket_);
        if (!good(server)) {
            return false;
        }
        server_ = std::move(*server);
        thread_ = std::thread([this] { loop_->run(); });
        return true;
    }

    bool plug_in() {
        auto connection = FrontEnd::connect(socket_);
        if (!good(connection)) {
            return false;
        }
        testing::VirtioPciBench& bench = device_.bench();
        auto device = FrontEndDevice::create(
            {.id = {.name = "virtio-blk", .type = 2, .pci_class = 0x010000},
             .path = socket_,
             .features_passed = base::mask(15),
             .queues = {{.size_max = 64}},
             .back_end_config_bytes = 60},
            {.memory = *bench.memory, .loop = *bench.loop, .monitor = bench.monitor},
            std::move(*connection));
        return good(device) && good(bench.try_to_plug_in(std::move(*device)));
    }

    const std::string socket_;
    MemoryDisk disk_;
    std::unique_ptr<event::EventLoop> loop_;
    event::Monitor monitor_;
    std::unique_ptr<event::Worker> worker_;
    std::vector<event::Worker*> workers_;
    std::unique_ptr<device::VirtioBlk> disk_device_;
    std::unique_ptr<BackEndServer> server_;
    std::thread thread_;
    DrivenDevice device_;
};

#ifdef __has_feature
constexpr bool under_thread_sanitizer = __has_feature(thread_sanitizer);
#else
constexpr bool under_thread_sanitizer = false;
#endif

TEST(VhostUserFaultsTest, BothEndsComeBackAndLoseNothing) {
    if (under_thread_sanitizer) {
        GTEST_SKIP() << "both ends see the rings' memory at addresses of their own";
    }
    const std::string socket =
        ::testing::TempDir() + "/vhost_user_faults." + std::to_string(getpid());
    const unsigned met = testing::walk_host_faults(900, [&](const FaultPlan& plan) {
        BothEnds ends(socket);
        testing::start_host_faults(plan);
        if (!ends.open()) {
            return;
        }
        if (ends.device().start(0)) {
            ends.move(1, !plan.lasting);
            ends.move(0, !plan.lasting);
        }
        testing::stop_host_faults();
        // A back end that was lost is looked for again; the driver resets what asks for it.
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        bool works = false;
        while (!works && std::chrono::steady_clock::now() < end) {
            works = ends.device().start(0) && ends.move(1) && ends.move(0);
            ends.device().bench().loop->run_once(works ? 0 : 10);
        }
        EXPECT_TRUE(works) << "the disk does not come back";
        ends.device().bench().set_status(0);
    });
    unlink(socket.c_str());
    EXPECT_GT(met, 60U);
}

}  // namespace
}  // namespace cupule::vhost_user
