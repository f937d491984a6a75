// What a hostile driver can make the host do before the device has its next say: between two turns
// of the worker's loop, and before a reset ends.

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include "device/storage/virtio_blk.h"
#include "testing/holding_disk.h"
#include "testing/virtio_pci_bench.h"
#include "virtio/features.h"

namespace cupule::device {
namespace {

using testing::VirtioDriver;

constexpr int failure_ms = 20'000;
constexpr std::uint64_t mib = 1 << 20;
constexpr std::uint32_t type_read = 0;
constexpr std::uint32_t type_write = 1;
constexpr std::uint32_t type_discard = 11;
constexpr std::uint32_t type_write_zeroes = 13;
constexpr std::uint64_t erasing = base::bit(13) | base::bit(14);
constexpr std::uint64_t features = virtio::feature::version_1 | virtio::feature::indirect_desc;
constexpr std::uint64_t header_at = 3 << 20;
constexpr std::uint64_t status_at = header_at + 0x1000;
constexpr std::uint64_t data_at = 4 << 20;

/// A huge disk that takes a moment to move nothing and counts what it was asked to move, since the
/// last turn of the worker's loop and in all.
class CountingStore : public backend::BlockStore {
  public:
    std::uint64_t size() const override { return 4096 * mib; }
    base::Result<void> read(std::span<const iovec> to, std::uint64_t) override { return count(to); }
    base::Result<void> write(std::span<const iovec> from, std::uint64_t) override {
        return count(from);
    }
    base::Result<void> flush() override { return {}; }
    base::Result<void> discard(std::uint64_t, std::uint64_t bytes) override {
        largest_discard = std::max(largest_discard, bytes);
        return {};
    }
    base::Result<void> write_zeroes(std::uint64_t, std::uint64_t bytes, bool) override {
        return count(bytes);
    }
    void turn() { turn_ = 0; }

    std::uint64_t most_in_a_turn = 0;
    std::uint64_t largest_discard = 0;
    std::uint64_t all = 0;

  private:
    base::Result<void> count(std::span<const iovec> segments) {
        std::uint64_t bytes = 0;
        for (const iovec& each : segments) {
            bytes += each.iov_len;
        }
        return count(bytes);
    }
    base::Result<void> count(std::uint64_t bytes) {
        all += bytes;
        turn_ += bytes;
        most_in_a_turn = std::max(most_in_a_turn, turn_);
        // Longer than the loop asks pollers before it looks at its other events.
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        return {};
    }
    std::uint64_t turn_ = 0;
};

class PlainStore : public backend::BlockStore {
  public:
    std::uint64_t size() const override { return bytes.size(); }
    base::Result<void> read(std::span<const iovec> to, std::uint64_t at) override {
        for (const iovec& each : to) {
            std::memcpy(each.iov_base, bytes.data() + at, each.iov_len);
            at += each.iov_len;
        }
        return {};
    }
    base::Result<void> write(std::span<const iovec> from, std::uint64_t at) override {
        for (const iovec& each : from) {
            std::memcpy(bytes.data() + at, each.iov_base, each.iov_len);
            at += each.iov_len;
        }
        return {};
    }
    base::Result<void> flush() override { return {}; }
    base::Result<void> discard(std::uint64_t, std::uint64_t) override { return {}; }
    base::Result<void> write_zeroes(std::uint64_t at, std::uint64_t length, bool) override {
        std::memset(bytes.data() + at, 0, length);
        return {};
    }

