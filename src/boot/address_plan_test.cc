#include "boot/address_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boot/boot_layout.h"

namespace cupule::boot {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t mib = 1 << 20;

E820Map two_pieces() {
    E820Map map;
    EXPECT_TRUE(map.add({0, 0xA0000, E820Type::ram}).has_value());
    EXPECT_TRUE(map.add({mib, 63 * mib, E820Type::ram}).has_value());
    EXPECT_TRUE(map.add({four_gibibytes, 16 * mib, E820Type::ram}).has_value());
    return map;
}

TEST(AddressPlan, RefusesToLayAnythingOverTheBootData) {
    const E820Map map = two_pieces();
    AddressPlan plan(map, 64 * mib);
    EXPECT_TRUE(plan.claim(0x8'0000, 0x1'0000, "low").has_value());
    const auto over = plan.claim(boot_data_address + boot_data_size - 1, 1, "a segment");
    ASSERT_FALSE(over.has_value());
    EXPECT_THAT(over.error().message, HasSubstr("a segment at 0x9bfff-0x9c000 overlaps"));
    EXPECT_THAT(over.error().message, HasSubstr("boot data"));
    EXPECT_TRUE(plan.claim(boot_data_address + boot_data_size, 1, "after").has_value());
}

TEST(AddressPlan, RefusesWhatIsNotRamOrWraps) {
    const E820Map map = two_pieces();
    AddressPlan plan(map, 64 * mib);
    EXPECT_FALSE(plan.claim(0x9'F000, 0x2000, "over the hole").has_value());
    EXPECT_FALSE(plan.claim(63 * mib, mib + 1, "past the end").has_value());
    const auto wraps = plan.claim(~std::uint64_t{0} - 1, 3, "x");
    ASSERT_FALSE(wraps.has_value());
    EXPECT_THAT(wraps.error().message, HasSubstr("2^64"));
    EXPECT_TRUE(plan.claim(0, 0, "nothing").has_value());
}

TEST(AddressPlan, FindsTheHighestPlaceBelowTheLimitAndBelowWhatIsTaken) {
    const E820Map map = two_pieces();
    AddressPlan plan(map, 64 * mib);
    EXPECT_EQ(plan.find_highest(0x1001, 64 * mib), 64 * mib - 0x2000);
    EXPECT_EQ(plan.find_highest(0x1001, ~std::uint64_t{0}), four_gibibytes + 16 * mib - 0x2000);
    ASSERT_TRUE(plan.claim(60 * mib, 4 * mib, "top").has_value());
    EXPECT_EQ(plan.find_highest(mib, 64 * mib), 59 * mib);
    EXPECT_EQ(plan.find_highest(0x1000, mib), 0x9'F000U);
    EXPECT_EQ(plan.find_highest(0x5000, mib), 0x8'B000U);
    EXPECT_EQ(plan.find_highest(62 * mib, 64 * mib), std::nullopt);
}

TEST(AddressPlan, FindsTheLowestAlignedPlacePastWhatIsTaken) {
    const E820Map map = two_pieces();
    AddressPlan plan(map, 32 * mib);
    EXPECT_EQ(plan.find_lowest(mib, mib, 2 * mib), 2 * mib);
    ASSERT_TRUE(plan.claim(3 * mib, mib, "x").has_value());
    EXPECT_EQ(plan.find_lowest(2 * mib, mib, 2 * mib), 4 * mib);
    EXPECT_EQ(plan.find_lowest(28 * mib, 4 * mib, mib), 4 * mib);
    EXPECT_EQ(plan.find_lowest(28 * mib + 1, 4 * mib, mib), std::nullopt);
    EXPECT_EQ(plan.find_lowest(1, ~std::uint64_t{0}, mib), std::nullopt);
}

}  // namespace
}  // namespace cupule::boot
