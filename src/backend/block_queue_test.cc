#include "backend/block_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "backend/block_store.h"

namespace cupule::backend {
namespace {

constexpr std::uint64_t disk_bytes = 1 << 20;
constexpr std::uint64_t start = 8192;
constexpr unsigned depth = 16;

enum class Kind : std::uint8_t { immediate, threads, uring };

class BlockQueueTest : public ::testing::TestWithParam<Kind> {
  protected:
    void SetUp() override {
        ASSERT_NE(mkdtemp(directory_.data()), nullptr);
        options_.path = directory_ + "/image";
        resize(start + disk_bytes + 4096);
        options_.range_start = start;
        options_.range_bytes = disk_bytes;
        options_.aio = GetParam() == Kind::uring ? BlockAio::io_uring : BlockAio::threads;
        open();
    }
    ~BlockQueueTest() override {
        queue_.reset();
        unlink(options_.path.c_str());
        rmdir(directory_.c_str());
    }
    void open() {
        auto store = FileBlockStore::open(options_);
        ASSERT_TRUE(store) << store.error().message;
        store_ = std::move(*store);
        queue_ = GetParam() == Kind::immediate ? make_immediate_block_queue(*store_, depth)
                                               : *store_->make_queue(depth);
    }
    /// Past the page cache; false, and as before, where the file system has no such thing.
    bool reopen_direct() {
        queue_.reset();
        store_.reset();
        const BlockOptions before = options_;
        options_.direct = true;
        options_.logical_sector = 4096;
        const bool works = FileBlockStore::open(options_).has_value();
        options_ = works ? options_ : before;
        open();
        return works;
    }
    void resize(std::uint64_t bytes) {
        const auto file = *base::open_file(options_.path, O_RDWR | O_CREAT, 0600);
        EXPECT_EQ(ftruncate(file.get(), static_cast<off_t>(bytes)), 0);
    }
    /// All that is under way, `count` requests.
    std::vector<BlockCompletion> finish(std::size_t count) {
        std::vector<BlockCompletion> all;
        while (all.size() < count) {
            queue_->kick();
            std::array<BlockCompletion, 5> some;
            const std::size_t found = queue_->collect(some);
            all.insert(all.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(found));
            if (found == 0) {
                queue_->wait();
            }
        }
        return all;
    }
    int one(const BlockRequest& request) {
        EXPECT_TRUE(queue_->submit(request));
        return finish(1).front().error;
    }

    std::string directory_ = ::testing::TempDir() + "/block_XXXXXX";
    BlockOptions options_;
    std::unique_ptr<BlockStore> store_;
    std::unique_ptr<BlockQueue> queue_;
};

TEST(MemoryBlockStore, WhoeverSubmitsDoesTheWorkUnlessTheUserSaysOtherwise) {
    std::string path = "/dev/shm/cupule_block_XXXXXX";
    const base::FileDescriptor file{mkstemp(path.data())};
    ASSERT_TRUE(file);
    EXPECT_EQ(ftruncate(file.get(), 4096), 0);
    for (const auto& [aio, at_once] : {std::pair{BlockAio::automatic, true},
                                       std::pair{BlockAio::io_uring, false},
                                       std::pair{BlockAio::threads, false}}) {
        const auto store = FileBlockStore::open({.path = path, .aio = aio});
        ASSERT_TRUE(store) << store.error().message;
        const auto queue = *(*store)->make_queue(1);
        EXPECT_EQ(queue->event_fd() < 0, at_once);
        std::array<std::byte, 512> bytes{std::byte{1}};
        const iovec segment{.iov_base = bytes.data(), .iov_len = bytes.size()};
        for (const BlockOperation operation : {BlockOperation::write, BlockOperation::read}) {
            ASSERT_TRUE(queue->submit({.operation = operation,
                                       .bytes = bytes.size(),
                                       .segments = std::span(&segment, 1)}));
            queue->kick();
            queue->wait();
            std::array<BlockCompletion, 1> done{};
            EXPECT_EQ(queue->collect(done), 1U);
            EXPECT_EQ(done[0].error, 0);
        }
    }
    unlink(path.c_str());
}

/// A request with memory of its own, cut into segments.
struct Transfer {
    std::vector<std::byte> memory{};
    std::vector<iovec> segments{};
    std::uint64_t at = 0;

