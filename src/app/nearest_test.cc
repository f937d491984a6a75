#include "app/nearest.h"

#include <gtest/gtest.h>

#include <array>

namespace cupule::app {
namespace {

TEST(Nearest, CountsInsertedRemovedReplacedAndSwappedLetters) {
    EXPECT_EQ(edit_distance("", "abc"), 3U);
    EXPECT_EQ(edit_distance("kernel", "kernal"), 1U);
    EXPECT_EQ(edit_distance("kernel", "kenrel"), 1U);
    EXPECT_EQ(edit_distance("kernel", "kernels"), 1U);
    EXPECT_EQ(edit_distance("kernel", "kernel"), 0U);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
}

TEST(Nearest, SuggestsNothingForAnotherWord) {
    constexpr std::array<std::string_view, 3> words{"kernel", "ramdisk", "lpc"};
    EXPECT_EQ(nearest("ramdsik", words), "ramdisk");
    EXPECT_EQ(nearest("frobnicate", words), "");
    EXPECT_EQ(suggestion("kernl", words), "; did you mean 'kernel'?");
    EXPECT_EQ(suggestion("", words), "");
}

}  // namespace
}  // namespace cupule::app
