#include "device/storage/virtio_blk.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <random>

#include "event/mutex.h"
#include "testing/virtio_fixture.h"

namespace cupule::device {
namespace {

using testing::VirtioDriver;
using virtio::feature::ring_packed;
using virtio::feature::version_1;

constexpr std::uint64_t disk_bytes = 1 << 20;
constexpr std::uint64_t flush_features = base::bit(9) | base::bit(11);
constexpr std::uint64_t header_at = 3 << 20;
constexpr std::uint64_t data_at = 4 << 20;
constexpr std::uint64_t status_at = header_at + 0x1000;

/// A disk in host memory that counts and fails as told.
class MemoryStore : public backend::BlockStore {
  public:
    std::uint64_t size() const override { return bytes.size(); }
    base::Result<void> read(std::span<const iovec> to, std::uint64_t at) override {
        return move(to, at, false);
    }
    base::Result<void> write(std::span<const iovec> from, std::uint64_t at) override {
        ++writes;
        return move(from, at, true);
    }
    base::Result<void> flush() override {
        ++flushes;
        return outcome();
    }
    base::Result<void> discard(std::uint64_t, std::uint64_t length) override {
        discarded += length;
        return outcome();
    }
    base::Result<void> write_zeroes(std::uint64_t at, std::uint64_t length, bool) override {
        std::memset(bytes.data() + at, 0, length);
        return outcome();
    }

    std::vector<std::byte> bytes = std::vector<std::byte>(disk_bytes);
    base::Result<std::unique_ptr<backend::BlockQueue>> make_queue(unsigned depth) override {
        if (refuse_queues) {
            return base::fail_errno(ENOMEM, "no queue");
        }
        return backend::make_immediate_block_queue(*this, depth);
    }

    std::atomic<bool> fail{false};
    std::atomic<bool> refuse_queues{false};
    std::atomic<int> writes{0};
    std::atomic<int> flushes{0};
    std::atomic<std::uint64_t> discarded{0};

  private:
    base::Result<void> outcome() const {
        return fail ? base::Result<void>(base::fail_errno(ENOSPC, "full")) : base::Result<void>();
    }
    base::Result<void> move(std::span<const iovec> segments, std::uint64_t at, bool in) {
        for (const iovec& each : segments) {
            auto* place = bytes.data() + at;
            std::memcpy(in ? place : each.iov_base, in ? each.iov_base : place, each.iov_len);
            at += each.iov_len;
        }
        return outcome();
    }
};

class VirtioBlkTest : public testing::VirtioFixture<std::uint64_t> {
  protected:
    VirtioBlkTest() { ring_size_ = 16; }
    void start(const VirtioBlkSpec& spec, std::uint64_t extra = 0) {
        start_on(spec, &store_, extra);
    }
    void start_on(const VirtioBlkSpec& spec, backend::BlockStore* store, std::uint64_t extra = 0) {
        bench_ = std::make_unique<testing::VirtioPciBench>(
            std::make_unique<VirtioBlk>(spec, store, workers_));
        run(extra);
    }
    void run(std::uint64_t extra) { drive(GetParam() | extra, 1); }
    /// The device is not told.
    bool put(std::uint32_t type, std::uint64_t sector, std::uint32_t bytes, bool to_guest,
             std::uint16_t queue = 0) {
        EXPECT_TRUE(bench_->memory->store<std::uint64_t>({header_at}, type));
        EXPECT_TRUE(bench_->memory->store<std::uint64_t>({header_at + 8}, sector));
        EXPECT_TRUE(bench_->memory->store<std::uint8_t>({status_at}, 0xEE));
        std::vector<VirtioDriver::Buffer> buffers{{.address = {header_at}, .length = 16}};
        if (bytes != 0) {
            buffers.push_back({.address = {data_at}, .length = bytes, .writable = to_guest});
        }
        buffers.push_back({.address = {status_at}, .length = 1, .writable = true});
        return drivers_[queue]->submit(buffers, 1);
    }
    /// The status, and in `written_` what the used ring said.
    unsigned request(std::uint32_t type, std::uint64_t sector, std::uint32_t bytes = 0,
                     bool to_guest = false, std::uint16_t queue = 0) {
        EXPECT_TRUE(put(type, sector, bytes, to_guest, queue));
        if (drivers_[queue]->publish()) {
            bench_->notify(queue);
        }
        written_ = used(queue).written;
        return *bench_->memory->load<std::uint8_t>({status_at});
    }
    void put_segment(std::uint64_t sector, std::uint32_t sectors, std::uint32_t flags) {
        ASSERT_TRUE(bench_->memory->store<std::uint64_t>({data_at}, sector));
        ASSERT_TRUE(bench_->memory->store<std::uint32_t>({data_at + 8}, sectors));
        ASSERT_TRUE(bench_->memory->store<std::uint32_t>({data_at + 12}, flags));
    }

