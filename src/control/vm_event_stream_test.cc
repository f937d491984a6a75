#include "control/vm_event_stream.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "testing/fake_timers.h"

namespace cupule::control {
namespace {

using machine::GuestEvent;
using machine::GuestEventKind;

class VmEventStreamTest : public ::testing::Test {
  protected:
    void set_clock(std::int64_t before_s, std::int64_t delta_s) {
        stream_.happened({.kind = GuestEventKind::clock_set,
                          .clock_before_s = before_s,
                          .clock_delta_s = delta_s});
    }

    cupule::testing::FakeTimers clock_;
    std::vector<std::string> lines_;
    std::uint64_t deadline_ns_ = 0;
    VmEventStream stream_{clock_, [this](const std::string& line) { lines_.push_back(line); },
                          [this](std::uint64_t deadline_ns) { deadline_ns_ = deadline_ns; }};
};

TEST_F(VmEventStreamTest, AnEventIsOneLineWithItsNumber) {
    stream_.happened({.kind = GuestEventKind::power_off});
    stream_.happened({.kind = GuestEventKind::triple_fault});
    EXPECT_EQ(lines_, (std::vector<std::string>{"{\"vm_event\":1}\n", "{\"vm_event\":2}\n"}));
}

TEST_F(VmEventStreamTest, ChangesOfTheClockAreSummedUpUntilASecondHasPassedWithoutOne) {
    set_clock(1000, 60);
    EXPECT_EQ(deadline_ns_, clock_.now_ns() + event::ns_per_s);
    clock_.advance(event::ns_per_s / 2);
    set_clock(1060, -20);
    EXPECT_EQ(deadline_ns_, clock_.now_ns() + event::ns_per_s);
    EXPECT_TRUE(lines_.empty());
    clock_.advance(event::ns_per_s);
    stream_.clock_settled();
    stream_.clock_settled();
    EXPECT_EQ(lines_,
              std::vector<std::string>{"{\"vm_event\":0,\"delta_time\":40,\"last_time\":1000}\n"});
}

TEST_F(VmEventStreamTest, ThereIsOneOfAKindASecond) {
    for (int i = 0; i < 5; ++i) {
        stream_.happened({.kind = GuestEventKind::triple_fault});
    }
    EXPECT_EQ(lines_.size(), 1U);
    EXPECT_EQ(stream_.dropped(), 4U);
    clock_.advance(event::ns_per_s);
    stream_.happened({.kind = GuestEventKind::triple_fault});
    EXPECT_EQ(lines_.size(), 2U);
}

TEST_F(VmEventStreamTest, WhatIsPendingIsToldBeforeTheEnd) {
    set_clock(5, 7);
    stream_.happened({.kind = GuestEventKind::power_off});
    ASSERT_EQ(lines_.size(), 2U);
    EXPECT_EQ(lines_[0], "{\"vm_event\":0,\"delta_time\":7,\"last_time\":5}\n");
    EXPECT_EQ(lines_[1], "{\"vm_event\":1}\n");
}

TEST_F(VmEventStreamTest, AGuestMaySetAnyTime) {
    set_clock(0, std::numeric_limits<std::int64_t>::max());
    set_clock(0, 2);
    stream_.clock_settled();
    EXPECT_EQ(lines_.at(0),
              "{\"vm_event\":0,\"delta_time\":-9223372036854775807,\"last_time\":0}\n");
}

}  // namespace
}  // namespace cupule::control
