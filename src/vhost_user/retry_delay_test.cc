#include "vhost_user/retry_delay.h"

#include <gtest/gtest.h>

namespace cupule::vhost_user {
namespace {

TEST(RetryDelay, DoublesUpToSomeSeconds) {
    RetryDelay delay;
    std::uint64_t expected_ns = 100 * event::ns_per_ms;
    for (int i = 0; i < 6; ++i) {
        EXPECT_EQ(delay.next_ns(), expected_ns);
        expected_ns *= 2;
    }
    EXPECT_EQ(delay.next_ns(), RetryDelay::longest_ns);
    EXPECT_EQ(delay.next_ns(), RetryDelay::longest_ns);
}

TEST(RetryDelay, OnlyABackEndThatStayedShortensIt) {
    RetryDelay delay;
    delay.next_ns();
    delay.stayed(RetryDelay::longest_ns - 1);
    EXPECT_EQ(delay.next_ns(), 2 * RetryDelay::shortest_ns);
    delay.stayed(RetryDelay::longest_ns);
    EXPECT_EQ(delay.next_ns(), RetryDelay::shortest_ns);
}

}  // namespace
}  // namespace cupule::vhost_user
