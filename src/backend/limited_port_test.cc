#include "backend/limited_port.h"

#include <gtest/gtest.h>

#include <array>

#include "testing/fake_net_port.h"
#include "testing/fake_timers.h"

namespace cupule::backend {
namespace {

using testing::FakeNetPort;
using testing::FakeTimers;

constexpr std::size_t frame_bytes = 1000;

/// A card that sends and takes as much as it may.
class Greedy : public NetPortEvents {
  public:
    explicit Greedy(NetPort& wire) : port(wire) { port.set_events(this); }
    ~Greedy() override { port.set_events(nullptr); }
    void frames_came() override {
        std::array<std::uint8_t, 2048> bytes{};
        const iovec place{.iov_base = bytes.data(), .iov_len = bytes.size()};
        while (const std::size_t got = port.receive({&place, 1})) {
            taken += got - sizeof(NetHeader);
        }
        port.want_frames(true);
    }
    void room_came() override {
        std::array<std::uint8_t, sizeof(NetHeader) + frame_bytes> bytes{};
        const iovec frame{.iov_base = bytes.data(), .iov_len = bytes.size()};
        while (port.send({&frame, 1}) == NetPort::Sent::done) {
            sent += frame_bytes;
        }
    }
    void link_changed(bool up) override { link = up; }

    NetPort& port;
    std::uint64_t sent = 0;
    std::uint64_t taken = 0;
    bool link = true;
};

class LimitedPortTest : public ::testing::Test {
  protected:
    std::unique_ptr<NetPort> limited(const RateLimit& limit) {
        return limited(std::make_shared<CardLimits>(limit, timers_));
    }
    std::unique_ptr<NetPort> limited(std::shared_ptr<CardLimits> limits) {
        auto inner = std::make_unique<FakeNetPort>();
        inner_ = inner.get();
        return make_limited_port(std::move(inner), std::move(limits), timers_, timers_);
    }
    /// The port that was made last.
    void fill(std::size_t frames) {
        for (std::size_t i = 0; i < frames; ++i) {
            inner_->incoming.emplace_back(sizeof(NetHeader) + frame_bytes);
        }
    }
    FakeTimers timers_;
    FakeNetPort* inner_ = nullptr;
};

TEST_F(LimitedPortTest, EachDirectionKeepsToItsBytesWithinTwoPercent) {
    const auto port = limited({.bytes_per_s = 1'000'000, .bytes_burst = 5000});
    fill(20'000);
    Greedy card(*port);
    card.room_came();
    card.frames_came();
    timers_.advance(10 * event::ns_per_s);
    EXPECT_NEAR(static_cast<double>(card.sent), 10e6, 0.02 * 10e6);
    EXPECT_NEAR(static_cast<double>(card.taken), 10e6, 0.02 * 10e6);
}

TEST_F(LimitedPortTest, FramesAreLimitedToo) {
    const auto port = limited({.operations_per_s = 100, .operations_burst = 2});
    fill(2000);
    Greedy card(*port);
    card.room_came();
    card.frames_came();
    timers_.advance(10 * event::ns_per_s);
    EXPECT_NEAR(static_cast<double>(card.sent / frame_bytes), 1000, 20);
    EXPECT_NEAR(static_cast<double>(card.taken / frame_bytes), 1000, 20);
}

TEST_F(LimitedPortTest, PortsOfOneCardHaveItsRateTogether) {
    const auto limits = std::make_shared<CardLimits>(
        RateLimit{.bytes_per_s = 1'000'000, .bytes_burst = 5000}, timers_);
    const auto first = limited(limits);
    fill(20'000);
    const auto second = limited(limits);
    fill(20'000);
    Greedy card(*first);
    Greedy other(*second);
    for (Greedy* each : {&card, &other}) {
        each->room_came();
        each->frames_came();
    }
    timers_.advance(10 * event::ns_per_s);
    EXPECT_NEAR(static_cast<double>(card.sent + other.sent), 10e6, 0.02 * 10e6);
    EXPECT_NEAR(static_cast<double>(card.taken + other.taken), 10e6, 0.02 * 10e6);
}

TEST_F(LimitedPortTest, FramesThatWaitDoNotWakeAnyone) {
    const auto port = limited({.operations_per_s = 1, .operations_burst = 1});
    fill(10);
    Greedy card(*port);
    card.frames_came();
    EXPECT_FALSE(inner_->wanted);
    EXPECT_TRUE(card.taken > 0);
    timers_.advance(100 * event::ns_per_s);
    EXPECT_EQ(card.taken, 10 * frame_bytes);
    EXPECT_TRUE(inner_->wanted);
}

TEST_F(LimitedPortTest, NobodyHearsOfATimerOnceTheListenerLeft) {
    const auto port = limited({.operations_per_s = 1, .operations_burst = 1});
    fill(10);
    {
        Greedy card(*port);
        card.frames_came();
        card.room_came();
        EXPECT_NE(timers_.next_deadline_ns(), 0U);
    }
    EXPECT_EQ(timers_.next_deadline_ns(), 0U);
}

}  // namespace
}  // namespace cupule::backend
