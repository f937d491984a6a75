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
}

TEST(BlockOptions, NameWhatIsWrong) {
    for (const char* text : {"", ",ro", "/d,", "/d,rw", "/d,sectorsize=", "/d,sectorsize=0",
                             "/d,sectorsize=513", "/d,sectorsize=8192", "/d,sectorsize=4096/512",
                             "/d,sectorsize=512/", "/d,sectorsize=-512", "/d,ro=1"}) {
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