    std::vector<std::byte> bytes = std::vector<std::byte>(16 * mib);
};

class BlkBounds : public ::testing::Test {
  protected:
    void start(const VirtioBlkSpec& spec, backend::BlockStore& store) {
        bench_ = std::make_unique<testing::VirtioPciBench>(
            std::make_unique<VirtioBlk>(spec, &store, workers_));
        const std::uint64_t wanted = features | (bench_->offered() & erasing);
        const VirtioDriver::Options options{
            .features = wanted, .size = 64, .base = {0x1'0000}, .table_entries = 80};
        driver_ = std::make_unique<VirtioDriver>(*bench_->memory, options);
        ASSERT_TRUE(bench_->negotiate(wanted));
        bench_->set_queue(0, driver_->geometry());
        bench_->drive();
        ASSERT_EQ(bench_->status(), 0x0F);
    }
    void submit(std::uint32_t type, std::span<const VirtioDriver::Buffer> data) {
        ASSERT_TRUE(bench_->memory->store<std::uint64_t>({header_at}, type));
        ASSERT_TRUE(bench_->memory->store<std::uint64_t>({header_at + 8}, 0));
        std::vector<VirtioDriver::Buffer> buffers{{.address = {header_at}, .length = 16}};
        buffers.insert(buffers.end(), data.begin(), data.end());
        buffers.push_back({.address = {status_at}, .length = 1, .writable = true});
        ASSERT_TRUE(driver_->submit(buffers, 1, VirtioDriver::Shape::indirect));
    }
    /// `segments` times the same four MiB of RAM, or a part of them.
    void submit_read(std::size_t segments, std::uint32_t bytes_each) {
        const std::vector<VirtioDriver::Buffer> data(
            segments, {.address = {data_at}, .length = bytes_each, .writable = true});
        submit(type_read, data);
    }
    void submit_erase(std::uint32_t type, std::uint32_t sectors, std::uint32_t segments) {
        for (std::uint64_t at = data_at; at < data_at + 16 * segments; at += 16) {
            ASSERT_TRUE(bench_->memory->store<std::uint64_t>({at}, 0));
            ASSERT_TRUE(bench_->memory->store<std::uint32_t>({at + 8}, sectors));
            ASSERT_TRUE(bench_->memory->store<std::uint32_t>({at + 12}, 0));
        }
        const VirtioDriver::Buffer list{.address = {data_at}, .length = 16 * segments};
        submit(type, std::span(&list, 1));
    }
    void notify() {
        driver_->publish();
        bench_->notify(0);
    }
    /// All that is under way ends; the last status.
    unsigned collect() {
        for (int i = 0; i < failure_ms && driver_->outstanding() != 0; ++i) {
            while (driver_->collect()) {
            }
            poll(nullptr, 0, 1);
        }
        EXPECT_EQ(driver_->outstanding(), 0U);
        EXPECT_EQ(driver_->violation(), "");
        return *bench_->memory->load<std::uint8_t>({status_at});
    }
    /// Lets the store hear of each turn of the loop, until the end of `notify` and `collect`.
    unsigned collect_by_turns(CountingStore& store) {
        bool over = false;
        std::function<void()> turn = [&] {
            store.turn();
            if (!over) {
                worker_->loop().post([&turn] { turn(); });
            }
        };
        worker_->call(turn);
        notify();
        const unsigned status = collect();
        worker_->call([&] { over = true; });
        worker_->call([] {});
        return status;
    }
    void settle() {
        for (int i = 0; i < 8; ++i) {
            worker_->call([] {});
        }
    }
    /// While another thread resets the device, the disk ends what it has, once that is waited for.
    void reset(testing::HoldingDisk& disk) {
        std::atomic<bool> over{false};
        std::thread resetting([&] {
            bench_->set_status(0);
            over = true;
        });
        while (!over) {
            if (disk.waited_for()) {
                disk.let_go();
            }
            std::this_thread::yield();
        }
        resetting.join();
    }

    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("test");
    std::vector<event::Worker*> workers_{worker_.get()};
    std::unique_ptr<testing::VirtioPciBench> bench_;
    std::unique_ptr<VirtioDriver> driver_;
};

TEST_F(BlkBounds, ReadsMoveFewBytesBetweenTwoTurnsOfTheLoop) {
    CountingStore store;
    start({}, store);
    for (int i = 0; i < 10; ++i) {
        submit_read(64, mib);
    }
    EXPECT_EQ(collect_by_turns(store), 0U);
    EXPECT_EQ(store.all, 640 * mib);
    EXPECT_LE(store.most_in_a_turn, 8 * mib);
}

TEST_F(BlkBounds, ZeroesThatHaveToBeWrittenDoToo) {
    CountingStore store;
    start({}, store);
    for (int i = 0; i < 10; ++i) {
        submit_erase(type_write_zeroes, 1 << 17, 1);
    }
    EXPECT_EQ(collect_by_turns(store), 0U);
    EXPECT_EQ(store.all, 640 * mib);
    EXPECT_LE(store.most_in_a_turn, 8 * mib);
}

TEST_F(BlkBounds, AWideDiscardWidensNoWriteOfZeroes) {
    CountingStore store;
    start({.discard = true, .discard_sectors_max = 1 << 20, .discard_segments_max = 2}, store);
    EXPECT_EQ(bench_->read(0x2000 + 36, 4), 1U << 20);
    EXPECT_EQ(bench_->read(0x2000 + 48, 4), 1U << 17);
    EXPECT_EQ(bench_->read(0x2000 + 52, 4), 1U);
    const auto erase = [this](std::uint32_t type, std::uint32_t sectors, std::uint32_t segments) {
        submit_erase(type, sectors, segments);
        notify();
        return collect();
    };
    EXPECT_EQ(erase(type_write_zeroes, (1 << 17) + 1, 1), 1U);
    EXPECT_EQ(erase(type_write_zeroes, 1, 2), 2U);
    EXPECT_EQ(store.all, 0U);
    EXPECT_EQ(erase(type_write_zeroes, 1 << 17, 1), 0U);
    EXPECT_EQ(store.all, 64 * mib);
    EXPECT_EQ(erase(type_discard, (1 << 20) + 1, 1), 1U);
    EXPECT_EQ(erase(type_discard, 1, 3), 2U);
    EXPECT_EQ(store.largest_discard, 0U);
    EXPECT_EQ(erase(type_discard, 1 << 20, 2), 0U);
    EXPECT_EQ(store.largest_discard, 512 * mib);  // in one piece: nothing is moved
}

TEST_F(BlkBounds, ARequestInPiecesIsWhole) {
    PlainStore store;
    start({}, store);
    constexpr std::uint32_t last = 512 * 22'000 - 3'700'001 - 3'700'003;
    std::vector<VirtioDriver::Buffer> data{{.address = {data_at}, .length = 3'700'001},
                                           {.address = {data_at + 5}, .length = 3'700'003},
                                           {.address = {data_at + 9}, .length = last}};
    std::vector<std::byte> ram(4 * mib);
    std::mt19937_64 random(7);
    std::ranges::generate(ram, [&] { return static_cast<std::byte>(random()); });
    ASSERT_TRUE(bench_->memory->write({data_at}, ram));
    submit(type_write, data);
    notify();
    EXPECT_EQ(collect(), 0U);
    std::uint64_t at = 0;
    for (const VirtioDriver::Buffer& each : data) {
        const auto from = std::span(ram).subspan(each.address.value - data_at, each.length);
        EXPECT_TRUE(std::ranges::equal(std::span(store.bytes).subspan(at, each.length), from));
        at += each.length;
    }
    EXPECT_TRUE(std::ranges::all_of(std::span(store.bytes).subspan(at),
                                    [](std::byte byte) { return byte == std::byte{}; }));
    // Back into other places.
    std::ranges::generate(store.bytes, [&] { return static_cast<std::byte>(random()); });
    data = {{.address = {data_at}, .length = 1 << 20, .writable = true},
            {.address = {data_at}, .length = 3'900'416, .writable = true},
            {.address = {data_at + 7}, .length = 2'000'384, .writable = true}};
    submit(type_read, data);
    notify();
    EXPECT_EQ(collect(), 0U);
    ASSERT_TRUE(bench_->memory->read({data_at}, ram));
    const auto disk = std::span(store.bytes);
    EXPECT_TRUE(std::ranges::equal(std::span(ram).subspan(7, 2'000'384),
                                   disk.subspan(mib + 3'900'416, 2'000'384)));
    EXPECT_TRUE(std::ranges::equal(std::span(ram).subspan(2'000'391, 1'900'025),
                                   disk.subspan(mib + 2'000'391, 1'900'025)));
}

TEST_F(BlkBounds, AResetWaitsForFewBytesWhateverIsInTheRing) {
    CountingStore store;
    testing::HoldingDisk disk(store);
    start({}, disk);
    for (int i = 0; i < 10; ++i) {
        submit_read(63, mib);
    }
    notify();
    settle();
    EXPECT_EQ(disk.held(), 2U);  // the third is taken when one of them has ended
    reset(disk);
    EXPECT_EQ(store.all, 2 * 63 * mib);
}

TEST_F(BlkBounds, AResetEndsARequestThatIsTooLargeToWaitFor) {
    CountingStore store;
    testing::HoldingDisk disk(store);
    start({}, disk);
    submit_read(64, 4 * mib);
    notify();
    settle();
    EXPECT_EQ(disk.held(), 1U);
    reset(disk);
    EXPECT_EQ(store.all, 4 * mib);
    EXPECT_EQ(bench_->memory->load<std::uint8_t>({status_at}), 1);
}

TEST_F(BlkBounds, ManyDiscardsLeaveRoomForOthers) {
    CountingStore store;
    testing::HoldingDisk disk(store);
    start({.discard = true}, disk);
    for (int i = 0; i < 8; ++i) {
        submit_erase(type_discard, 1 << 17, 1);
    }
    notify();
    settle();
    EXPECT_EQ(disk.held(), 8U);
    reset(disk);
}

}  // namespace
}  // namespace cupule::device
