#include "base/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>

namespace cupule::base {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(TextTest, SplitsIntoPartsEmptyOnesIncluded) {
    EXPECT_THAT(split("a,,b,", ','), ElementsAre("a", "", "b", ""));
    EXPECT_THAT(split("", ','), ElementsAre(""));
    EXPECT_THAT(split_any("5:1.0/x", ":/."), ElementsAre("5", "1", "0", "x"));
}

TEST(TextTest, CutsAtTheFirstSeparatorOnly) {
    EXPECT_THAT(cut("key=a=b", '='), Pair("key", "a=b"));
    EXPECT_THAT(cut("key", '='), Pair("key", ""));
    EXPECT_THAT(cut("=b", '='), Pair("", "b"));
}

TEST(TextTest, GivesWhatStandsBehindTheLastSeparator) {
    EXPECT_EQ(after_last("/dev/vfio/7", '/'), "7");
    EXPECT_EQ(after_last("7", '/'), "7");
    EXPECT_EQ(after_last("dir/", '/'), "");
}

TEST(TextTest, TakesWordAfterWord) {
    std::string_view text = "tap=t0,,mtu=9000";
    EXPECT_EQ(take_word(text, ','), "tap=t0");
    EXPECT_EQ(take_word(text, ','), "");
    EXPECT_EQ(take_word(text, ','), "mtu=9000");
    EXPECT_TRUE(text.empty());
    EXPECT_EQ(take_word(text, ','), "");
}

TEST(TextTest, ReadsAWholeNumberAndNothingElse) {
    EXPECT_EQ(to_number<std::uint16_t>("65535"), 65535);
    EXPECT_EQ(to_number<std::uint8_t>("ff", 16), 255);
    for (const std::string_view text : {"", "65536", "-1", "+1", " 1", "1 ", "0x10", "1a"}) {
        EXPECT_EQ(to_number<std::uint16_t>(text), std::nullopt) << text;
    }
}

TEST(TextTest, LeavesTheTextAloneWhereNoNumberBegins) {
    std::string_view text = "17-x";
    EXPECT_EQ(take_number<unsigned>(text), 17U);
    EXPECT_EQ(text, "-x");
    EXPECT_EQ(take_number<unsigned>(text), std::nullopt);
    EXPECT_EQ(text, "-x");
    text = "99999999999";
    EXPECT_EQ(take_number<std::uint32_t>(text), std::nullopt);
    EXPECT_EQ(text, "99999999999");
}

TEST(TextTest, LowersAndJoins) {
    EXPECT_EQ(to_lower("MiB-Ä"), "mib-Ä");
    EXPECT_EQ(join({"a", "b", "c"}), "a, b, c");
    EXPECT_EQ(join({}), "");
}

}  // namespace
}  // namespace cupule::base
