// Both ends against each other: a driver before our front end, a disk behind our back end, in
// another process where that has to die.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

#include "backend/unix_socket.h"
#include "device/storage/virtio_blk.h"
#include "testing/no_device.h"
#include "testing/recording_log.h"
#include "testing/thread_sanitizer.h"
#include "testing/virtio_driver.h"
#include "testing/virtio_pci_bench.h"
#include "vhost_user/back_end_server.h"
#include "vhost_user/front_end_device.h"

namespace cupule::vhost_user {
namespace {

using testing::NoDevice;
using testing::VirtioDriver;
using testing::VirtioPciBench;
using virtio::feature::version_1;

constexpr int failure_ms = 20'000;
constexpr std::uint64_t disk_bytes = 1 << 20;
constexpr std::uint64_t sector_bytes = 512;
constexpr std::uint64_t config_wce = base::bit(11);
constexpr std::uint64_t flush = base::bit(9);

/// What all processes of a test see.
struct Shared {
    std::array<std::byte, disk_bytes> disk;
    /// Requests for odd sectors never end.
    std::atomic<bool> hold;
    std::atomic<unsigned> writes;
};

class SharedMemory {
  public:
    SharedMemory()
        : place_(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                      -1, 0)) {}
    ~SharedMemory() { munmap(place_, sizeof(Shared)); }
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    Shared& operator*() const { return *static_cast<Shared*>(place_); }
    Shared* operator->() const { return static_cast<Shared*>(place_); }

  private:
    void* place_;
};

/// Ends requests as they come, or not at all.
class HoldingQueue : public backend::BlockQueue {
  public:
    HoldingQueue(backend::BlockStore& store, Shared& shared) : store_(store), shared_(shared) {}
    bool submit(const backend::BlockRequest& request) override {
        if (shared_.hold && (request.at / sector_bytes) % 2 == 1) {
            return true;
        }
        done_.push_back({.token = request.token, .error = backend::execute(store_, request)});
        return true;
    }
    void kick() override {}
    std::size_t collect(std::span<backend::BlockCompletion> to) override {
        const std::size_t count = std::min(to.size(), done_.size());
        std::copy_n(done_.begin(), count, to.begin());
        done_.erase(done_.begin(), done_.begin() + static_cast<std::ptrdiff_t>(count));
        return count;
    }
    void wait() override {}

  private:
    backend::BlockStore& store_;
    Shared& shared_;
    std::vector<backend::BlockCompletion> done_;
};

class SharedStore : public backend::BlockStore {
  public:
    explicit SharedStore(Shared& shared) : shared_(shared) {}
    std::uint64_t size() const override { return disk_bytes; }
    base::Result<void> read(std::span<const iovec> to, std::uint64_t at) override {
        for (const iovec& each : to) {
            std::memcpy(each.iov_base, shared_.disk.data() + at, each.iov_len);
            at += each.iov_len;
        }
        return {};
    }
    base::Result<void> write(std::span<const iovec> from, std::uint64_t at) override {
        ++shared_.writes;
        for (const iovec& each : from) {
            std::memcpy(shared_.disk.data() + at, each.iov_base, each.iov_len);
            at += each.iov_len;
        }
        return {};
    }
    base::Result<void> flush() override { return {}; }
    base::Result<void> discard(std::uint64_t, std::uint64_t) override { return {}; }
    base::Result<void> write_zeroes(std::uint64_t, std::uint64_t, bool) override { return {}; }
    base::Result<std::unique_ptr<backend::BlockQueue>> make_queue(unsigned) override {
        return std::make_unique<HoldingQueue>(*this, shared_);
    }

  private:
    Shared& shared_;
};

/// A disk behind a back end on its own thread, or in the process that only does this.
class Server {
  public:
    Server(Shared& shared, const std::string& socket, std::uint16_t queues) : store_(shared) {
        event::Worker* const workers[] = {worker_.get()};
        device_ = std::make_unique<device::VirtioBlk>(
            device::VirtioBlkSpec{.serial = "vhost-user", .queues = queues}, &store_, workers);
        auto made = BackEndServer::create(
            {.device = *device_, .loop = *loop_, .monitor = monitor_, .queues = queues}, socket);
        if (!made) {
            ADD_FAILURE() << made.error().message;
            return;
        }
        server_ = std::move(*made);
    }
    ~Server() {
        if (thread_.joinable()) {
            loop_->stop();
            thread_.join();
        }
        server_.reset();
    }
    void start() {
        thread_ = std::thread([this] { loop_->run(); });
    }
    void run() { loop_->run(); }
    void replace_disk(backend::BlockStore* store) {
        event::MutexLock lock(monitor_);
        device_->replace_store(store);
    }

