#include "boot/image_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>

#include "boot/boot_layout.h"
#include "boot/testing/image_builder.h"
#include "boot/testing/temporary_file.h"

namespace cupule::boot {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFile;
using testing::TestGuest;

std::string open_error(const std::string& path, std::uint64_t size_max = 100) {
    const auto image = ImageFile::open(path, size_max);
    return image ? "no error" : image.error().message;
}

TEST(ImageFile, NamesPathAndReasonOfAFileItCannotTake) {
    const TemporaryFile empty("");
    const TemporaryFile large(std::string(101, 'x'));
    EXPECT_THAT(open_error(empty.path()), HasSubstr("'" + empty.path() + "' is empty"));
    EXPECT_THAT(open_error(large.path()), HasSubstr("101 bytes, more than the 100 allowed"));
    EXPECT_EQ(open_error(large.path(), 101), "no error");
    EXPECT_THAT(open_error("/nowhere/at all"), HasSubstr("'/nowhere/at all': No such file"));
    EXPECT_THAT(open_error("/tmp"), HasSubstr("'/tmp' is not a regular file"));
    EXPECT_THAT(open_error("/dev/zero"), HasSubstr("not a regular file"));
}

TEST(ImageFile, DoesNotHangOnAFifo) {
    const std::string path = ::testing::TempDir() + "cupule_image_file_fifo";
    std::filesystem::remove(path);
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    EXPECT_THAT(open_error(path), HasSubstr("not a regular file"));
    std::filesystem::remove(path);
}

TEST(ImageFile, ReadsOnlyWholeRangesInside) {
    const TemporaryFile file("abcdef");
    const auto image = ImageFile::open(file.path(), 100);
    ASSERT_TRUE(image.has_value());
    EXPECT_EQ(image->size(), 6U);
    EXPECT_EQ(image->load<char>(5), 'f');
    EXPECT_FALSE(image->load<char>(6).has_value());
    EXPECT_FALSE(image->load<std::uint16_t>(5).has_value());
    EXPECT_FALSE(image->load<std::uint16_t>(~std::uint64_t{0}).has_value());
}

TEST(ImageFile, CopiesIntoGuestMemoryAcrossRegions) {
    const memory::RamLayout layout{.pieces = {{{0}, 0x1000}, {{0x1000}, 0x1000}}};
    const auto memory = memory::GuestMemory::create(layout);
    ASSERT_TRUE(memory.has_value());
    const TemporaryFile file("abcdef");
    const auto image = ImageFile::open(file.path(), 100);
    ASSERT_TRUE(image.has_value());
    ASSERT_TRUE(image->copy_to(**memory, {0xFFE}, 1, 5).has_value());
    EXPECT_EQ((*memory)->load<char>({0xFFE}), 'b');
    EXPECT_EQ((*memory)->load<char>({0x1002}), 'f');
    EXPECT_FALSE(image->copy_to(**memory, {0x1FFE}, 0, 6).has_value());
    EXPECT_FALSE(image->copy_to(**memory, {0}, 1, 6).has_value());
    EXPECT_FALSE(image->copy_to(**memory, {~std::uint64_t{0}}, 0, 2).has_value());
}

TEST(ImageFile, GivesAnErrorWhenTheFileShrinksUnderIt) {
    const TemporaryFile file(std::string(0x3000, 'x'));
    const auto image = ImageFile::open(file.path(), 0x10000);
    ASSERT_TRUE(image.has_value());
    EXPECT_TRUE(image->check_unchanged().has_value());
    ASSERT_EQ(truncate(file.path().c_str(), 0x1000), 0);
    const TestGuest guest;
    const auto copied = image->copy_to(*guest.memory, {0}, 0, 0x3000);
    ASSERT_FALSE(copied.has_value());
    EXPECT_THAT(copied.error().message, HasSubstr("now ends at offset 4096"));
    EXPECT_FALSE(image->load<char>(0x1000).has_value());
    EXPECT_FALSE(image->check_unchanged().has_value());
}

/// A held file of 0x25000 bytes, each page filled with its number, in guest RAM at 0x10000 from
/// offset 0x200 on.
class HeldFile : public ::testing::Test {
  protected:
    void SetUp() override {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGIO);
        pthread_sigmask(SIG_BLOCK, &set, nullptr);
        image_->hold();
        if (!image_->held()) {
            GTEST_SKIP() << "no lease on a file in " << ::testing::TempDir();
        }
        ASSERT_TRUE(image_->copy_to(*guest_.memory, {0x1'0200}, 0x200, 0x2'4C00).has_value());
    }
    static std::string numbered_pages() {
        std::string result;
        for (char page = 0; page < 0x25; ++page) {
            result += std::string(memory::page_size, static_cast<char>('A' + page));
        }
        return result;
    }
    char at(std::uint64_t address) const {
        return guest_.memory->load<char>({address}).value_or('?');
    }

    const TemporaryFile file_{numbered_pages()};
    base::Result<ImageFile> image_ = ImageFile::open(file_.path(), one_mebibyte);
    const TestGuest guest_;
};

TEST_F(HeldFile, IsWholeInGuestMemoryAndNothingBesideIt) {
    EXPECT_EQ(at(0x1'01FF), '\0');
    EXPECT_EQ(at(0x1'0200), 'A');
    EXPECT_EQ(at(0x1'1000), 'B');
    EXPECT_EQ(at(0x1'0000 + 0x2'4DFF), 'A' + 0x24);
    EXPECT_EQ(at(0x1'0000 + 0x2'4E00), '\0');
}

TEST_F(HeldFile, MakesAWriterWaitUntilTheGuestHasItsOwnCopy) {
    const int flags = O_WRONLY | O_NONBLOCK | O_CLOEXEC;
    EXPECT_EQ(open(file_.path().c_str(), flags), -1);
    EXPECT_EQ(errno, EWOULDBLOCK);
    ASSERT_TRUE(guest_.memory->copy_shown().has_value());
    image_->release();
    const base::FileDescriptor writer(open(file_.path().c_str(), flags));
    ASSERT_TRUE(writer);
    ASSERT_EQ(ftruncate(writer.get(), 0), 0);
    EXPECT_EQ(at(0x1'1000), 'B');
    EXPECT_EQ(at(0x3'3FFF), 'A' + 0x23);
}

TEST_F(HeldFile, CannotBeHeldWhileSomebodyWritesToIt) {
    image_->release();
    const base::FileDescriptor writer(open(file_.path().c_str(), O_WRONLY | O_CLOEXEC));
    image_->hold();
    EXPECT_FALSE(image_->held());
}

}  // namespace
}  // namespace cupule::boot
