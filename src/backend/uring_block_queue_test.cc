#include "backend/uring_block_queue.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backend/block_store.h"
#include "memory/guest_memory.h"
#include "testing/recording_log.h"

namespace cupule::backend {
namespace {

constexpr std::uint64_t disk_bytes = 1 << 20;
constexpr unsigned depth = 16;

TEST(PinnedMemory, RequestsFromInsideOutsideAndAcrossAgreeWithTheFile) {
    std::string path = ::testing::TempDir() + "/pinned_XXXXXX";
    const base::FileDescriptor file{mkstemp(path.data())};
    ASSERT_TRUE(file);
    EXPECT_EQ(ftruncate(file.get(), disk_bytes), 0);
    constexpr std::uint64_t piece = 64 << 10;
    const auto memory = *memory::GuestMemory::create(
        {.pieces = {{memory::GuestAddress{0}, piece}, {memory::GuestAddress{1 << 20}, piece}}});
    const auto pages = memory->keep_pages();
    testing::RecordingLog log;
    const auto store = *FileBlockStore::open(
        {.path = path, .aio = BlockAio::io_uring, .pinned = true}, memory.get());
    const auto queue = *store->make_queue(depth);
    ASSERT_GE(queue->event_fd(), 0);
    const bool registered = log.text().empty();
    EXPECT_TRUE(registered) << log.text();

    const std::span<std::byte> low = memory->mappings()[0];
    const std::span<std::byte> high = memory->mappings()[1];
    std::vector<std::byte> outside(piece);
    const auto carry_out = [&](BlockOperation operation, std::span<const iovec> segments) {
        std::uint64_t bytes = 0;
        for (const iovec& segment : segments) {
            bytes += segment.iov_len;
        }
        EXPECT_TRUE(queue->submit({.operation = operation,
                                   .durable = operation == BlockOperation::write,
                                   .at = 4096,
                                   .bytes = bytes,
                                   .segments = segments}));
        queue->kick();
        std::array<BlockCompletion, 1> done{};
        while (queue->collect(done) == 0) {
            queue->wait();
        }
        EXPECT_EQ(done[0].error, 0);
    };
    const auto whole = [](std::span<std::byte> bytes) {
        return iovec{.iov_base = bytes.data(), .iov_len = bytes.size()};
    };
    const std::vector<std::vector<iovec>> places{
        {whole(low)},
        {whole(high.last(4096))},
        {whole(outside)},
        {whole(low.first(512)), whole(high.first(1024)), whole(outside)},
    };
    std::mt19937_64 random(7);
    for (const std::vector<iovec>& segments : places) {
        for (const std::span<std::byte> bytes : {low, high, std::span(outside)}) {
            std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
        }
        std::vector<std::byte> expected;
        for (const iovec& segment : segments) {
            const auto* const from = static_cast<const std::byte*>(segment.iov_base);
            expected.insert(expected.end(), from, from + segment.iov_len);
        }
        carry_out(BlockOperation::write, segments);
        std::vector<std::byte> in_file(expected.size());
        ASSERT_EQ(pread(file.get(), in_file.data(), in_file.size(), 4096),
                  static_cast<ssize_t>(in_file.size()));
        ASSERT_EQ(in_file, expected);
        for (const iovec& segment : segments) {
            std::memset(segment.iov_base, 0, segment.iov_len);
        }
        // Past what reads find in the page cache at once.
        ASSERT_EQ(posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
        carry_out(BlockOperation::read, segments);
        std::vector<std::byte> read;
        for (const iovec& segment : segments) {
            const auto* const from = static_cast<const std::byte*>(segment.iov_base);
            read.insert(read.end(), from, from + segment.iov_len);
        }
        ASSERT_EQ(read, expected);
    }
    unlink(path.c_str());
}

TEST(PinnedMemory, RequestsOfOneSegmentUseThePagesThatWereRegistered) {
    std::string path = ::testing::TempDir() + "/pinned_XXXXXX";
    const base::FileDescriptor file{mkstemp(path.data())};
    ASSERT_TRUE(file);
    constexpr std::size_t size = 64 << 10;
    const auto map = [](int access) {
        void* const place = mmap(nullptr, size, access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        EXPECT_NE(place, MAP_FAILED);
        return std::span(static_cast<std::byte*>(place), size);
    };
    const std::array memory{map(PROT_READ | PROT_WRITE)};
    const std::span<std::byte> elsewhere = map(PROT_NONE);
    std::ranges::fill(memory[0], std::byte{0x5A});
    ASSERT_EQ(pwrite(file.get(), memory[0].data(), size, 0), static_cast<ssize_t>(size));
    const auto store = *FileBlockStore::open({.path = path});
    const auto queue = *make_uring_block_queue({.fd = file.get(), .memory = memory}, *store, 1);
    std::ranges::fill(memory[0], std::byte{});
    // What is registered stays with its pages, wherever they are seen.
    ASSERT_NE(mremap(memory[0].data(), size, size, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere.data()),
              MAP_FAILED);
    const iovec segment{.iov_base = memory[0].data(), .iov_len = size};
    ASSERT_TRUE(queue->submit({.operation = BlockOperation::read,
                               .bytes = size,
                               .segments = std::span(&segment, 1)}));
    queue->wait();
    std::array<BlockCompletion, 1> done{};
    EXPECT_EQ(queue->collect(done), 1U);
    EXPECT_EQ(done[0].error, 0);
    EXPECT_TRUE(std::ranges::all_of(elsewhere, [](std::byte b) { return b == std::byte{0x5A}; }));
    munmap(elsewhere.data(), size);
    unlink(path.c_str());
}

TEST(PinnedMemory, WithoutTheHostsLeaveRequestsGoOnAndTheUserIsTold) {
    std::string path = ::testing::TempDir() + "/pinned_XXXXXX";
    const base::FileDescriptor file{mkstemp(path.data())};
    ASSERT_TRUE(file);
    EXPECT_EQ(ftruncate(file.get(), 4096), 0);
    testing::RecordingLog log;
    const auto store = *FileBlockStore::open({.path = path});
    // Nothing is mapped there.
    const std::array nowhere{
        std::span(reinterpret_cast<std::byte*>(std::uintptr_t{4096}), 2 << 20)};
    const auto queue = make_uring_block_queue({.fd = file.get(), .memory = nowhere}, *store, 1);
    ASSERT_TRUE(queue) << queue.error().message;
    EXPECT_THAT(log.text(), ::testing::HasSubstr("ulimit -l"));
    std::array<std::byte, 512> bytes{std::byte{1}};
    const iovec segment{.iov_base = bytes.data(), .iov_len = bytes.size()};
    ASSERT_TRUE((*queue)->submit({.operation = BlockOperation::write,
                                  .bytes = bytes.size(),
                                  .segments = std::span(&segment, 1)}));
    (*queue)->wait();
    std::array<BlockCompletion, 1> done{};
    EXPECT_EQ((*queue)->collect(done), 1U);
    EXPECT_EQ(done[0].error, 0);
    unlink(path.c_str());
}

}  // namespace
}  // namespace cupule::backend
