#include "backend/rate_limiter.h"

#include <gtest/gtest.h>

#include <random>

#include "testing/fake_timers.h"

namespace cupule::backend {
namespace {

using event::ns_per_s;
using testing::FakeTimers;

/// Asks for requests of these sizes again and again for `seconds`, waiting as told. Units: bytes.
struct Admitted {
    std::uint64_t bytes = 0;
    std::uint64_t operations = 0;
};
Admitted run(RateLimiter& limiter, FakeTimers& clock, std::uint64_t seconds, std::uint64_t size_max,
             std::uint64_t late_ns = 0) {
    std::mt19937_64 random(5);
    Admitted admitted;
    const std::uint64_t end_ns = clock.now_ns() + seconds * ns_per_s;
    while (clock.now_ns() < end_ns) {
        const std::uint64_t size = 512 * (1 + random() % (size_max / 512));
        std::uint64_t delay_ns = limiter.admit(size);
        while (delay_ns != 0) {
            clock.advance(delay_ns + late_ns);
            delay_ns = limiter.admit(size);
        }
        admitted.bytes += size;
        ++admitted.operations;
    }
    return admitted;
}

void expect_within_2_percent(std::uint64_t value, std::uint64_t wanted) {
    EXPECT_GE(value, wanted - wanted / 50);
    EXPECT_LE(value, wanted + wanted / 50);
}

TEST(RateLimiter, HoldsBytesToTheRateWhateverTheSizes) {
    for (const std::uint64_t size_max : {512U, 4096U, 1U << 20}) {
        for (const std::uint64_t rate : {std::uint64_t{10} << 20, std::uint64_t{7'777'777}}) {
            FakeTimers clock;
            RateLimiter limiter({.bytes_per_s = rate}, clock);
            expect_within_2_percent(run(limiter, clock, 20, size_max).bytes, 20 * rate);
        }
    }
}

TEST(RateLimiter, HoldsOperationsToTheRate) {
    for (const std::uint64_t rate : {7U, 1000U, 333'333U}) {
        FakeTimers clock;
        RateLimiter limiter({.operations_per_s = rate}, clock);
        expect_within_2_percent(run(limiter, clock, 30, 4096).operations, 30 * rate);
    }
}

TEST(RateLimiter, TheTighterLimitHolds) {
    FakeTimers clock;
    RateLimiter limiter({.bytes_per_s = 100 << 20, .operations_per_s = 100}, clock);
    expect_within_2_percent(run(limiter, clock, 20, 4096).operations, 2000);
}

TEST(RateLimiter, LateWakeUpsCostNothing) {
    // A timer that is 50 us late each time: the debt is not forgotten, so the rate stays.
    FakeTimers clock;
    RateLimiter limiter({.operations_per_s = 10'000}, clock);
    expect_within_2_percent(run(limiter, clock, 10, 4096, 50'000).operations, 100'000);
}

TEST(RateLimiter, ARestSavesUpABurstAndNoMore) {
    FakeTimers clock;
    RateLimiter limiter({.operations_per_s = 100, .operations_burst = 30}, clock);
    clock.advance(1000 * ns_per_s);
    unsigned at_once = 0;
    while (limiter.admit(1) == 0) {
        ++at_once;
    }
    EXPECT_GE(at_once, 30U);
    EXPECT_LE(at_once, 31U);
}

TEST(RateLimiter, ARequestBeyondTheBurstPassesAndIsPaidFor) {
    FakeTimers clock;
    RateLimiter limiter({.bytes_per_s = 1000, .bytes_burst = 10}, clock);
    EXPECT_EQ(limiter.admit(5000), 0U);
    EXPECT_EQ(limiter.admit(1), 5 * ns_per_s - ns_per_s / 100);
}

TEST(RateLimiter, NoValueOverflows) {
    FakeTimers clock;
    RateLimiter limiter({.bytes_per_s = 1, .bytes_burst = ~std::uint64_t{0}}, clock);
    for (int i = 0; i < 5; ++i) {
        static_cast<void>(limiter.admit(~std::uint64_t{0}));
        clock.advance(ns_per_s);
    }
    RateLimiter fast({.bytes_per_s = ~std::uint64_t{0}}, clock);
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(fast.admit(1 << 20), 0U);
    }
}

TEST(RateLimiter, WithoutLimitsAdmitsEverything) {
    FakeTimers clock;
    RateLimiter limiter({}, clock);
    for (int i = 0; i < 1000; ++i) {
        EXPECT_EQ(limiter.admit(1 << 30), 0U);
    }
}

}  // namespace
}  // namespace cupule::backend
