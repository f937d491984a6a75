#include "event/wake_patience.h"

#include <gtest/gtest.h>

namespace cupule::event {
namespace {

class HandClock : public Clock {
  public:
    std::uint64_t now_ns() const override { return now; }
    std::int64_t wall_ns() const override { return 0; }
    std::uint64_t now = ns_per_s;
};

class WakePatienceTest : public ::testing::Test {
  protected:
    void serve(std::uint64_t batches, std::uint64_t requests_each) {
        for (std::uint64_t i = 0; i < batches; ++i) {
            patience_.served(requests_each, clock_);
        }
    }
    /// How long it is eager, where a batch of one takes a microsecond.
    std::uint64_t eager_ns() {
        const std::uint64_t began = clock_.now;
        while (!patience_.patient()) {
            clock_.now += ns_per_us;
            patience_.served(1, clock_);
        }
        return clock_.now - began;
    }

    HandClock clock_;
    WakePatience patience_;
};

TEST_F(WakePatienceTest, IsEagerUntilTheFirstTrial) {
    serve(WakePatience::eager_batches - 1, 1);
    EXPECT_FALSE(patience_.patient());
    serve(1, 1);
    EXPECT_TRUE(patience_.patient());
}

TEST_F(WakePatienceTest, StaysPatientWhileRequestsComeTogether) {
    eager_ns();
    serve(100 * WakePatience::trial_batches, 2);
    EXPECT_TRUE(patience_.patient());
}

TEST_F(WakePatienceTest, ATrialThatGathersNothingEndsAndTheNextComesLater) {
    std::uint64_t wait_ns = WakePatience::wait_first_ns;
    eager_ns();
    for (int trial = 0; trial < 10; ++trial) {
        serve(WakePatience::trial_batches, 1);
        EXPECT_FALSE(patience_.patient());
        const std::uint64_t waited_ns = eager_ns();
        EXPECT_GE(waited_ns, wait_ns);
        EXPECT_LE(waited_ns, wait_ns + WakePatience::eager_batches * ns_per_us);
        wait_ns = std::min(2 * wait_ns, WakePatience::wait_max_ns);
    }
    EXPECT_EQ(wait_ns, WakePatience::wait_max_ns);
}

TEST_F(WakePatienceTest, ADriverWithFewRequestsIsEagerlyServedForSomeOfThem) {
    eager_ns();
    serve(WakePatience::trial_batches, 1);
    clock_.now += 3600 * ns_per_s;
    serve(WakePatience::eager_batches - 1, 1);
    EXPECT_FALSE(patience_.patient());
}

TEST_F(WakePatienceTest, ADriverThatTurnsToOneRequestAtATimeIsServedAtOnceAgain) {
    eager_ns();
    serve(WakePatience::trial_batches, 1);
    eager_ns();
    serve(WakePatience::trial_batches, 16);
    EXPECT_TRUE(patience_.patient());
    serve(WakePatience::trial_batches, 1);
    EXPECT_FALSE(patience_.patient());
    // That it paid in between makes the next trial come soon.
    EXPECT_LT(eager_ns(), 2 * WakePatience::wait_first_ns);
}

TEST_F(WakePatienceTest, PaysFromThreeRequestsInTwoBatchesOn) {
    eager_ns();
    serve(WakePatience::trial_batches / 2, 2);
    serve(WakePatience::trial_batches / 2, 1);
    EXPECT_TRUE(patience_.patient());
    serve(WakePatience::trial_batches / 2 - 1, 2);
    serve(WakePatience::trial_batches / 2 + 1, 1);
    EXPECT_FALSE(patience_.patient());
}

}  // namespace
}  // namespace cupule::event
