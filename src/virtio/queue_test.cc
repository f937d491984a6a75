#include "virtio/queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "testing/virtio_driver.h"
#include "testing/virtio_workload.h"
#include "virtio/features.h"
#include "virtio/queue_config.h"

namespace cupule::virtio {
namespace {

using testing::VirtioDriver;
using testing::VirtioWorkload;

constexpr memory::GuestAddress ring_base{0x10'0000};

/// Memory, a driver, a running queue and a workload between them.
struct Bench {
    Bench(std::uint64_t features, std::uint16_t size, std::uint64_t seed = 1)
        : options{.features = features, .size = size, .base = ring_base},
          memory(*memory::GuestMemory::create({.pieces = {{{0}, std::uint64_t{64} << 20}},
                                               .huge_pages = memory::HugePages::never})),
          driver(*memory, options),
          workload(*memory, driver, options,
                   ring_base + base::align_up(VirtioDriver::bytes_needed(options), 4096), seed),
          queue(start()) {}

    Queue start() {
        QueueConfig config({.size_max = options.size});
        EXPECT_TRUE(config.set_area(QueueArea::descriptors, driver.geometry().descriptor_area));
        EXPECT_TRUE(config.set_area(QueueArea::driver, driver.geometry().driver_area));
        EXPECT_TRUE(config.set_area(QueueArea::device, driver.geometry().device_area));
        config.enable();
        auto started = std::move(config).activate(*memory, options.features);
        EXPECT_TRUE(started.has_value()) << to_text(started ? QueueFault::none : started.error());
        return std::move(*started);
    }

    VirtioDriver::Options options;
    std::unique_ptr<memory::GuestMemory> memory;
    VirtioDriver driver;
    VirtioWorkload workload;
    Queue queue;
};

using Parameters = std::tuple<std::uint64_t, std::uint16_t>;

class QueueMatrix : public ::testing::TestWithParam<Parameters> {
  protected:
    Bench bench_{std::get<0>(GetParam()), std::get<1>(GetParam())};
    std::mt19937_64 random_{7};

    /// Answers the chain that stands at `index` of those taken.
    void answer(std::size_t index) {
        Chain chain = std::move(taken_[index]);
        taken_.erase(taken_.begin() + static_cast<std::ptrdiff_t>(index));
        const std::uint32_t written = testing::answer_request(chain);
        bench_.queue.push_used(std::move(chain), written);
    }

    /// Rounds of random batches: submit some, take some, answer some of those taken, each the one
    /// `pick` chooses among that many.
    template <class Pick>
    void run(std::uint64_t requests, Pick pick) {
        for (std::uint64_t idle = 0; bench_.workload.finished() < requests && idle < 1000; ++idle) {
            for (std::uint64_t i = random_() % 40; i > 0 && bench_.workload.submit(); --i) {
            }
            bench_.driver.publish();
            for (std::uint64_t i = random_() % 40; i > 0; --i) {
                if (Chain chain = bench_.queue.pop()) {
                    taken_.push_back(std::move(chain));
                }
            }
            for (std::uint64_t i = random_() % 40; i > 0 && !taken_.empty(); --i) {
                answer(pick(taken_.size()));
                if (random_() % 8 == 0) {
                    bench_.queue.show();
                }
            }
            static_cast<void>(bench_.queue.publish());
            idle = bench_.workload.collect() > 0 ? 0 : idle;
            ASSERT_EQ(bench_.workload.problem(), "");
            ASSERT_EQ(bench_.queue.fault(), QueueFault::none) << to_text(bench_.queue.fault());
        }
        while (!taken_.empty()) {
            answer(pick(taken_.size()));
        }
        static_cast<void>(bench_.queue.publish());
        bench_.workload.collect();
        EXPECT_EQ(bench_.workload.problem(), "");
        EXPECT_EQ(bench_.queue.in_flight(), 0U);
        EXPECT_EQ(bench_.queue.lost_chains(), 0U);
        EXPECT_GE(bench_.workload.finished(), requests);
    }

    std::vector<Chain> taken_;
};

constexpr std::uint64_t enough(std::uint16_t size) {
    return std::max<std::uint64_t>(2000, std::uint64_t{size} * 5 / 4);
}

TEST_P(QueueMatrix, CarriesAllDataWhenRequestsFinishInOrder) {
    run(enough(bench_.options.size), [](std::size_t) { return std::size_t{0}; });
}

TEST_P(QueueMatrix, CarriesAllDataWhenRequestsFinishInAnyOrder) {
    run(enough(bench_.options.size), [this](std::size_t count) { return random_() % count; });
}

TEST_P(QueueMatrix, WhatIsShownIsThereAtOnceAndInterruptsWhenTheBatchEnds) {
    ASSERT_FALSE(bench_.driver.enable_interrupts());
    for (int i = 0; i < 2; ++i) {
        bool submitted = false;
        for (int tries = 0; tries < 1000 && !submitted; ++tries) {
            submitted = bench_.workload.submit();  // random: not every one fits a short ring
        }
        ASSERT_TRUE(submitted);
        bench_.driver.publish();
        Chain chain = bench_.queue.pop();
        ASSERT_TRUE(chain);
        const std::uint32_t written = testing::answer_request(chain);
        bench_.queue.push_used(std::move(chain), written);
        bench_.queue.show();
        EXPECT_EQ(bench_.queue.statistics().batches, 0U);
        EXPECT_EQ(bench_.workload.collect(), 1U);
    }
    EXPECT_TRUE(bench_.queue.publish());
    EXPECT_EQ(bench_.workload.problem(), "");
    EXPECT_EQ(bench_.queue.statistics().batches, 1U);
    EXPECT_EQ(bench_.queue.statistics().interrupts, 1U);
    EXPECT_FALSE(bench_.queue.publish()) << "nothing new";
}

TEST_P(QueueMatrix, Class3_ReadsNoDescriptorOfAChainAgain) {
    if (bench_.options.size > 256) {
        GTEST_SKIP() << "the same with less to scramble";
    }
    const memory::GuestAddress ring = bench_.driver.geometry().descriptor_area;
    const memory::GuestAddress tables{
        bench_.options.base.value + VirtioDriver::bytes_needed(bench_.options) -
        std::uint64_t{bench_.options.size} * bench_.options.table_entries * descriptor_size};
    run(500, [&](std::size_t count) {
        if (Chain chain = bench_.queue.pop()) {
            taken_.push_back(std::move(chain));  // scramble only what has been taken
            return std::size_t{0};
        }
        for (std::uint32_t i = 0; i < bench_.options.size; ++i) {
            // In a packed ring the second half is where the device answers.
            EXPECT_TRUE(bench_.memory->fill(ring + i * descriptor_size, std::byte{0xEE},
                                            bench_.queue.packed() ? 8 : descriptor_size));
        }
        EXPECT_TRUE(bench_.memory->fill(
            tables, std::byte{0xEE},
            std::uint64_t{bench_.options.size} * bench_.options.table_entries * descriptor_size));
        return random_() % count;
    });
}

TEST_P(QueueMatrix, AsksForOneInterruptABatch) {
    const std::uint16_t size = bench_.options.size;
    for (int round = 0; round < 5; ++round) {
        std::uint32_t submitted = 0;
        while (submitted < size && bench_.workload.submit()) {
            ++submitted;
        }
        const bool kick = bench_.driver.publish();
        EXPECT_TRUE(kick || submitted == 0);
        EXPECT_FALSE(bench_.driver.publish());
        EXPECT_FALSE(bench_.driver.enable_interrupts());
        while (Chain chain = bench_.queue.pop()) {
            const std::uint32_t written = testing::answer_request(chain);
            bench_.queue.push_used(std::move(chain), written);
        }
        EXPECT_EQ(bench_.queue.publish(), submitted > 0);
        EXPECT_FALSE(bench_.queue.publish());
        EXPECT_FALSE(bench_.queue.enable_notifications());
        EXPECT_EQ(bench_.workload.collect(), submitted);
    }
}

TEST_P(QueueMatrix, StaysSilentForADriverThatPolls) {
    for (int round = 0; round < 5; ++round) {
        static_cast<void>(bench_.driver.enable_interrupts());
        bench_.driver.disable_interrupts();
        bench_.queue.disable_notifications();
        while (bench_.workload.submit()) {
        }
        bench_.driver.publish();
        bool first = true;
        while (Chain chain = bench_.queue.pop()) {
            const std::uint32_t written = testing::answer_request(chain);
            const bool interrupt = bench_.queue.complete(std::move(chain), written);
            // A split ring with EVENT_IDX has no "off": the event is crossed once (2.7.7.1).
            const bool crossed = first && !bench_.queue.packed() &&
                                 (bench_.options.features & feature::event_idx) != 0;
            EXPECT_EQ(interrupt, crossed);
            first = false;
        }
        bench_.workload.collect();
    }
}

TEST_P(QueueMatrix, GoesOnWithFreshRingsAfterAResetAtAnyNumberInFlight) {
    for (std::uint32_t in_flight = 0; in_flight <= std::min<std::uint32_t>(4, bench_.options.size);
         ++in_flight) {
        while (bench_.workload.submit()) {
        }
        bench_.driver.publish();
        std::vector<Chain> taken;
        for (std::uint32_t i = 0; i < in_flight; ++i) {
            if (Chain chain = bench_.queue.pop()) {
                taken.push_back(std::move(chain));
            }
        }
        // The driver resets queue and rings; the old requests' completions come late.
        bench_.driver = VirtioDriver(*bench_.memory, bench_.options);
        bench_.workload.reset();
        bench_.queue = bench_.start();
        for (Chain& chain : taken) {
            bench_.queue.push_used(std::move(chain), 0);
        }
        EXPECT_FALSE(bench_.queue.publish());
        EXPECT_FALSE(bench_.driver.collect().has_value());
        EXPECT_EQ(bench_.driver.violation(), "");
    }
}

std::string name_of(const ::testing::TestParamInfo<Parameters>& info) {
    const auto [features, size] = info.param;
    std::string name = (features & feature::ring_packed) != 0 ? "Packed" : "Split";
    name += (features & feature::indirect_desc) != 0 ? "Indirect" : "";
    name += (features & feature::event_idx) != 0 ? "EventIdx" : "";
    name += (features & feature::in_order) != 0 ? "InOrder" : "";
    return name + std::to_string(size);
}

std::vector<std::uint64_t> feature_sets(std::uint64_t base_features) {
    std::vector<std::uint64_t> sets;
    for (unsigned i = 0; i < 8; ++i) {
        sets.push_back(
            base_features | feature::version_1 | ((i & 1) != 0 ? feature::indirect_desc : 0) |
            ((i & 2) != 0 ? feature::event_idx : 0) | ((i & 4) != 0 ? feature::in_order : 0));
    }
    return sets;
}

INSTANTIATE_TEST_SUITE_P(Split, QueueMatrix,
                         ::testing::Combine(::testing::ValuesIn(feature_sets(0)),
                                            ::testing::Values<std::uint16_t>(1, 2, 8, 64, 256,
                                                                             32768)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Packed, QueueMatrix,
                         ::testing::Combine(::testing::ValuesIn(feature_sets(feature::ring_packed)),
                                            ::testing::Values<std::uint16_t>(1, 2, 3, 7, 64, 100,
                                                                             256, 32767, 32768)),
                         name_of);

/// The largest rings, with all features and with none.
INSTANTIATE_TEST_SUITE_P(LargeSplit, QueueMatrix,
                         ::testing::Combine(::testing::Values(feature_sets(0).front(),
                                                              feature_sets(0).back()),
                                            ::testing::Values<std::uint16_t>(32768)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(
    LargePacked, QueueMatrix,
    ::testing::Combine(::testing::Values(feature_sets(feature::ring_packed).front(),
                                         feature_sets(feature::ring_packed).back()),
                       ::testing::Values<std::uint16_t>(32767, 32768)),
    name_of);

}  // namespace
}  // namespace cupule::virtio
