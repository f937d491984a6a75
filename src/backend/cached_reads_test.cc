#include "backend/cached_reads.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>

#include "base/file_descriptor.h"

namespace cupule::backend {
namespace {

/// What was just written is in the page cache.
class CachedReadsTest : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string path = ::testing::TempDir() + "/cached_XXXXXX";
        file_ = base::FileDescriptor(mkostemp(path.data(), O_CLOEXEC));
        ASSERT_TRUE(file_);
        unlink(path.c_str());
        const std::string text = "0123456789";
        ASSERT_EQ(write(file_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
        char byte = 0;
        const iovec one{.iov_base = &byte, .iov_len = 1};
        if (preadv2(file_.get(), &one, 1, 0, RWF_NOWAIT) < 0 && errno == EOPNOTSUPP) {
            GTEST_SKIP() << "this file system always waits";
        }
    }

    base::FileDescriptor file_;
};

TEST_F(CachedReadsTest, FillsTheSegmentsInOrderWithWhatIsThere) {
    CachedReads reads(file_.get());
    std::string first(3, '.');
    std::string second(4, '.');
    const std::array<iovec, 2> to{{{.iov_base = first.data(), .iov_len = first.size()},
                                   {.iov_base = second.data(), .iov_len = second.size()}}};
    EXPECT_EQ(reads.read(to, 2), 7U);
    EXPECT_EQ(first + second, "2345678");
    EXPECT_EQ(reads.read(to, 5), 5U) << "as far as the file goes";
    EXPECT_EQ(first + second, "5678978");
}

TEST_F(CachedReadsTest, TriesLessAndLessOftenWhereItFindsNothing) {
    CachedReads reads(file_.get());
    std::array<char, 4> bytes{};
    const iovec to{.iov_base = bytes.data(), .iov_len = bytes.size()};
    // Past the end there is nothing: a try that fails, then pauses of 1, 3, 7... reads.
    unsigned until_try = 0;
    EXPECT_EQ(reads.read({&to, 1}, 100), 0U);
    EXPECT_EQ(reads.read({&to, 1}, 0), 0U) << "left out";
    EXPECT_EQ(reads.read({&to, 1}, 100), 0U);
    while (reads.read({&to, 1}, 0) == 0) {
        ASSERT_LT(++until_try, 64U);
    }
    EXPECT_EQ(until_try, 3U);
    EXPECT_EQ(reads.read({&to, 1}, 0), 4U) << "what it finds ends the pauses";
}

TEST(CachedReadsOfNothing, ReadsNothingWithoutAFile) {
    CachedReads reads(-1);
    std::array<char, 4> bytes{};
    const iovec to{.iov_base = bytes.data(), .iov_len = bytes.size()};
    EXPECT_EQ(reads.read({&to, 1}, 0), 0U);
}

}  // namespace
}  // namespace cupule::backend
