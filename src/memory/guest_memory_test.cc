#include "memory/guest_memory.h"

#include <gtest/gtest.h>

#include <array>

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

}  // namespace
}  // namespace cupule::memory