    MemoryStore store_;
    std::unique_ptr<event::Worker> second_worker_ = *event::Worker::create("test2");
    std::vector<event::Worker*> workers_{worker_.get(), second_worker_.get()};
    std::uint32_t written_ = 0;
};

TEST_P(VirtioBlkTest, ReadsAndWritesAgreeWithAModelOfTheDisk) {
    start({}, flush_features);
    std::vector<std::byte> model(disk_bytes);
    std::mt19937_64 random(3);
    for (int i = 0; i < 200; ++i) {
        const std::uint64_t sector = random() % (disk_bytes / 512 - 16);
        const auto bytes = static_cast<std::uint32_t>(512 * (1 + random() % 16));
        auto expected = std::span(model).subspan(sector * 512, bytes);
        std::vector<std::byte> data(bytes, static_cast<std::byte>(random()));
        if (random() % 2 == 0) {
            ASSERT_TRUE(bench_->memory->write({data_at}, data));
            ASSERT_EQ(request(1, sector, bytes), 0U);
            EXPECT_EQ(written_, 1U);
            std::ranges::copy(data, expected.begin());
        } else {
            ASSERT_EQ(request(0, sector, bytes, true), 0U);
            EXPECT_EQ(written_, bytes + 1);
            ASSERT_TRUE(bench_->memory->read({data_at}, data));
            ASSERT_TRUE(std::ranges::equal(data, expected));
        }
    }
    EXPECT_EQ(store_.bytes, model);
    EXPECT_EQ(store_.flushes, 0);
    EXPECT_EQ(request(4, 0), 0U);
    EXPECT_EQ(store_.flushes, 1);
}

TEST_P(VirtioBlkTest, Class10_WhatPassesTheEndIsAnErrorAndTouchesNothing) {
    start({});
    const std::uint64_t end = disk_bytes / 512;
    EXPECT_EQ(request(0, end - 1, 512, true), 0U);
    EXPECT_EQ(request(0, end - 1, 1024, true), 1U);
    EXPECT_EQ(request(0, end, 512, true), 1U);
    EXPECT_EQ(request(1, ~std::uint64_t{0}, 512), 1U);
    EXPECT_EQ(request(1, std::uint64_t{1} << 55, 512), 1U);
    EXPECT_EQ(request(1, 0, 511), 1U);
    EXPECT_EQ(store_.writes, 0);
}

TEST_P(VirtioBlkTest, HostErrorsBecomeGuestErrors) {
    start({}, flush_features);
    store_.fail = true;
    EXPECT_EQ(request(0, 0, 512, true), 1U);
    EXPECT_EQ(request(1, 0, 512), 1U);
    EXPECT_EQ(request(4, 0), 1U);
    store_.fail = false;
    EXPECT_EQ(request(1, 0, 512), 0U);
}

TEST_P(VirtioBlkTest, UnknownRequestsAreUnsupported) {
    start({});
    EXPECT_EQ(request(99, 0), 2U);
    EXPECT_EQ(request(11, 0, 16), 2U);  // not negotiated
}

TEST_P(VirtioBlkTest, GivesItsSerial) {
    start({.serial = "CUPULE-03-0"});
    EXPECT_EQ(request(8, 0, 20, true), 0U);
    std::array<char, 20> id{};
    ASSERT_TRUE(bench_->memory->read({data_at}, std::as_writable_bytes(std::span(id))));
    EXPECT_STREQ(id.data(), "CUPULE-03-0");
}

TEST_P(VirtioBlkTest, AReadOnlyDiskSaysSoAndTakesNoWrite) {
    start({.read_only = true});
    EXPECT_NE(bench_->offered() & base::bit(5), 0U);
    EXPECT_EQ(request(1, 0, 512), 1U);
    EXPECT_EQ(store_.writes, 0);
}

TEST_P(VirtioBlkTest, WritesLastWhenTheDriverCannotFlushOrSaysSo) {
    start({});
    EXPECT_EQ(request(1, 0, 512), 0U);
    EXPECT_EQ(store_.flushes, 1);
    start({}, flush_features);
    EXPECT_EQ(bench_->read(0x2000 + 32, 1), 1U);
    EXPECT_EQ(request(1, 0, 512), 0U);
    EXPECT_EQ(store_.flushes, 1);
    bench_->write(0x2000 + 32, 1, 0);
    EXPECT_EQ(bench_->read(0x2000 + 32, 1), 0U);
    EXPECT_EQ(request(1, 0, 512), 0U);
    EXPECT_EQ(store_.flushes, 2);
}

TEST_P(VirtioBlkTest, ErasesWhatIsOnTheDiskAndChecksWhatIsNot) {
    start({.discard = true}, base::bit(13) | base::bit(14));
    store_.bytes[512] = std::byte{7};
    put_segment(1, 1, 0);
    EXPECT_EQ(request(13, 0, 16), 0U);
    EXPECT_EQ(store_.bytes[512], std::byte{0});
    EXPECT_EQ(request(11, 0, 16), 0U);
    EXPECT_EQ(store_.discarded, 512U);
    put_segment(1, 1, 1);
    EXPECT_EQ(request(11, 0, 16), 2U);  // UNMAP means nothing in a discard
    EXPECT_EQ(request(13, 0, 16), 0U);
    put_segment(1, 1, 2);
    EXPECT_EQ(request(13, 0, 16), 2U);
    put_segment(disk_bytes / 512, 1, 0);
    EXPECT_EQ(request(11, 0, 16), 1U);
    put_segment(0, 0xFFFF'FFFF, 0);
    EXPECT_EQ(request(13, 0, 16), 1U);
    EXPECT_EQ(request(13, 0, 15), 2U);
}

TEST_P(VirtioBlkTest, DescribesTheDisk) {
    start({.logical_sector = 512, .physical_sector = 4096});
    EXPECT_EQ(bench_->read(0x2000, 8), disk_bytes / 512);
    EXPECT_EQ(bench_->read(0x2000 + 20, 4), 512U);
    EXPECT_EQ(bench_->read(0x2000 + 24, 1), 3U);
    EXPECT_EQ(bench_->read(0x2000 + 26, 2), 8U);
    // A chain has room for as many buffers as SEG_MAX says, and for header and status.
    EXPECT_NE(bench_->offered() & base::bit(2), 0U);
    const std::uint64_t seg_max = bench_->read(0x2000 + 12, 4);
    EXPECT_EQ(seg_max, 254U);
    EXPECT_EQ(bench_->transport->device().queues()[0].segments_max, seg_max + 2);
}

TEST_P(VirtioBlkTest, ResetsWithRequestsInFlightLeaveNoWorkBehind) {
    start({});
    for (int round = 0; round < 50; ++round) {
        for (int i = 0; i < 4; ++i) {
            ASSERT_TRUE(put(1, 0, 512, false));
        }
        drivers_[0]->publish();
        bench_->notify(0);
        if (round % 2 == 0) {
            bench_->set_status(0);
        } else {
            event::MutexLock lock(bench_->monitor);
            bench_->transport->reset();
        }
        // Nobody uses guest memory now: what a machine does when it discards it.
        const int then = store_.writes;
        ASSERT_TRUE(bench_->memory->discard_all());
        worker_->call([] {});
        EXPECT_EQ(store_.writes, then);
        {
            event::MutexLock lock(bench_->monitor);
            bench_->place();
        }
        run(0);
    }
}

TEST_P(VirtioBlkTest, ServesEachQueueOnItsWorker) {
    bench_ = std::make_unique<testing::VirtioPciBench>(
        std::make_unique<VirtioBlk>(VirtioBlkSpec{.queues = 3}, &store_, workers_));
    EXPECT_EQ(bench_->read(0x2000 + 34, 2), 3U);
    ASSERT_TRUE(bench_->negotiate(GetParam() | base::bit(12)));
    features_ = GetParam();
    add_queue(1);
    add_queue(2);
    bench_->drive();
    EXPECT_EQ(request(1, 0, 512, false, 2), 0U);
    const auto reports = bench_->transport->device().report();
    ASSERT_EQ(reports.size(), 3U);
    EXPECT_EQ(reports[0].requests, 0U);
    EXPECT_EQ(reports[2].requests, 1U);
    EXPECT_EQ(reports[2].bytes, 512U);
    EXPECT_GE(reports[2].kicks, 1U);
    EXPECT_EQ(reports[2].latency.total(), 1U);
}

TEST_P(VirtioBlkTest, OffersManyQueuesOnlyWhenItHasThem) {
    start({});
    EXPECT_EQ(bench_->offered() & base::bit(12), 0U);
    start({.queues = 2});
    EXPECT_NE(bench_->offered() & base::bit(12), 0U);
}

TEST_P(VirtioBlkTest, ADriveWithoutADiskIsEmptyUntilOneIsPutIn) {
    start_on({}, nullptr, flush_features);
    EXPECT_EQ(bench_->read(0x2000, 8), 0U);
    EXPECT_EQ(request(0, 0, 512, true), 1U);
    EXPECT_EQ(request(1, 0, 512), 1U);
    EXPECT_EQ(request(4, 0), 0U);
    {
        event::MutexLock lock(bench_->monitor);
        dynamic_cast<VirtioBlk&>(bench_->transport->device()).replace_store(&store_);
    }
    bench_->loop->run_once(0);
    EXPECT_EQ(bench_->read(0x2000, 8), disk_bytes / 512);
    EXPECT_EQ(bench_->read(0x1000, 1) & 2, 2U);  // a configuration change
    EXPECT_EQ(request(1, 0, 512), 0U);
    EXPECT_EQ(store_.writes, 1);
}

TEST_P(VirtioBlkTest, RequestsOverTheLimitWaitAndAResetDoesNotWaitForThem) {
    start({.limit = {.operations_per_s = 1, .operations_burst = 1}});
    for (int i = 0; i < 5; ++i) {
        ASSERT_TRUE(put(1, 0, 512, false));
    }
    drivers_[0]->publish();
    bench_->notify(0);
    const auto throttled = [this] { return bench_->transport->device().report()[0].throttled; };
    EXPECT_TRUE(until([&] { return throttled() != 0; }));
    EXPECT_EQ(throttled(), 1U);
    const int then = store_.writes;
    EXPECT_GE(then, 1);
    EXPECT_LE(then, 2);
    bench_->set_status(0);
    EXPECT_LE(store_.writes, then + 1);  // the one that was taken from the ring ends
}

TEST_P(VirtioBlkTest, AHostThatCannotServeAQueueAsksForAResetAndMayRecover) {
    start({});
    bench_->set_status(0);
    store_.refuse_queues = true;
    ASSERT_TRUE(bench_->negotiate(features_));
    bench_->set_queue(0, drivers_[0]->geometry());
    bench_->drive();
    EXPECT_EQ(bench_->status(), 0x4F);
    bench_->notify(0);
    worker_->call([] {});
    store_.refuse_queues = false;
    bench_->set_status(0);
    run(0);
    EXPECT_EQ(request(1, 0, 512), 0U);
}

TEST_P(VirtioBlkTest, DiscardLimitsAreThoseOfTheOption) {
    start({.discard = true,
           .discard_sectors_max = 64,
           .discard_segments_max = 2,
           .discard_alignment = 8});
    EXPECT_EQ(bench_->read(0x2000 + 36, 4), 64U);
    EXPECT_EQ(bench_->read(0x2000 + 40, 4), 2U);
    EXPECT_EQ(bench_->read(0x2000 + 44, 4), 8U);
}

TEST_P(VirtioBlkTest, RequestsGoOnWhereDmaWasStopped) {
    start({});
    EXPECT_EQ(request(1, 0, 512), 0U);
    bench_->write_config(4, 2, 2);
    ASSERT_TRUE(put(1, 1, 512, false));
    drivers_[0]->publish();
    bench_->notify(0);
    worker_->call([] {});
    EXPECT_FALSE(drivers_[0]->collect());
    bench_->write_config(4, 2, 6);
    used(0);
    EXPECT_EQ(drivers_[0]->outstanding(), 0U);
    EXPECT_EQ(request(1, 0, 512), 0U);
    EXPECT_EQ(drivers_[0]->violation(), "");
}

TEST_P(VirtioBlkTest, ALegacyDriverReadsAndWritesThroughPorts) {
    if (GetParam() != version_1) {
        GTEST_SKIP() << "legacy rings are split";
    }
    using virtio::PciTransportModel;
    for (const auto model : {PciTransportModel::transitional, PciTransportModel::legacy}) {
        bench_ = std::make_unique<testing::VirtioPciBench>(
            std::make_unique<VirtioBlk>(VirtioBlkSpec{}, &store_, workers_), nullptr, false, model);
        EXPECT_EQ(bench_->read_config(0, 4), 0x1001'1AF4U);
        EXPECT_EQ(bench_->read_config(0x2C, 4), 0x0002'1AF4U);
        EXPECT_EQ(bench_->read_config(8, 1), 0U);
        bench_->write_legacy(0x12, 1, 3);
        EXPECT_NE(bench_->read_legacy(0, 4) & base::bit(9), 0U);
        bench_->write_legacy(4, 4, base::bit(9));
        bench_->write_legacy(0x0E, 2, 0);
        EXPECT_EQ(bench_->read_legacy(0x0C, 2), 256U);
        drivers_[0] = std::make_unique<VirtioDriver>(
            *bench_->memory, VirtioDriver::Options{.size = 256, .base = {0x1'0000}});
        bench_->write_legacy(8, 4, 0x10);
        EXPECT_EQ(bench_->read_legacy(8, 4), 0x10U);
        bench_->write_legacy(0x12, 1, 7);
        EXPECT_EQ(bench_->read_legacy(0x12, 1), 7U);
        EXPECT_EQ(bench_->read_legacy(0x14, 8), disk_bytes / 512);
        for (const std::uint32_t type : {1U, 0U}) {
            ASSERT_TRUE(put(type, 2, 512, type == 0));
            drivers_[0]->publish();
            bench_->write_legacy(0x10, 2, 0);
            used(0);
            EXPECT_EQ(bench_->memory->load<std::uint8_t>({status_at}), 0);
        }
        EXPECT_EQ(drivers_[0]->outstanding(), 0U);
        bench_->loop->run_once(0);
        EXPECT_TRUE(bench_->line.level);
        EXPECT_EQ(bench_->read_legacy(0x13, 1), 1U);
        EXPECT_FALSE(bench_->line.level);
        bench_->write_legacy(8, 4, 0);  // the queue is taken back
        EXPECT_EQ(bench_->read_legacy(8, 4), 0U);
        bench_->write_legacy(0x12, 1, 0);
        EXPECT_FALSE(bench_->transport->active());
    }
}

TEST_P(VirtioBlkTest, PollingServesWithoutBeingAsked) {
    start({.poll_ns_max = 1'000'000});
    for (int i = 0; i < 300; ++i) {
        ASSERT_EQ(request(1, static_cast<std::uint64_t>(i), 512), 0U);
    }
    EXPECT_EQ(store_.writes, 300);
    bench_->set_status(0);
}

/// The same disk behind a real file, by io_uring or threads, whichever the host has.
class VirtioBlkFileTest : public VirtioBlkTest {
  protected:
    VirtioBlkFileTest() {
        EXPECT_GE(mkstemp(path_.data()), 0);
        EXPECT_EQ(truncate(path_.c_str(), disk_bytes), 0);
    }
    ~VirtioBlkFileTest() override { unlink(path_.c_str()); }
    std::string path_ = ::testing::TempDir() + "/disk_XXXXXX";
};

TEST_P(VirtioBlkFileTest, ManyAtOnceAndResetsAmongThem) {
    using backend::BlockAio;
    using backend::BlockOptions;
    // Direct I/O ends on its own time, where a file system has it.
    for (const BlockOptions& options :
         {BlockOptions{.path = path_}, BlockOptions{.path = path_, .aio = BlockAio::threads},
          BlockOptions{.path = path_, .direct = true, .logical_sector = 4096}}) {
        auto opened = backend::FileBlockStore::open(options);
        if (!opened) {
            ASSERT_TRUE(options.direct) << opened.error().message;
            continue;
        }
        auto store = std::move(*opened);
        start_on({.logical_sector = options.logical_sector}, store.get(), flush_features);
        for (unsigned round = 0; round < 30; ++round) {
            std::vector<std::byte> data(4096, static_cast<std::byte>(round + 1));
            ASSERT_TRUE(bench_->memory->write({data_at}, data));
            // All of them write the same: they share a header.
            for (unsigned i = 0; i < 5; ++i) {
                ASSERT_TRUE(put(1, 16, 4096, false));
            }
            drivers_[0]->publish();
            bench_->notify(0);
            if (round % 3 == 2) {
                bench_->set_status(0);  // with some of them under way
                run(flush_features);
                continue;
            }
            while (drivers_[0]->outstanding() != 0 && !HasFailure()) {
                used(0);
            }
            ASSERT_EQ(request(0, 16, 4096, true), 0U);
            std::vector<std::byte> back(4096);
            ASSERT_TRUE(bench_->memory->read({data_at}, back));
            EXPECT_EQ(back, data);
        }
        bench_.reset();
    }
}

INSTANTIATE_TEST_SUITE_P(Rings, VirtioBlkFileTest,
                         ::testing::Values(version_1, version_1 | ring_packed));

INSTANTIATE_TEST_SUITE_P(Rings, VirtioBlkTest,
                         ::testing::Values(version_1, version_1 | ring_packed));

}  // namespace
}  // namespace cupule::device
