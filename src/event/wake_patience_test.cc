#include "event/wake_patience.h"

#include <gtest/gtest.h>

namespace cupule::event {
namespace {

void serve(WakePatience& patience, std::uint64_t batches, std::uint64_t requests_each) {
    for (std::uint64_t i = 0; i < batches; ++i) {
        patience.served(requests_each);
    }
}

/// Batches without patience until the next trial.
std::uint64_t until_trial(WakePatience& patience) {
    std::uint64_t batches = 0;
    while (!patience.patient()) {
        patience.served(1);
        ++batches;
    }
    return batches;
}

TEST(WakePatience, IsEagerUntilTheFirstTrial) {
    WakePatience patience;
    EXPECT_FALSE(patience.patient());
    EXPECT_EQ(until_trial(patience), WakePatience::first_batches);
}

TEST(WakePatience, StaysPatientWhileRequestsComeTogether) {
    WakePatience patience;
    until_trial(patience);
    serve(patience, 100 * WakePatience::trial_batches, 2);
    EXPECT_TRUE(patience.patient());
}

TEST(WakePatience, ATrialThatGathersNothingEndsAndTheNextComesLater) {
    WakePatience patience;
    std::uint64_t wait = WakePatience::first_batches;
    for (int trial = 0; trial < 20; ++trial) {
        EXPECT_EQ(until_trial(patience), wait);
        serve(patience, WakePatience::trial_batches, 1);
        EXPECT_FALSE(patience.patient());
        wait = std::min(2 * wait, WakePatience::most_batches);
    }
    EXPECT_EQ(wait, WakePatience::most_batches);
}

TEST(WakePatience, ADriverThatTurnsToOneRequestAtATimeIsServedAtOnceAgain) {
    WakePatience patience;
    until_trial(patience);
    serve(patience, WakePatience::trial_batches, 16);
    EXPECT_TRUE(patience.patient());
    serve(patience, WakePatience::trial_batches, 1);
    EXPECT_FALSE(patience.patient());
    // Patience has paid, but the last trial did not.
    EXPECT_EQ(until_trial(patience), 2 * WakePatience::first_batches);
}

TEST(WakePatience, PaysFromThreeRequestsInTwoBatchesOn) {
    for (const std::uint64_t doubles : {3U, 4U}) {
        WakePatience patience;
        until_trial(patience);
        serve(patience, doubles, 2);
        serve(patience, WakePatience::trial_batches - doubles, 1);
        EXPECT_EQ(patience.patient(), doubles == 4) << doubles;
    }
}

}  // namespace
}  // namespace cupule::event
