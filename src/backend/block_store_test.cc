#include "backend/block_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <vector>

namespace cupule::backend {
namespace {

using ::testing::HasSubstr;

class BlockStoreTest : public ::testing::Test {
  protected:
    BlockStoreTest() {
        EXPECT_NE(mkdtemp(directory_.data()), nullptr);
        options_.path = directory_ + "/image";
        resize(1 << 20);
    }
    ~BlockStoreTest() override {
        unlink(options_.path.c_str());
        rmdir(directory_.c_str());
    }
    void resize(off_t bytes) {
        const auto file = *base::open_file(options_.path, O_RDWR | O_CREAT, 0600);
        EXPECT_EQ(ftruncate(file.get(), bytes), 0);
    }
    std::string directory_ = ::testing::TempDir() + "/block_XXXXXX";
    BlockOptions options_;
};

TEST(BlockOptions, ReadAllThereIs) {
    EXPECT_EQ(parse_block_options("/a b"), (BlockOptions{.path = "/a b"}));
    EXPECT_EQ(parse_block_options("/d,ro,writethru,discard,sectorsize=4096/8192"),
              (BlockOptions{.path = "/d",
                            .read_only = true,
                            .write_through = true,
                            .discard = true,
                            .logical_sector = 4096,
                            .physical_sector = 8192}));
    EXPECT_EQ(parse_block_options("/d,writethru,writeback,sectorsize=512"),
              (BlockOptions{.path = "/d", .physical_sector = 512}));
    EXPECT_EQ(parse_block_options("/d,nocache,no_bst_block,range=8/16,aio=threads,serial=a b"),
              (BlockOptions{.path = "/d",
                            .direct = true,
                            .range_start = 4096,
                            .range_bytes = 8192,
                            .aio = BlockAio::threads,
                            .serial = "a b"}));
    EXPECT_EQ(
        parse_block_options("nodisk,discard=8:2:1,aio=io_uring,pinned,bps=10M/1G,iops=5000"),
        (BlockOptions{
            .discard = true,
            .discard_sectors_max = 8,
            .discard_segments_max = 2,
            .discard_alignment = 1,
            .aio = BlockAio::io_uring,
            .pinned = true,
            .limit = {.bytes_per_s = 10 << 20, .operations_per_s = 5000, .bytes_burst = 1 << 30}}));
}

TEST(BlockOptions, MapQueuesToWorkersAndWorkersToProcessors) {
    using Workers = std::vector<std::vector<unsigned>>;
    EXPECT_EQ(parse_block_options("iothread,/d")->workers, Workers{{}});
    EXPECT_EQ(parse_block_options("iothread=3,mq=4,/d"),
              (BlockOptions{.path = "/d", .queues = 4, .workers = {{}, {}, {}}}));
    EXPECT_EQ(parse_block_options("mq=2,iothread=3@0:1/2,/d")->workers, (Workers{{0, 1}, {2}, {}}));
    // What looks like a word but is none is a path.
    EXPECT_EQ(parse_block_options("iothreads.img")->path, "iothreads.img");
    for (const char* text : {"iothread=0", "iothread=41", "iothread=", "iothread=2@",
                             "iothread=1@0/1", "iothread=2@0/", "iothread=2@0:", "iothread=2@/1",
                             "iothread=2@x", "iothread=1@5000", "mq=0", "mq=65", "mq=", "mq=1x"}) {
        EXPECT_FALSE(parse_block_options(std::string(text) + ",/d")) << text;
    }
    EXPECT_FALSE(parse_block_options("mq=2"));
    EXPECT_FALSE(parse_block_options("/d,mq=2"));
}

TEST(BlockOptions, NameWhatIsWrong) {
    for (const char* text : {"",
                             ",ro",
                             "/d,",
                             "/d,rw",
                             "/d,sectorsize=",
                             "/d,sectorsize=0",
                             "/d,sectorsize=513",
                             "/d,sectorsize=8192",
                             "/d,sectorsize=4096/512",
                             "/d,sectorsize=512/",
                             "/d,sectorsize=-512",
                             "/d,ro=1",
                             "/d,range=1",
                             "/d,range=0/0",
                             "/d,range=/1",
                             "/d,range=1/99999999999999999999",
                             "/d,discard=1:2",
                             "/d,discard=0:1:1",
                             "/d,discard=",
                             "/d,aio=mmap",
                             "/d,pinned,aio=threads",
                             "/d,pinned=1",
                             "/d,serial=",
                             "/d,serial=123456789012345678901",
                             "/d,bps=0",
                             "/d,bps=1/",
                             "/d,iops=1T",
                             "/d,bps=99999999999999999999G"}) {
        EXPECT_FALSE(parse_block_options(text)) << text;
    }
    EXPECT_THAT(parse_block_options("/d,nocash").error().message, HasSubstr("'nocash'"));
}

TEST_F(BlockStoreTest, ReadsBackWhatWasWrittenAcrossManySegments) {
    auto store = *FileBlockStore::open(options_);
    EXPECT_EQ(store->size(), 1U << 20);
    std::vector<std::byte> bytes(150 * 512);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::byte>(i * 7 >> 3);
    }
    std::vector<iovec> segments;
    for (std::size_t at = 0; at < bytes.size(); at += 512) {
        segments.push_back({.iov_base = bytes.data() + at, .iov_len = 512});
    }
    ASSERT_TRUE(store->write(segments, 4096));
    ASSERT_TRUE(store->flush());
    std::vector<std::byte> back(bytes.size());
    const iovec whole{.iov_base = back.data(), .iov_len = back.size()};
    ASSERT_TRUE(store->read(std::span(&whole, 1), 4096));
    EXPECT_EQ(back, bytes);
    ASSERT_TRUE(store->write_zeroes(4096, 512, false));
    ASSERT_TRUE(store->write_zeroes(4096 + 512, 512, true));
    ASSERT_TRUE(store->read(std::span(&whole, 1), 4096));
    EXPECT_TRUE(std::all_of(back.begin(), back.begin() + 1024,
                            [](std::byte byte) { return byte == std::byte{0}; }));
    EXPECT_EQ(back[1024], bytes[1024]);
}

TEST_F(BlockStoreTest, ShortReadsAreErrors) {
    auto store = *FileBlockStore::open(options_);
    resize(512);  // behind the store's back
    std::array<std::byte, 1024> bytes{};
    const iovec whole{.iov_base = bytes.data(), .iov_len = bytes.size()};
    EXPECT_FALSE(store->read(std::span(&whole, 1), 0));
}

TEST_F(BlockStoreTest, LocksOutASecondWriterButNotReadersOfOneImage) {
    {
        auto store = *FileBlockStore::open(options_);
        const auto second = FileBlockStore::open(options_);
        ASSERT_FALSE(second);
        EXPECT_THAT(second.error().message, HasSubstr("in use"));
    }
    options_.read_only = true;
    auto first = FileBlockStore::open(options_);
    auto second = FileBlockStore::open(options_);
    EXPECT_TRUE(first && second);
    options_.read_only = false;
    EXPECT_FALSE(FileBlockStore::open(options_));
}

TEST_F(BlockStoreTest, ARangeIsADiskOfItsOwn) {
    options_.range_start = 4096;
    options_.range_bytes = 8192;
    auto store = *FileBlockStore::open(options_);
    EXPECT_EQ(store->size(), 8192U);
    std::array<char, 512> bytes{"here"};
    const iovec whole{.iov_base = bytes.data(), .iov_len = bytes.size()};
    ASSERT_TRUE(store->write(std::span(&whole, 1), 512));
    ASSERT_TRUE(store->write_zeroes(1024, 512, false));
    store.reset();
    const auto file = *base::open_file(options_.path, O_RDONLY);
    EXPECT_EQ(pread(file.get(), bytes.data(), 4, 4096 + 512), 4);
    EXPECT_STREQ(bytes.data(), "here");
    options_.range_bytes = 1 << 20;
    EXPECT_THAT(FileBlockStore::open(options_).error().message, HasSubstr("range"));
}

TEST_F(BlockStoreTest, Class17_AnImageThatLooksLikeAnotherFormatStaysRaw) {
    std::array<char, 512> bytes{"QFI\xfb"};
    const iovec whole{.iov_base = bytes.data(), .iov_len = bytes.size()};
    {
        auto store = *FileBlockStore::open(options_);
        ASSERT_TRUE(store->write(std::span(&whole, 1), 0));
    }
    auto store = *FileBlockStore::open(options_);
    EXPECT_EQ(store->size(), 1U << 20);
    bytes = {};
    ASSERT_TRUE(store->read(std::span(&whole, 1), 0));
    EXPECT_STREQ(bytes.data(), "QFI\xfb");
}

TEST_F(BlockStoreTest, RefusesWhatIsNoDisk) {
    resize(0);
    EXPECT_FALSE(FileBlockStore::open(options_));
    resize(1000);
    EXPECT_FALSE(FileBlockStore::open(options_));
    EXPECT_FALSE(FileBlockStore::open({.path = directory_, .read_only = true}));
    EXPECT_FALSE(FileBlockStore::open({.path = directory_ + "/none"}));
}

}  // namespace
}  // namespace cupule::backend