  private:
    SharedStore store_;
    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("disk");
    std::unique_ptr<event::EventLoop> loop_ = *event::EventLoop::create();
    event::Monitor monitor_;
    std::unique_ptr<device::VirtioBlk> device_;
    std::unique_ptr<BackEndServer> server_;
    std::thread thread_;
};

/// The same in a process that can be killed.
class ServerProcess {
  public:
    ServerProcess(Shared& shared, const std::string& socket) {
        pid_ = fork();
        if (pid_ == 0) {
            Server server(shared, socket, 1);
            server.run();
            _exit(0);
        }
    }
    ~ServerProcess() { kill(); }
    ServerProcess(const ServerProcess&) = delete;
    ServerProcess& operator=(const ServerProcess&) = delete;
    /// It hangs, and goes on.
    void stop() { ::kill(pid_, SIGSTOP); }
    void go_on() { ::kill(pid_, SIGCONT); }
    void kill() {
        if (pid_ > 0) {
            ::kill(std::exchange(pid_, -1), SIGKILL);
            while (waitpid(-1, nullptr, 0) > 0) {
            }
        }
    }

  private:
    pid_t pid_ = -1;
};

class VhostUserTest : public ::testing::Test {
  protected:
    void SetUp() override {
        if (testing::under_thread_sanitizer) {
            GTEST_SKIP() << "both ends see the rings' memory at addresses of their own, so that "
                            "ThreadSanitizer sees no order, and it cannot follow a fork";
        }
    }
    VhostUserTest() : socket_(fmt::format("/tmp/vhost-user-{}", getpid())) {}
    ~VhostUserTest() override { unlink(socket_.c_str()); }

    static FrontEndSpec spec(const std::string& socket, std::uint16_t queues) {
        return {.id = {.name = "virtio-blk", .type = 2, .pci_class = 0x010000},
                .path = socket,
                .features_passed = base::mask(15),
                .packed = true,
                .queues = std::vector<virtio::QueueLimits>(queues, {.size_max = 64}),
                .back_end_config_bytes = 60,
                .writable =
                    FrontEndSpec::WritableByte{.feature = config_wce, .at = 32, .value_max = 1}};
    }

    bool until(const std::function<bool()>& what) {
        for (int waited = 0; waited < failure_ms; waited += 2) {
            if (what()) {
                return true;
            }
            bench_->loop->run_once(2);
        }
        return false;
    }

    void plug_in_with(std::unique_ptr<ServerProcess> process) {
        process_ = std::move(process);
        plug_in();
    }
    /// Our front end as a PCI device, connected.
    void plug_in(std::uint16_t queues = 1) { plug_in(spec(socket_, queues)); }
    void plug_in(const FrontEndSpec& wanted) {
        bench_ = std::make_unique<VirtioPciBench>(std::make_unique<NoDevice>());
        std::unique_ptr<FrontEnd> connection;
        ASSERT_TRUE(until([&] {
            auto made = FrontEnd::connect(socket_);
            if (made) {
                connection = std::move(*made);
            }
            return connection != nullptr;
        }));
        auto device = FrontEndDevice::create(
            wanted, {.memory = *bench_->memory, .loop = *bench_->loop, .monitor = bench_->monitor},
            std::move(connection));
        ASSERT_TRUE(device.has_value()) << device.error().message;
        device_ = device->get();
        bench_->plug_in(std::move(*device));
    }

    void drive(std::uint64_t features, std::uint16_t queues = 1) {
        drivers_.clear();
        ASSERT_TRUE(bench_->negotiate(features));
        for (std::uint16_t index = 0; index < queues; ++index) {
            VirtioDriver::Options options{
                .features = features, .size = 64, .base = {0x10'0000 + index * 0x8'0000ULL}};
            drivers_.push_back(std::make_unique<VirtioDriver>(*bench_->memory, options));
            bench_->set_queue(index, drivers_.back()->geometry());
        }
        bench_->drive();
        ASSERT_EQ(bench_->status(), 0x0F);
    }

