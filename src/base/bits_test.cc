#include "base/bits.h"

#include <gtest/gtest.h>

namespace cupule::base {
namespace {

TEST(Bits, MaskCoversZeroToSixtyFour) {
    EXPECT_EQ(mask(0), 0U);
    EXPECT_EQ(mask(1), 1U);
    EXPECT_EQ(mask(63), 0x7FFF'FFFF'FFFF'FFFFU);
    EXPECT_EQ(mask(64), ~std::uint64_t{0});
}

TEST(Bits, ContainsRejectsRangesThatWrap) {
    EXPECT_TRUE(contains(0x1000, 0x1000, 0x1000, 0x1000));
    EXPECT_FALSE(contains(0x1000, 0x1000, 0x1FFF, 2));
    EXPECT_FALSE(contains(0x1000, 0x1000, 0x1800, ~std::uint64_t{0}));
    EXPECT_FALSE(contains(0x1000, 0x1000, 0xFFF, 1));
    EXPECT_TRUE(contains(0, ~std::uint64_t{0}, ~std::uint64_t{0} - 1, 1));
}

TEST(Bits, LanesReadAndWriteTheirBytesOnly) {
    const std::uint32_t value = 0x4433'2211;
    EXPECT_EQ(read_lane(value, 1, 2), 0x3322U);
    EXPECT_EQ(read_lane(value, 3, 4), 0x44U);
    EXPECT_EQ(read_lane(value, 4, 1), 0U);
    EXPECT_EQ(write_lane(value, 1, 2, 0xAABB'CCDDU), 0x44CC'DD11U);
    EXPECT_EQ(write_lane(value, 3, 4, 0x55U), 0x5533'2211U);
    EXPECT_EQ(write_lane(value, 9, 1, 0x55U), value);
}

}  // namespace
}  // namespace cupule::base