    void cut(std::size_t piece) {
        segments.clear();
        for (std::size_t i = 0; i < memory.size(); i += piece) {
            segments.push_back(
                {.iov_base = memory.data() + i, .iov_len = std::min(piece, memory.size() - i)});
        }
    }
};

TEST_P(BlockQueueTest, ManyRequestsAtOnceAgreeWithAModelOfTheDisk) {
    std::vector<std::byte> model(disk_bytes);
    std::mt19937_64 random(11);
    for (int round = 0; round < 50; ++round) {
        std::array<Transfer, depth> transfers;
        // No two of a round touch the same bytes.
        const std::uint64_t room = disk_bytes / depth;
        for (std::uint32_t i = 0; i < depth; ++i) {
            Transfer& transfer = transfers[i];
            transfer.memory.resize(512 * (1 + random() % 40));
            transfer.at = i * room + 512 * (random() % 8);
            const bool write = i % 2 == static_cast<std::uint32_t>(round % 2);
            auto expected = std::span(model).subspan(transfer.at, transfer.memory.size());
            if (write) {
                std::ranges::generate(transfer.memory,
                                      [&] { return static_cast<std::byte>(random()); });
                std::ranges::copy(transfer.memory, expected.begin());
            }
            transfer.cut(1 + random() % 2000);
            ASSERT_TRUE(
                queue_->submit({.operation = write ? BlockOperation::write : BlockOperation::read,
                                .durable = i == 0,
                                .at = transfer.at,
                                .bytes = transfer.memory.size(),
                                .segments = transfer.segments,
                                .token = 100 + i}));
        }
        EXPECT_FALSE(queue_->submit({.operation = BlockOperation::flush}));
        std::uint64_t seen = 0;
        for (const BlockCompletion& each : finish(depth)) {
            EXPECT_EQ(each.error, 0);
            seen |= std::uint64_t{1} << (each.token - 100);
        }
        EXPECT_EQ(seen, (std::uint64_t{1} << depth) - 1);
        for (const Transfer& transfer : transfers) {
            ASSERT_TRUE(std::ranges::equal(
                transfer.memory, std::span(model).subspan(transfer.at, transfer.memory.size())));
        }
    }
    EXPECT_EQ(one({.operation = BlockOperation::flush}), 0);
}

TEST_P(BlockQueueTest, ErasesStayInTheirRange) {
    Transfer transfer{.memory = std::vector<std::byte>(16384, std::byte{0x77})};
    transfer.cut(16384);
    ASSERT_EQ(
        one({.operation = BlockOperation::write, .bytes = 16384, .segments = transfer.segments}),
        0);
    ASSERT_EQ(
        one({.operation = BlockOperation::write_zeroes, .durable = true, .at = 512, .bytes = 512}),
        0);
    ASSERT_EQ(one({.operation = BlockOperation::write_zeroes,
                   .may_unmap = true,
                   .at = 4096,
                   .bytes = 4096}),
              0);
    ASSERT_EQ(one({.operation = BlockOperation::discard, .at = 8192, .bytes = 4096}), 0);
    ASSERT_EQ(
        one({.operation = BlockOperation::read, .bytes = 16384, .segments = transfer.segments}), 0);
    const auto all = [&](std::size_t from, std::size_t to, unsigned value) {
        return std::ranges::all_of(std::span(transfer.memory).subspan(from, to - from),
                                   [value](std::byte byte) { return byte == std::byte(value); });
    };
    EXPECT_TRUE(all(0, 512, 0x77));
    EXPECT_TRUE(all(512, 1024, 0));
    EXPECT_TRUE(all(1024, 4096, 0x77));
    EXPECT_TRUE(all(4096, 8192, 0));
    EXPECT_TRUE(all(12288, 16384, 0x77));
}

TEST_P(BlockQueueTest, AShortReadIsAnErrorAndNotAPart) {
    Transfer transfer{.memory = std::vector<std::byte>(8192)};
    transfer.cut(1000);
    resize(start + 5000);  // behind the store's back
    EXPECT_EQ(
        one({.operation = BlockOperation::read, .bytes = 8192, .segments = transfer.segments}),
        EIO);
    EXPECT_EQ(one({.operation = BlockOperation::read, .bytes = 0}), 0);
}

TEST_P(BlockQueueTest, AWriteThatTheHostRefusesIsAnError) {
    queue_.reset();
    store_.reset();
    options_.read_only = true;
    open();
    Transfer transfer{.memory = std::vector<std::byte>(512)};
    transfer.cut(512);
    EXPECT_EQ(
        one({.operation = BlockOperation::write, .bytes = 512, .segments = transfer.segments}),
        EBADF);
}

TEST_P(BlockQueueTest, TheBellRingsOnlyWhileItIsArmed) {
    if (queue_->event_fd() < 0) {
        GTEST_SKIP() << "nothing to wait for";
    }
    Transfer transfer{.memory = std::vector<std::byte>(4096)};
    transfer.cut(4096);
    // A read may end without a bell.
    const BlockRequest request{
        .operation = BlockOperation::write, .bytes = 4096, .segments = transfer.segments};
    pollfd bell{.fd = queue_->event_fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(one(request), 0);
    EXPECT_EQ(poll(&bell, 1, 0), 0);
    EXPECT_FALSE(queue_->arm());
    ASSERT_TRUE(queue_->submit(request));
    queue_->kick();
    EXPECT_EQ(poll(&bell, 1, 20'000), 1);
    queue_->disarm();
    base::drain_eventfd(bell.fd);
    EXPECT_EQ(finish(1).front().error, 0);
    ASSERT_TRUE(queue_->submit(request));
    queue_->kick();
    queue_->wait();
    EXPECT_TRUE(queue_->arm());  // what is there already says so by itself
    EXPECT_EQ(finish(1).front().error, 0);
}

TEST_P(BlockQueueTest, ADiskWithNothingToDoBeginsBeforeItIsKicked) {
    Transfer transfer{.memory = std::vector<std::byte>(4096)};
    transfer.cut(4096);
    ASSERT_TRUE(queue_->submit(
        {.operation = BlockOperation::write, .bytes = 4096, .segments = transfer.segments}));
    if (queue_->event_fd() >= 0 && !queue_->arm()) {
        pollfd bell{.fd = queue_->event_fd(), .events = POLLIN, .revents = 0};
        EXPECT_EQ(poll(&bell, 1, 20'000), 1);
    }
    std::array<BlockCompletion, 2> done;
    EXPECT_EQ(queue_->collect(done), 1U);
    EXPECT_EQ(done[0].error, 0);
}

TEST_P(BlockQueueTest, NoneEndsUnseenBetweenALookAndSleep) {
    reopen_direct();
    if (queue_->event_fd() < 0) {
        GTEST_SKIP() << "nothing to wait for";
    }
    alignas(4096) static std::array<std::array<std::byte, 4096>, 4> memory;
    std::array<iovec, memory.size()> segments;
    for (std::uint32_t i = 0; i < memory.size(); ++i) {  // on the disk, and no hole
        segments[i] = {.iov_base = memory[i].data(), .iov_len = memory[i].size()};
        ASSERT_EQ(one({.operation = BlockOperation::write,
                       .at = std::uint64_t{4096} * i,
                       .bytes = 4096,
                       .segments = std::span(&segments[i], 1)}),
                  0);
    }
    pollfd bell{.fd = queue_->event_fd(), .events = POLLIN, .revents = 0};
    for (int round = 0; round < 500; ++round) {
        for (std::uint32_t i = 0; i < memory.size(); ++i) {
            ASSERT_TRUE(queue_->submit({.operation = BlockOperation::read,
                                        .at = std::uint64_t{4096} * i,
                                        .bytes = 4096,
                                        .segments = std::span(&segments[i], 1)}));
        }
        queue_->kick();
        for (std::size_t ended = 0; ended < memory.size();) {
            if (!queue_->arm()) {
                ASSERT_EQ(poll(&bell, 1, 20'000), 1) << "round " << round;
            }
            queue_->disarm();
            base::drain_eventfd(bell.fd);
            std::array<BlockCompletion, 8> done;
            ended += queue_->collect(done);
        }
    }
}

TEST_P(BlockQueueTest, AReadThatIsOnlyPartlyInThePageCacheIsWhole) {
    Transfer written{.memory = std::vector<std::byte>(256 << 10)};
    std::mt19937_64 random(5);
    std::ranges::generate(written.memory, [&] { return static_cast<std::byte>(random()); });
    written.cut(100'003);
    ASSERT_EQ(one({.operation = BlockOperation::write,
                   .durable = true,
                   .bytes = written.memory.size(),
                   .segments = written.segments}),
              0);
    for (int round = 0; round < 8; ++round) {
        const auto file = *base::open_file(options_.path, O_RDWR);
        ASSERT_EQ(posix_fadvise(file.get(), start + 65536, 65536, POSIX_FADV_DONTNEED), 0);
        Transfer read{.memory = std::vector<std::byte>(written.memory.size())};
        read.cut(70'001);
        ASSERT_EQ(one({.operation = BlockOperation::read,
                       .bytes = read.memory.size(),
                       .segments = read.segments}),
                  0);
        ASSERT_EQ(read.memory, written.memory);
    }
}

TEST_P(BlockQueueTest, DirectIoTakesMemoryOfAnyAlignment) {
    if (!reopen_direct()) {
        GTEST_SKIP() << "no direct I/O here";
    }
    Transfer written{.memory = std::vector<std::byte>(600 << 10)};
    std::mt19937_64 random(3);
    std::ranges::generate(written.memory, [&] { return static_cast<std::byte>(random()); });
    written.cut(100'003);
    ASSERT_EQ(one({.operation = BlockOperation::write,
                   .at = 4096,
                   .bytes = written.memory.size(),
                   .segments = written.segments}),
              0);
    Transfer read{.memory = std::vector<std::byte>(written.memory.size())};
    read.cut(77'777);
    ASSERT_EQ(one({.operation = BlockOperation::read,
                   .at = 4096,
                   .bytes = read.memory.size(),
                   .segments = read.segments}),
              0);
    EXPECT_EQ(read.memory, written.memory);
}

std::string name_of(const ::testing::TestParamInfo<Kind>& parameter) {
    switch (parameter.param) {
        case Kind::immediate:
            return "Immediate";
        case Kind::threads:
            return "Threads";
        case Kind::uring:
            break;
    }
    return "Uring";
}

INSTANTIATE_TEST_SUITE_P(Kinds, BlockQueueTest,
                         ::testing::Values(Kind::immediate, Kind::threads, Kind::uring), name_of);

}  // namespace
}  // namespace cupule::backend
