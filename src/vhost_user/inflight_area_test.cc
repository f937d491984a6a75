#include "vhost_user/inflight_area.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "testing/virtio_driver.h"
#include "virtio/features.h"
#include "virtio/queue_config.h"

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

TEST_F(InflightAreaTest, TheLargestCounterIsFollowedByTheSmallest) {
    EXPECT_TRUE(recover(0).empty());
    log_->taken(3);
    constexpr std::uint64_t largest = ~std::uint64_t{0};
    constexpr off_t counter_of_3 = 16 + 16 * 3 + 8;  // DescStateSplit, field counter
    ASSERT_EQ(pwrite(area_->file().get(), &largest, sizeof largest, counter_of_3),
              static_cast<ssize_t>(sizeof largest));
    EXPECT_EQ(recover(0), (Heads{3}));
    log_->taken(4);
    EXPECT_EQ(recover(0), (Heads{4, 3}));
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

using Descriptors = virtio::PackedRing::Descriptors;
using virtio::QueuePosition;

/// A chain of `count` descriptors with this buffer id in the last one.
Descriptors chain_of(std::uint16_t id, std::uint16_t count = 1) {
    Descriptors chain;
    for (std::uint16_t i = 0; i < count; ++i) {
        chain.push_back({.address = 0x1000ULL * id + i,
                         .length = 10U + i,
                         .id = static_cast<std::uint16_t>(i + 1 == count ? id : 0),
                         .flags = static_cast<std::uint16_t>(i + 1 == count ? 0 : 1)});
    }
    return chain;
}

class PackedInflightTest : public ::testing::Test {
  protected:
    /// What a process finds that comes after the last one; `shown`: the driver saw the last batch.
    PackedInflight::Recovered recover(bool shown = true, const QueuePosition& position = {}) {
        log_ = area_->packed_log_of(0, entries);
        return log_->recover(position, [shown](std::uint16_t) -> std::uint16_t {
            return shown ? 0x8080 : 0x0080;  // used or available, in the ring's first round
        });
    }
    std::vector<std::uint16_t> ids(const PackedInflight::Recovered& recovered) {
        std::vector<std::uint16_t> result;
        for (const Descriptors& chain : recovered.again) {
            result.push_back(chain.back().id);
        }
        return result;
    }

    std::unique_ptr<InflightArea> area_ = std::move(*InflightArea::create(2, entries));
    std::unique_ptr<PackedInflight> log_;
};

TEST_F(PackedInflightTest, BeginsWhereTheRingIs) {
    const QueuePosition at{
        .next_available = 5, .next_used = 5, .available_wrap = false, .used_wrap = false};
    EXPECT_EQ(recover(true, at).position, at);
    EXPECT_EQ(recover(true, {}).position, at);
}

TEST_F(PackedInflightTest, ChainsComeBackWholeAndInOrder) {
    recover();
    log_->taken(chain_of(300, 3));
    log_->taken(chain_of(2, 1));
    log_->taken(chain_of(7, 2));
    for (int times = 0; times < 2; ++times) {
        const auto recovered = recover();
        ASSERT_EQ(ids(recovered), (Heads{300, 2, 7}));
        ASSERT_EQ(recovered.again[0].size(), 3U);
        EXPECT_EQ(recovered.again[0][1].address, 0x1000U * 300 + 1);
        EXPECT_EQ(recovered.again[0][1].length, 11U);
        EXPECT_EQ(recovered.again[0][1].flags, 1U);
        EXPECT_EQ(recovered.position, (QueuePosition{.next_available = 6}));
    }
}

TEST_F(PackedInflightTest, WhatTheDriverSawIsOverAndItsPlacesAreUsedAgain) {
    recover();
    QueuePosition at;
    for (std::uint16_t round = 0; round < 40; ++round) {
        log_->taken(chain_of(round, 2));
        if (round > 0) {
            log_->put(static_cast<std::uint16_t>(round - 1));
            at.next_used = static_cast<std::uint16_t>((at.next_used + 2) % entries);
            at.used_wrap = at.used_wrap != (at.next_used == 0);
            log_->publishing(at);
            log_->published();
        }
    }
    const auto recovered = recover();
    EXPECT_EQ(ids(recovered), (Heads{39}));
    EXPECT_EQ(recovered.position.next_used, at.next_used);
    EXPECT_EQ(recovered.position.used_wrap, at.used_wrap);
}

TEST_F(PackedInflightTest, OfABatchThatWasBeingShownTheRingTellsWhetherItWas) {
    for (const bool shown : {false, true}) {
        area_ = std::move(*InflightArea::create(2, entries));
        recover();
        for (const std::uint16_t id : Heads{1, 2, 3}) {
            log_->taken(chain_of(id, 2));
        }
        log_->put(2);
        log_->put(1);
        log_->publishing({.next_used = 4});
        // The process ends here.
        auto recovered = recover(shown);
        EXPECT_EQ(ids(recovered), shown ? (Heads{3}) : (Heads{1, 2, 3}));
        EXPECT_EQ(recovered.position,
                  (QueuePosition{.next_available = 6,
                                 .next_used = static_cast<std::uint16_t>(shown ? 4 : 0)}));
        // And the next one goes on: all of it is used, and the ring is empty.
        for (const std::uint16_t id : ids(recovered)) {
            log_->put(id);
        }
        log_->publishing({.next_used = 6});
        log_->published();
        recovered = recover();
        EXPECT_TRUE(recovered.again.empty());
        EXPECT_EQ(recovered.position, (QueuePosition{.next_available = 6, .next_used = 6}));
        for (std::uint16_t id = 0; id < entries; ++id) {
            log_->taken(chain_of(id));
        }
        EXPECT_EQ(ids(recover()).size(), entries);
    }
}

TEST_F(PackedInflightTest, WhatIsPutButNotShownKeepsItsPlaces) {
    recover();
    for (const std::uint16_t id : Heads{1, 2, 3}) {
        log_->taken(chain_of(id, 2));
    }
    log_->put(1);
    log_->taken(chain_of(4, 2));
    EXPECT_EQ(ids(recover(false)), (Heads{1, 2, 3, 4}));
}

TEST_F(PackedInflightTest, AnyBytesGiveChainsOfTheRing) {
    for (const unsigned filling : {0xA5U, 0x01U, 0x00U, 0xFFU, 0x02U}) {
        std::vector<std::byte> garbage(area_->description().size, std::byte(filling));
        garbage[8] = std::byte{1};
        garbage[9] = std::byte{0};
        for (std::size_t i = 16; i < 22; ++i) {
            garbage[i] = std::byte(filling & 1);
        }
        ASSERT_EQ(pwrite(area_->file().get(), garbage.data(), garbage.size(), 0),
                  static_cast<ssize_t>(garbage.size()));
        const auto recovered = recover();
        std::size_t descriptors = 0;
        for (const Descriptors& chain : recovered.again) {
            EXPECT_FALSE(chain.empty());
            descriptors += chain.size();
        }
        EXPECT_LE(descriptors, entries);
        EXPECT_LT(recovered.position.next_available, entries);
        EXPECT_LT(recovered.position.next_used, entries);
        for (std::uint16_t id = 100; id < 120; ++id) {
            log_->taken(chain_of(id, 2));
            log_->put(id);
        }
        log_->publishing({.next_used = 3});
        log_->published();
    }
}

TEST_F(PackedInflightTest, OfABatchThatWasNeverShownTheDriverSeesNothing) {
    const auto memory = *memory::GuestMemory::create(
        {.pieces = {{{0}, 1 << 20}}, .huge_pages = memory::HugePages::never});
    const std::uint64_t features = virtio::feature::version_1 | virtio::feature::ring_packed;
    testing::VirtioDriver driver(*memory,
                                 {.features = features, .size = entries, .base = {0x1'0000}});
    const auto start = [&](const QueuePosition& position) {
        virtio::QueueConfig config({.size_max = entries});
        EXPECT_TRUE(
            config.set_area(virtio::QueueArea::descriptors, driver.geometry().descriptor_area) &&
            config.set_area(virtio::QueueArea::driver, driver.geometry().driver_area) &&
            config.set_area(virtio::QueueArea::device, driver.geometry().device_area));
        config.set_position(position);
        config.enable();
        return *std::move(config).activate(*memory, features);
    };
    {
        auto recovered = recover(false);
        virtio::Queue queue = start(recovered.position);
        queue.keep_log(*log_, std::move(recovered.again));
        const testing::VirtioDriver::Buffer buffer{
            .address = {0x4'0000}, .length = 64, .writable = true};
        for (std::uint64_t token = 1; token < 4; ++token) {
            ASSERT_TRUE(driver.submit(std::span(&buffer, 1), token));
        }
        for (int i = 0; i < 3; ++i) {
            virtio::Chain chain = queue.pop();
            ASSERT_TRUE(chain);
            queue.push_used(std::move(chain), 1);
        }
        // The process ends here: two used descriptors lie behind the one that was held back.
    }
    auto recovered = recover(false);
    ASSERT_EQ(recovered.again.size(), 3U);
    virtio::Queue queue = start(recovered.position);
    queue.keep_log(*log_, std::move(recovered.again));
    EXPECT_FALSE(driver.collect());
    virtio::Chain first = queue.pop();
    virtio::Chain second = queue.pop();
    static_cast<void>(queue.complete(std::move(second), 2));
    const auto used = driver.collect();
    ASSERT_TRUE(used.has_value());
    EXPECT_EQ(used->token, 2U);
    EXPECT_EQ(used->written, 2U);
    EXPECT_FALSE(driver.collect()) << "what the lost process left behind it";
    static_cast<void>(queue.complete(std::move(first), 1));
    static_cast<void>(queue.complete(queue.pop(), 3));
    EXPECT_EQ(driver.collect()->token, 1U);
    EXPECT_EQ(driver.collect()->token, 3U);
    EXPECT_EQ(driver.violation(), "");
    EXPECT_FALSE(queue.pop());
}

TEST_F(PackedInflightTest, AnAreaForSplitQueuesHasNoRoomForPackedOnes) {
    const Inflight small{.size = 2 * SplitInflight::bytes_for(entries),
                         .offset = 0,
                         .queues = 2,
                         .queue_size = entries};
    const auto area = InflightArea::map(small, std::move(*area_->file().duplicate()));
    ASSERT_TRUE(area.has_value());
    EXPECT_NE((*area)->log_of(1, entries), nullptr);
    EXPECT_EQ((*area)->packed_log_of(1, entries), nullptr);
}

}  // namespace
}  // namespace cupule::vhost_user
