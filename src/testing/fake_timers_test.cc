#include "testing/fake_timers.h"

#include <gtest/gtest.h>

namespace cupule::testing {
namespace {

TEST(FakeTimers, FireInOrderAtTheirDeadlinesIncludingRestartedOnes) {
    FakeTimers time;
    std::vector<std::uint64_t> seen;
    const std::uint64_t start = time.now_ns();
    std::unique_ptr<event::Timer> periodic;
    periodic = time.make_timer([&] {
        seen.push_back(time.now_ns() - start);
        periodic->start_at(time.now_ns() + 10);
    });
    periodic->start_at(start + 10);
    time.advance(35);
    EXPECT_EQ(seen, (std::vector<std::uint64_t>{10, 20, 30}));
    EXPECT_EQ(time.now_ns() - start, 35U);
    EXPECT_EQ(time.next_deadline_ns() - start, 40U);
}

}  // namespace
}  // namespace cupule::testing
