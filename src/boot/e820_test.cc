#include "boot/e820.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cupule::boot {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint64_t mib = 1 << 20;

TEST(E820Map, SortsEntriesAndJoinsNeighboursOfOneType) {
    E820Map map;
    ASSERT_TRUE(map.add({16 * mib, mib, E820Type::ram}).has_value());
    ASSERT_TRUE(map.add({0, 0xA0000, E820Type::ram}).has_value());
    ASSERT_TRUE(map.add({mib, 7 * mib, E820Type::ram}).has_value());
    ASSERT_TRUE(map.add({8 * mib, 8 * mib, E820Type::ram}).has_value());
    ASSERT_TRUE(map.add({17 * mib, mib, E820Type::reserved}).has_value());
    EXPECT_THAT(map.entries(), ElementsAre(E820Entry{0, 0xA0000, E820Type::ram},
                                           E820Entry{mib, 16 * mib, E820Type::ram},
                                           E820Entry{17 * mib, mib, E820Type::reserved}));
    EXPECT_EQ(map.ram_size(), 0xA0000 + 16 * mib);
}

TEST(E820Map, RefusesOverlapByOneByteEmptyAndWrappingRanges) {
    E820Map map;
    ASSERT_TRUE(map.add({mib, mib, E820Type::ram}).has_value());
    const auto overlap = map.add({2 * mib - 1, mib, E820Type::reserved});
    ASSERT_FALSE(overlap.has_value());
    EXPECT_THAT(overlap.error().message,
                HasSubstr("reserved 0x1fffff-0x2fffff overlaps RAM 0x100000-0x200000"));
    EXPECT_TRUE(map.add({2 * mib, mib, E820Type::reserved}).has_value());
    EXPECT_FALSE(map.add({4 * mib, 0, E820Type::ram}).has_value());
    EXPECT_FALSE(map.add({~std::uint64_t{0}, 2, E820Type::ram}).has_value());
    EXPECT_FALSE(map.carve({~std::uint64_t{0}, 2, E820Type::ram}).has_value());
    EXPECT_EQ(map.entries().size(), 2U);
}

TEST(E820Map, CarvesAReservedPieceOutOfRam) {
    E820Map map;
    ASSERT_TRUE(map.add({0, 16 * mib, E820Type::ram}).has_value());
    ASSERT_TRUE(map.carve({4 * mib, mib, E820Type::reserved}).has_value());
    ASSERT_TRUE(map.carve({15 * mib, 2 * mib, E820Type::acpi_nvs}).has_value());
    EXPECT_THAT(map.entries(), ElementsAre(E820Entry{0, 4 * mib, E820Type::ram},
                                           E820Entry{4 * mib, mib, E820Type::reserved},
                                           E820Entry{5 * mib, 10 * mib, E820Type::ram},
                                           E820Entry{15 * mib, 2 * mib, E820Type::acpi_nvs}));
}

TEST(E820Map, AnswersForRam) {
    E820Map map;
    ASSERT_TRUE(map.add({mib, mib, E820Type::ram}).has_value());
    ASSERT_TRUE(map.add({2 * mib, mib, E820Type::reserved}).has_value());
    EXPECT_TRUE(map.is_ram(mib, mib));
    EXPECT_FALSE(map.is_ram(mib, mib + 1));
    EXPECT_FALSE(map.is_ram(2 * mib, 1));
    EXPECT_FALSE(map.is_ram(mib, ~std::uint64_t{0}));
    EXPECT_EQ(map.ram_end_from(mib + 5), 2 * mib);
    EXPECT_EQ(map.ram_end_from(2 * mib), 2 * mib);
}

}  // namespace
}  // namespace cupule::boot
