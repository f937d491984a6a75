#include "vhost_user/inflight_area.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

namespace cupule::vhost_user {
namespace {

constexpr std::uint16_t entries = 8;
using Heads = std::vector<std::uint16_t>;

class InflightAreaTest : public ::testing::Test {
  protected:
    /// What a process finds that comes after the last one.
    Heads recover(std::uint16_t used_index, std::uint16_t queue = 0) {
        log_ = area_->log_of(queue, entries);
        return log_->recover(used_index);
    }

    std::unique_ptr<InflightArea> area_ = std::move(*InflightArea::create(2, entries));
    std::unique_ptr<SplitInflight> log_;
};

TEST_F(InflightAreaTest, AFreshAreaHasNothingInFlight) {
    EXPECT_TRUE(recover(7).empty());
    EXPECT_TRUE(recover(7).empty());
}

TEST_F(InflightAreaTest, WhatWasTakenComesBackInTheOrderItWasTakenIn) {
    EXPECT_TRUE(recover(0).empty());
    for (const std::uint16_t head : Heads{5, 2, 7}) {
        log_->taken(head);
    }
    EXPECT_EQ(recover(0), (Heads{5, 2, 7}));
    log_->taken(1);
    EXPECT_EQ(recover(0), (Heads{5, 2, 7, 1}));
    EXPECT_TRUE(recover(0, 1).empty());
}

TEST_F(InflightAreaTest, WhatTheDriverSawIsOver) {
    EXPECT_TRUE(recover(0xFFFF).empty());
    for (const std::uint16_t head : Heads{5, 2, 7}) {
        log_->taken(head);
    }
    log_->put(2);
    log_->put(5);
    log_->published(1);
    EXPECT_EQ(recover(1), (Heads{7}));
}

TEST_F(InflightAreaTest, ABatchThatWasShownBeforeTheRecordSaidSoIsOver) {
    EXPECT_TRUE(recover(10).empty());
    for (const std::uint16_t head : Heads{0, 1, 2, 3}) {
        log_->taken(head);
    }
    log_->put(3);
    log_->published(11);
    log_->put(1);
    log_->put(0);
    // The process ends here: the used ring's index shows the two, or not.
    EXPECT_EQ(recover(13), (Heads{2}));
    log_->put(2);
    EXPECT_EQ(recover(13), (Heads{2}));
}

TEST_F(InflightAreaTest, AnyBytesGiveHeadsOfTheRing) {
    std::vector<std::byte> garbage(area_->description().size, std::byte{0xA5});
    garbage[8] = std::byte{1};
    garbage[9] = std::byte{0};
    ASSERT_EQ(pwrite(area_->file().get(), garbage.data(), garbage.size(), 0),
              static_cast<ssize_t>(garbage.size()));
    const Heads heads = recover(3);
    EXPECT_LE(heads.size(), entries);
    for (const std::uint16_t head : heads) {
        EXPECT_LT(head, entries);
    }
    for (std::uint16_t head = 0; head < entries; ++head) {
        log_->taken(head);
        log_->put(head);
    }
    log_->published(11);
}

TEST_F(InflightAreaTest, DescriptionsThatCannotBeAreRefused) {
    const Inflight good = area_->description();
    const auto map = [&](const Inflight& description) {
        return InflightArea::map(description, std::move(*area_->file().duplicate())).has_value();
    };
    EXPECT_TRUE(map(good));
    for (const Inflight& bad : {
             Inflight{.size = good.size, .queues = 0, .queue_size = 8},
             Inflight{.size = good.size, .queues = 2, .queue_size = 0},
             Inflight{.size = good.size, .queues = 0xFFFF, .queue_size = 8},
             Inflight{.size = good.size, .queues = 2, .queue_size = 0xFFFF},
             Inflight{.size = 100, .queues = 2, .queue_size = 8},
             Inflight{.size = good.size, .offset = 4096, .queues = 2, .queue_size = 8},
             Inflight{.size = good.size, .offset = 8, .queues = 2, .queue_size = 8},
             Inflight{.size = ~0ULL, .offset = ~0ULL << 12, .queues = 2, .queue_size = 8},
         }) {
        EXPECT_FALSE(map(bad)) << bad.size << ' ' << bad.offset << ' ' << bad.queues;
    }
    EXPECT_EQ(area_->log_of(2, entries), nullptr);
    EXPECT_EQ(area_->log_of(0, entries + 1), nullptr);
}

}  // namespace
}  // namespace cupule::vhost_user
