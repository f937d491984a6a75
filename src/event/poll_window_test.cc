#include "event/poll_window.h"

#include <gtest/gtest.h>

namespace cupule::event {
namespace {

TEST(PollWindow, GrowsWhileWorkComesSoonAndFallsWhenItDoesNot) {
    PollWindow window(50'000);
    EXPECT_EQ(window.ns(), 0U);
    std::uint64_t last = 0;
    for (int i = 0; i < 10; ++i) {
        window.slept(40'000);
        EXPECT_TRUE(window.ns() > last || window.ns() >= 40'000);
        EXPECT_LE(window.ns(), 50'000U);
        last = window.ns();
    }
    EXPECT_GE(window.ns(), 40'000U);
    window.slept(50'001);
    EXPECT_EQ(window.ns(), 0U);
}

TEST(PollWindow, StaysWhenItIsLongEnough) {
    PollWindow window(1'000'000);
    window.slept(10);
    const std::uint64_t then = window.ns();
    window.slept(10);
    EXPECT_EQ(window.ns(), then);
}

TEST(PollWindow, NeverOpensWithoutAMaximum) {
    PollWindow window(0);
    window.slept(0);
    window.slept(1);
    EXPECT_EQ(window.ns(), 0U);
}

}  // namespace
}  // namespace cupule::event
