#include "memory/guest_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <string>

namespace cupule::memory {
namespace {

constexpr std::uint64_t four_gib = std::uint64_t{4} << 30;

std::unique_ptr<GuestMemory> two_pieces() {
    const RamLayout layout{.pieces = {{{0}, 0x10000}, {{four_gib}, 0x4000}}};
    return *GuestMemory::create(layout);
}

TEST(GuestMemory, StoresAndLoadsInBothPieces) {
    const auto memory = two_pieces();
    EXPECT_TRUE(memory->store<std::uint32_t>({0xFFFC}, 0x1122'3344));
    EXPECT_EQ(memory->load<std::uint32_t>({0xFFFC}), 0x1122'3344U);
    EXPECT_TRUE(memory->store<std::uint64_t>({four_gib}, 7));
    EXPECT_EQ(memory->load<std::uint64_t>({four_gib}), 7U);
}

TEST(GuestMemory, RefusesRangesThatLeaveRamOrWrap) {
    const auto memory = two_pieces();
    EXPECT_FALSE(memory->load<std::uint32_t>({0xFFFD}).has_value());
    EXPECT_FALSE(memory->store<std::uint8_t>({0x10000}, 1));
    EXPECT_FALSE(memory->load<std::uint64_t>({~std::uint64_t{0} - 3}).has_value());
    EXPECT_TRUE(memory->span({four_gib + 0x3FFF}, 2).empty());
    EXPECT_FALSE(memory->fill({0xFFFF}, std::byte{1}, ~std::uint64_t{0}));
    EXPECT_EQ(memory->load<std::uint8_t>({0xFFFF}), 0U);
}

TEST(GuestMemory, NothingIsReadAndWrittenAnywhere) {
    const auto memory = two_pieces();
    EXPECT_TRUE(memory->read({0}, {}));
    EXPECT_TRUE(memory->write({0}, {}));
    EXPECT_TRUE(memory->read({~std::uint64_t{0}}, {}));
    EXPECT_TRUE(memory->fill({0x10000}, std::byte{1}, 0));
}

TEST(GuestMemory, IsSparse) {
    const RamLayout layout{.pieces = {{{0}, std::uint64_t{64} << 30}}};
    const auto memory = GuestMemory::create(layout);
    ASSERT_TRUE(memory.has_value()) << memory.error().message;
    EXPECT_TRUE((*memory)->store<std::uint8_t>({(std::uint64_t{64} << 30) - 1}, 1));
}

TEST(GuestMemory, DiscardedPagesReadZero) {
    const auto memory = two_pieces();
    EXPECT_TRUE(memory->store<std::uint32_t>({0x1000}, 5));
    ASSERT_TRUE(memory->discard_all().has_value());
    EXPECT_EQ(memory->load<std::uint32_t>({0x1000}), 0U);
}

TEST(GuestMemory, KeptPagesStayAndAreClearedByAReset) {
    const auto memory = two_pieces();
    EXPECT_TRUE(memory->store<std::uint32_t>({0x1000}, 5));
    EXPECT_FALSE(memory->keeps_pages());
    {
        GuestMemory::KeptPages first = memory->keep_pages();
        GuestMemory::KeptPages second = memory->keep_pages();
        second = std::move(first);
        EXPECT_TRUE(memory->keeps_pages());
        ASSERT_TRUE(memory->discard(memory->span({0x1000}, 0x1000)).has_value());
        EXPECT_EQ(memory->load<std::uint32_t>({0x1000}), 5U);
        ASSERT_TRUE(memory->discard_all().has_value());
        EXPECT_EQ(memory->load<std::uint32_t>({0x1000}), 0U);
        EXPECT_TRUE(memory->store<std::uint32_t>({0x1000}, 6));
    }
    EXPECT_FALSE(memory->keeps_pages());
    ASSERT_TRUE(memory->discard(memory->span({0x1000}, 0x1000)).has_value());
    EXPECT_EQ(memory->load<std::uint32_t>({0x1000}), 0U);
}

TEST(GuestMemory, LiesInHugePagesAsTheGuestsAddressesDo) {
    const std::uint64_t base = four_gib + 0x1000;
    const auto memory = *GuestMemory::create({.pieces = {{{base}, 0x4000}}});
    const auto host = reinterpret_cast<std::uintptr_t>(memory->regions()[0].host);
    EXPECT_EQ(host % (2 << 20), base % (2 << 20));
}

struct SharedRam : ::testing::TestWithParam<bool> {
    std::unique_ptr<GuestMemory> memory = *GuestMemory::create(
        {.pieces = {{{0}, 0x10000}, {{four_gib}, 0x4000}}, .shared = GetParam()});
};

TEST_P(SharedRam, IsSeenInTheMemfdWhereItsRegionsSay) {
    std::byte* const before = memory->regions()[1].host;
    const auto fd = memory->share();
    ASSERT_TRUE(fd.has_value());
    EXPECT_EQ(memory->regions()[1].host, before);
    EXPECT_TRUE(memory->store<std::uint32_t>({four_gib + 8}, 0x1122'3344));
    std::uint32_t seen = 0;
    const off_t at = static_cast<off_t>(memory->regions()[1].file_offset) + 8;
    ASSERT_EQ(pread(*fd, &seen, sizeof seen, at), static_cast<ssize_t>(sizeof seen));
    EXPECT_EQ(seen, 0x1122'3344U);
    EXPECT_EQ(memory->share(), *fd);
}

TEST_P(SharedRam, DiscardedPagesReadZeroInTheMemfdToo) {
    const auto fd = memory->share();
    ASSERT_TRUE(fd.has_value());
    EXPECT_TRUE(memory->store<std::uint32_t>({0x1000}, 5));
    ASSERT_TRUE(memory->discard_all().has_value());
    std::uint32_t seen = 1;
    ASSERT_EQ(pread(*fd, &seen, sizeof seen, 0x1000), static_cast<ssize_t>(sizeof seen));
    EXPECT_EQ(seen, 0U);
    EXPECT_EQ(memory->load<std::uint32_t>({0x1000}), 0U);
}

TEST_P(SharedRam, KeptPagesAreClearedInPlaceAndNoneIsMade) {
    const auto fd = memory->share();
    ASSERT_TRUE(fd.has_value());
    const auto kept = memory->keep_pages();
    EXPECT_EQ(memory->share(), *fd);
    EXPECT_TRUE(memory->store<std::uint32_t>({0x1000}, 5));
    EXPECT_TRUE(memory->store<std::uint32_t>({four_gib + 0x3FFC}, 6));
    struct stat before {};
    ASSERT_EQ(fstat(*fd, &before), 0);
    ASSERT_TRUE(memory->discard(memory->span({0x1000}, 0x1000)).has_value());
    EXPECT_EQ(memory->load<std::uint32_t>({0x1000}), 5U);
    ASSERT_TRUE(memory->discard_all().has_value());
    EXPECT_EQ(memory->load<std::uint32_t>({0x1000}), 0U);
    EXPECT_EQ(memory->load<std::uint32_t>({four_gib + 0x3FFC}), 0U);
    struct stat after {};
    ASSERT_EQ(fstat(*fd, &after), 0);
    EXPECT_EQ(before.st_blocks, after.st_blocks);
}

INSTANTIATE_TEST_SUITE_P(FromTheStartOrLater, SharedRam, ::testing::Bool());

// Files shown as RAM.

struct ShownFile {
    explicit ShownFile(std::size_t size) : file(memfd_create("image", MFD_CLOEXEC)) {
        write_at(0, std::string(size, 'f'));
    }
    void write_at(off_t offset, const std::string& text) const {
        EXPECT_EQ(pwrite(file.get(), text.data(), text.size(), offset),
                  static_cast<ssize_t>(text.size()));
    }
    char at(off_t offset) const {
        char value = 0;
        EXPECT_EQ(pread(file.get(), &value, 1, offset), 1);
        return value;
    }
    base::FileDescriptor file;
    std::unique_ptr<GuestMemory> memory =
        *GuestMemory::create({.pieces = {{{0}, 0x10000}}, .huge_pages = HugePages::never});
};

TEST(ShownFile, IsReadThereAndWrittenForTheGuestAlone) {
    ShownFile image(0x3000);
    ASSERT_TRUE(image.memory->show_file({0x4000}, image.file.get(), 0x1000, 0x2000));
    EXPECT_EQ(image.memory->load<char>({0x3FFF}), '\0');
    EXPECT_EQ(image.memory->load<char>({0x4000}), 'f');
    EXPECT_EQ(image.memory->load<char>({0x5FFF}), 'f');
    EXPECT_EQ(image.memory->load<char>({0x6000}), '\0');
    EXPECT_TRUE(image.memory->store({0x4000}, 'g'));
    EXPECT_EQ(image.memory->load<char>({0x4000}), 'g');
    EXPECT_EQ(image.at(0x1000), 'f');
}

TEST(ShownFile, CanChangeOnceTheGuestHasItsOwnCopy) {
    ShownFile image(0x2000);
    ASSERT_TRUE(image.memory->show_file({0}, image.file.get(), 0, 0x2000));
    EXPECT_TRUE(image.memory->store({0x1000}, 'g'));
    ASSERT_TRUE(image.memory->copy_shown().has_value());
    ASSERT_EQ(ftruncate(image.file.get(), 0), 0);
    EXPECT_EQ(image.memory->load<char>({0}), 'f');
    EXPECT_EQ(image.memory->load<char>({0x1000}), 'g');
}

TEST(ShownFile, PreparedCopiesHaveWhatTheGuestWroteBeforeAndAfter) {
    ShownFile image(0x4000);
    ASSERT_TRUE(image.memory->show_file({0x1000}, image.file.get(), 0, 0x4000));
    EXPECT_TRUE(image.memory->store({0x1008}, 'g'));
    image.memory->prepare_copies();
    EXPECT_TRUE(image.memory->store({0x3010}, 'h'));
    EXPECT_EQ(image.memory->load<char>({0x2000}), 'f');
    std::byte* const host = image.memory->regions()[0].host;
    ASSERT_TRUE(image.memory->copy_shown().has_value());
    EXPECT_EQ(image.memory->regions()[0].host, host);
    image.write_at(0, std::string(0x4000, 'x'));
    EXPECT_EQ(image.memory->load<char>({0x1000}), 'f');
    EXPECT_EQ(image.memory->load<char>({0x1008}), 'g');
    EXPECT_EQ(image.memory->load<char>({0x2000}), 'f');
    EXPECT_EQ(image.memory->load<char>({0x3010}), 'h');
    EXPECT_EQ(image.memory->load<char>({0x4FFF}), 'f');
}

TEST(ShownFile, PreparedCopiesAreForgottenByADiscard) {
    const ShownFile image(0x2000);
    ASSERT_TRUE(image.memory->show_file({0x1000}, image.file.get(), 0, 0x2000));
    image.memory->prepare_copies();
    ASSERT_TRUE(image.memory->discard_all().has_value());
    EXPECT_EQ(image.memory->load<char>({0x1000}), '\0');
    EXPECT_TRUE(image.memory->copy_shown().has_value());
    EXPECT_EQ(image.memory->load<char>({0x1000}), '\0');
}

TEST(ShownFile, IsGoneAfterADiscardAndCanComeBack) {
    ShownFile image(0x1000);
    ASSERT_TRUE(image.memory->show_file({0x1000}, image.file.get(), 0, 0x1000));
    ASSERT_TRUE(image.memory->discard_all().has_value());
    EXPECT_EQ(image.memory->load<char>({0x1000}), '\0');
    EXPECT_TRUE(image.memory->store({0x1000}, 'g'));
    ASSERT_TRUE(image.memory->discard_all().has_value());
    EXPECT_EQ(image.memory->load<char>({0x1000}), '\0');
    ASSERT_TRUE(image.memory->show_file({0x1000}, image.file.get(), 0, 0x1000));
    EXPECT_EQ(image.memory->load<char>({0x1000}), 'f');
}

TEST(ShownFile, IsRefusedWhereRamIsSharedOrKeptOrThereIsNone) {
    ShownFile image(0x2000);
    EXPECT_FALSE(image.memory->show_file({0xF000}, image.file.get(), 0, 0x2000));
    EXPECT_FALSE(image.memory->show_file({0}, -1, 0, 0x1000));
    {
        const auto kept = image.memory->keep_pages();
        EXPECT_FALSE(image.memory->show_file({0}, image.file.get(), 0, 0x1000));
    }
    ASSERT_TRUE(image.memory->share().has_value());
    EXPECT_FALSE(image.memory->show_file({0}, image.file.get(), 0, 0x1000));
    EXPECT_EQ(image.memory->load<char>({0}), '\0');
}

TEST(ReceivedFile, EndsWithTheFileAndIsEmptyOutsideRam) {
    const ShownFile image(0x1800);
    EXPECT_EQ(image.memory->receive_file({0x123}, image.file.get(), 0x1000, 0x1000), 0x800U);
    EXPECT_EQ(image.memory->load<char>({0x123}), 'f');
    EXPECT_EQ(image.memory->load<char>({0x123 + 0x800}), '\0');
    EXPECT_EQ(image.memory->receive_file({0xFFFF}, image.file.get(), 0, 2), 0U);
}

}  // namespace
}  // namespace cupule::memory