    /// Breaks the ring: more is available than it has descriptors.
    void break_ring(std::uint16_t queue = 0) {
        const memory::GuestAddress index = drivers_[queue]->geometry().driver_area + 2;
        const auto now = bench_->memory->load<std::uint16_t>(index).value_or(0);
        ASSERT_TRUE(
            bench_->memory->store<std::uint16_t>(index, static_cast<std::uint16_t>(now + 999)));
        bench_->notify(queue);
    }

    /// One sector. `token` chooses its buffers.
    void submit(std::uint64_t token, std::uint64_t sector, bool read, std::uint16_t queue = 0) {
        const std::uint64_t header = 0x40'0000 + token * 64;
        ASSERT_TRUE(bench_->memory->store<std::uint64_t>({header}, read ? 0 : 1) &&
                    bench_->memory->store<std::uint64_t>({header + 8}, sector) &&
                    bench_->memory->store<std::uint8_t>({header + 32}, 0xFF));
        const std::array<VirtioDriver::Buffer, 3> buffers{
            {{.address = {header}, .length = 16},
             {.address = {data_at(token)}, .length = sector_bytes, .writable = read},
             {.address = {header + 32}, .length = 1, .writable = true}}};
        ASSERT_TRUE(drivers_[queue]->submit(buffers, token));
        if (drivers_[queue]->publish()) {
            bench_->notify(queue);
        }
    }
    static std::uint64_t data_at(std::uint64_t token) { return 0x50'0000 + token * 1024; }
    void fill(std::uint64_t token, std::uint8_t value) {
        ASSERT_TRUE(bench_->memory->fill({data_at(token)}, std::byte{value}, sector_bytes));
    }
    std::uint8_t status_of(std::uint64_t token) const {
        return bench_->memory->load<std::uint8_t>({0x40'0000 + token * 64 + 32}).value_or(0xEE);
    }
    /// Collects `count` answers.
    bool collect(unsigned count, std::uint16_t queue = 0) {
        return until([&] {
                   while (count != 0 && drivers_[queue]->collect()) {
                       --count;
                   }
                   return count == 0;
               }) &&
               drivers_[queue]->violation().empty();
    }

    std::string socket_;
    SharedMemory shared_;
    std::unique_ptr<VirtioPciBench> bench_;
    std::vector<std::unique_ptr<VirtioDriver>> drivers_;
    FrontEndDevice* device_ = nullptr;
    std::unique_ptr<ServerProcess> process_;
};

TEST_F(VhostUserTest, CarriesWritesAndReadsWithEveryRingFormat) {
    Server server(*shared_, socket_, 2);
    server.start();
    plug_in(2);
    std::uint8_t value = 1;
    for (const std::uint64_t features :
         {version_1, version_1 | virtio::feature::event_idx,
          version_1 | virtio::feature::ring_packed,
          version_1 | virtio::feature::in_order | virtio::feature::indirect_desc,
          version_1 | virtio::feature::notification_data | virtio::feature::notif_config_data,
          version_1 | virtio::feature::ring_packed | virtio::feature::event_idx}) {
        drive(features | base::bit(12), 2);
        for (std::uint64_t token = 0; token < 20; ++token) {
            fill(token, value);
            submit(token, token, false, token % 2);
        }
        ASSERT_TRUE(collect(10, 0) && collect(10, 1)) << features;
        EXPECT_EQ(status_of(19), 0);
        EXPECT_EQ(shared_->disk[19 * sector_bytes], std::byte{value});
        fill(0, 0);
        submit(0, 19, true, 1);
        ASSERT_TRUE(collect(1, 1));
        EXPECT_EQ(*bench_->memory->load<std::uint8_t>({data_at(0) + 511}), value);
        bench_->set_status(0);
        ++value;
    }
}

TEST_F(VhostUserTest, TheConfigurationIsTheBackEnds) {
    Server server(*shared_, socket_, 1);
    server.start();
    plug_in();
    using virtio::pci_layout::device_offset;
    EXPECT_EQ(bench_->read(device_offset, 8), disk_bytes / sector_bytes);
    EXPECT_EQ(bench_->read(device_offset + 32, 1), 1U);
    drive(version_1 | config_wce | flush);
    bench_->write(device_offset + 32, 1, 0);
    EXPECT_EQ(bench_->read(device_offset + 32, 1), 0U);
    server.replace_disk(nullptr);
    EXPECT_TRUE(until([&] { return bench_->read(device_offset, 8) == 0; }));
    EXPECT_TRUE(
        until([&] { return bench_->read(virtio::pci_layout::common::config_generation, 1) == 1; }));
}

TEST_F(VhostUserTest, WritesToTheConfigurationThatMeanNothingStayHere) {
    Server server(*shared_, socket_, 1);
    server.start();
    plug_in();
    using virtio::pci_layout::device_offset;
    constexpr std::uint64_t writeback = device_offset + 32;
    drive(version_1 | flush);
    bench_->write(writeback, 1, 0);  // CONFIG_WCE was not negotiated
    EXPECT_EQ(bench_->read(writeback, 1), 1U);
    bench_->set_status(0);
    bench_->write(writeback, 1, 0);
    EXPECT_EQ(bench_->read(writeback, 1), 1U);
    drive(version_1 | config_wce | flush);
    bench_->write(device_offset, 8, 7);
    bench_->write(device_offset + 32, 4, 0);
    bench_->write(device_offset + 31, 2, 0);
    bench_->write(writeback, 1, 2);
    EXPECT_EQ(bench_->read(writeback, 1), 1U);
    EXPECT_EQ(bench_->read(device_offset, 8), disk_bytes / sector_bytes);
    EXPECT_TRUE(device_->connected());
    bench_->write(writeback, 1, 0);
    EXPECT_EQ(bench_->read(writeback, 1), 0U);
}

TEST_F(VhostUserTest, WhatTheTransportServesIsNoMatterOfTheBackEnd) {
    auto first = std::make_unique<ServerProcess>(*shared_, socket_);
    plug_in();
    drive(version_1 | virtio::feature::notification_data | virtio::feature::notif_config_data);
    submit(0, 3, true);
    ASSERT_TRUE(collect(1));
    first->kill();
    ASSERT_TRUE(until([&] { return !device_->connected(); }));
    const ServerProcess second(*shared_, socket_);
    ASSERT_TRUE(until([&] { return device_->connected(); }));
    submit(0, 3, true);
    EXPECT_TRUE(collect(1));
    EXPECT_EQ(bench_->status(), 0x0F);
}

TEST_F(VhostUserTest, ARingThatIsBrokenAgainAndAgainAsksForAResetAndIsLoggedOnce) {
    Server server(*shared_, socket_, 1);
    server.start();
    plug_in();
    const testing::RecordingLog log;
    for (unsigned round = 0; round < 3; ++round) {
        drive(version_1);
        break_ring();
        ASSERT_TRUE(until([&] { return bench_->status() == 0x4F; }));
        bench_->set_status(0);
    }
    EXPECT_EQ(log.count("vhost-user: virtio-blk queue 0"), 1U) << log.text();
    EXPECT_EQ(
        log.count(
            "virtio-blk: queue 0 is broken until the driver resets the device: the ring is broken"),
        1U)
        << log.text();
    drive(version_1);
    submit(0, 3, true);
    EXPECT_TRUE(collect(1));
    EXPECT_EQ(bench_->status(), 0x0F);
}

TEST_F(VhostUserTest, OneRingIsResetWhileTheOtherRuns) {
    Server server(*shared_, socket_, 2);
    server.start();
    plug_in(2);
    namespace common = virtio::pci_layout::common;
    for (const std::uint64_t ring : {std::uint64_t{0}, virtio::feature::ring_packed}) {
        const std::uint64_t features = version_1 | virtio::feature::ring_reset | ring;
        drive(features | base::bit(12), 2);
        for (std::uint64_t token = 0; token < 5; ++token) {
            submit(token, token, true, 1);
        }
        ASSERT_TRUE(collect(5, 1));
        bench_->write(common::queue_select, 2, 1);
        bench_->write(common::queue_reset, 2, 1);
        EXPECT_EQ(bench_->read(common::queue_reset, 2), 0U);
        EXPECT_EQ(bench_->read(common::queue_enable, 2), 0U);
        submit(0, 7, true, 0);
        ASSERT_TRUE(collect(1, 0));
        // Elsewhere, and from its beginning.
        const VirtioDriver::Options options{.features = features, .size = 32, .base = {0x20'0000}};
        drivers_[1] = std::make_unique<VirtioDriver>(*bench_->memory, options);
        bench_->set_queue(1, drivers_[1]->geometry());
        for (std::uint64_t token = 0; token < 5; ++token) {
            submit(token, token, true, 1);
        }
        ASSERT_TRUE(collect(5, 1));
        EXPECT_EQ(bench_->status(), 0x0F);
        bench_->set_status(0);
    }
}

TEST_F(VhostUserTest, FrontEndsComeOneAfterAnother) {
    Server server(*shared_, socket_, 1);
    server.start();
    for (std::uint8_t round = 1; round < 4; ++round) {
        plug_in();
        drive(version_1);
        fill(0, round);
        submit(0, round, false);
        ASSERT_TRUE(collect(1));
        bench_.reset();
        EXPECT_EQ(shared_->disk[round * sector_bytes], std::byte{round});
    }
}

class VhostUserRings : public VhostUserTest, public ::testing::WithParamInterface<std::uint64_t> {};

INSTANTIATE_TEST_SUITE_P(Formats, VhostUserRings,
                         ::testing::Values(version_1, version_1 | virtio::feature::ring_packed),
                         [](const auto& param_info) {
                             return (param_info.param & virtio::feature::ring_packed) != 0
                                        ? "Packed"
                                        : "Split";
                         });

TEST_P(VhostUserRings, AKilledBackEndCostsNoRequestAndRepeatsNone) {
    ServerProcess first(*shared_, socket_);
    plug_in();
    drive(GetParam() | virtio::feature::event_idx);
    // Even sectors are written and handed back, odd ones stay under way; then the places of the
    // even ones in the available ring are used again.
    shared_->hold = true;
    constexpr std::uint64_t count = 20;
    for (std::uint64_t token = 0; token < count; ++token) {
        fill(token, static_cast<std::uint8_t>(token + 1));
        submit(token, token, false);
    }
    ASSERT_TRUE(collect(count / 2));
    for (std::uint64_t round = 0; round < 6; ++round) {
        for (std::uint64_t token = 0; token < count; token += 2) {
            submit(token, token, false);
        }
        ASSERT_TRUE(collect(count / 2));
    }
    const unsigned before = shared_->writes;
    EXPECT_EQ(before, 7 * count / 2);
    first.kill();
    ASSERT_TRUE(until([&] { return !device_->connected(); }));
    submit(count, 100, true);
    shared_->hold = false;
    ServerProcess second(*shared_, socket_);
    ASSERT_TRUE(collect(count / 2 + 1));
    EXPECT_EQ(shared_->writes, before + count / 2);
    for (std::uint64_t token = 0; token < count; ++token) {
        EXPECT_EQ(status_of(token), 0);
        EXPECT_EQ(shared_->disk[token * sector_bytes], std::byte(token + 1)) << token;
    }
    EXPECT_EQ(bench_->status(), 0x0F);
    EXPECT_FALSE(drivers_[0]->collect());
}

TEST_F(VhostUserTest, PackedRingsAreOfferedOnlyWhereTheyAreAskedFor) {
    Server server(*shared_, socket_, 1);
    server.start();
    plug_in();
    EXPECT_NE(bench_->offered() & virtio::feature::ring_packed, 0U);
    FrontEndSpec careful = spec(socket_, 1);
    careful.packed = false;
    plug_in(careful);
    EXPECT_EQ(bench_->offered() & virtio::feature::ring_packed, 0U);
}

TEST_F(VhostUserTest, ALostBackEndWithoutARecordOfPackedRingsAsksForAReset) {
    auto first = std::make_unique<ServerProcess>(*shared_, socket_);
    FrontEndSpec forgetful = spec(socket_, 1);
    forgetful.inflight = false;
    plug_in(forgetful);
    drive(version_1 | virtio::feature::ring_packed);
    first->kill();
    ASSERT_TRUE(until([&] { return bench_->status() == 0x4F; }));
    const ServerProcess second(*shared_, socket_);
    ASSERT_TRUE(until([&] { return device_->connected(); }));
    bench_->set_status(0);
    drive(version_1 | virtio::feature::ring_packed);
    submit(0, 0, true);
    EXPECT_TRUE(collect(1));
}

TEST_P(VhostUserRings, BackEndsComeAndGoAtAnyPlaceOfTheRing) {
    plug_in_with(std::make_unique<ServerProcess>(*shared_, socket_));
    drive(GetParam());
    for (std::uint64_t round = 0; round < 5; ++round) {
        // Half of these stay under way over the change.
        shared_->hold = true;
        for (std::uint64_t token = 0; token < 14; ++token) {
            fill(token, static_cast<std::uint8_t>(round + 1));
            submit(token, token, false);
        }
        ASSERT_TRUE(collect(7));
        process_->kill();
        ASSERT_TRUE(until([&] { return !device_->connected(); }));
        shared_->hold = false;
        process_ = std::make_unique<ServerProcess>(*shared_, socket_);
        ASSERT_TRUE(collect(7));
        for (std::uint64_t token = 0; token < 14; ++token) {
            ASSERT_EQ(shared_->disk[token * sector_bytes], std::byte(round + 1)) << token;
        }
    }
    EXPECT_EQ(shared_->writes, 5U * 14U);
    EXPECT_EQ(bench_->status(), 0x0F);
}

TEST_F(VhostUserTest, ADriverThatStartsWhileNobodyIsThereWaits) {
    auto first = std::make_unique<ServerProcess>(*shared_, socket_);
    plug_in();
    first->kill();
    ASSERT_TRUE(until([&] { return !device_->connected(); }));
    drive(version_1);
    submit(0, 3, true);
    const ServerProcess second(*shared_, socket_);
    EXPECT_TRUE(collect(1));
    EXPECT_EQ(status_of(0), 0);
}

TEST_F(VhostUserTest, ABackEndThatHangsKeepsTheLoopFromNothing) {
    ServerProcess server(*shared_, socket_);
    plug_in();
    drive(version_1);
    submit(0, 3, true);
    ASSERT_TRUE(collect(1));
    server.stop();
    using Clock = std::chrono::steady_clock;
    const auto began = Clock::now();
    bench_->set_status(0);
    // The driver waits once, for as long as a back end may take.
    EXPECT_LT(Clock::now() - began, std::chrono::milliseconds(FrontEnd::timeout_ms + 1500));
    drive(version_1);
    submit(0, 3, true);
    // Its socket still takes connections, and nobody answers there.
    auto longest = Clock::duration::zero();
    const auto end = Clock::now() + std::chrono::seconds(1);
    while (Clock::now() < end) {
        const auto turn = Clock::now();
        bench_->loop->run_once(10);
        longest = std::max(longest, Clock::now() - turn);
    }
    EXPECT_LT(longest, std::chrono::seconds(1));
    EXPECT_FALSE(device_->connected());
    server.go_on();
    ASSERT_TRUE(collect(1));
    EXPECT_EQ(bench_->status(), 0x0F);
    // It may go while it looks for one: here nobody answers either.
    server.kill();
    const auto silent = backend::listen_unix(socket_, 4);
    ASSERT_TRUE(silent.has_value());
    for (unsigned i = 0; i < 50; ++i) {
        bench_->loop->run_once(10);
    }
    EXPECT_FALSE(device_->connected());
    const auto gone = Clock::now();
    bench_.reset();
    EXPECT_LT(Clock::now() - gone, std::chrono::seconds(1));
}

TEST_F(VhostUserTest, TheLinkFollowsTheBackEnd) {
    auto first = std::make_unique<ServerProcess>(*shared_, socket_);
    bench_ = std::make_unique<VirtioPciBench>(std::make_unique<NoDevice>());
    std::unique_ptr<FrontEnd> connection;
    ASSERT_TRUE(until([&] {
        auto made = FrontEnd::connect(socket_);
        connection = made ? std::move(*made) : nullptr;
        return connection != nullptr;
    }));
    auto device = FrontEndDevice::create(
        {.id = {.name = "virtio-net", .type = 1},
         .path = socket_,
         .queues = std::vector<virtio::QueueLimits>(1),
         .config = {1, 2, 3, 4, 5, 6, 0, 0},
         .link_status_at = 6},
        {.memory = *bench_->memory, .loop = *bench_->loop, .monitor = bench_->monitor},
        std::move(connection));
    ASSERT_TRUE(device.has_value());
    EXPECT_EQ((*device)->read_config(4, 4), 0x0001'0605U);
    first->kill();
    EXPECT_TRUE(until([&] { return (*device)->read_config(6, 1) == 0; }));
    const ServerProcess second(*shared_, socket_);
    EXPECT_TRUE(until([&] { return (*device)->read_config(6, 1) == 1; }));
}

}  // namespace
}  // namespace cupule::vhost_user
