// Rings as no driver may leave them. The numbers are the bug classes of docs/virtio.md.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "testing/virtio_driver.h"
#include "virtio/features.h"
#include "virtio/queue_config.h"
#include "virtio/ring_layout.h"

namespace cupule::virtio {
namespace {

using testing::VirtioDriver;

constexpr std::uint16_t queue_size = 8;
constexpr std::uint16_t segments_max = 64;
constexpr std::uint64_t mib = 1 << 20;
constexpr std::uint64_t high_ram = std::uint64_t{4} << 30;
constexpr std::uint64_t high_ram_size = 0x1'0000;
constexpr std::uint64_t table_at = 0x8'0000;
constexpr std::uint64_t buffer_at = 0x4'0000;

struct Descriptor {
    std::uint64_t address = buffer_at;
    std::uint32_t length = 16;
    std::uint16_t flags = 0;
    std::uint16_t next = 0;
};

/// A running queue over rings that the test writes byte by byte.
class HostileRing : public ::testing::TestWithParam<bool> {
  protected:
    HostileRing() { restart(feature::indirect_desc); }

    bool packed() const { return GetParam(); }

    void restart(std::uint64_t features) {
        options_.features = features | (packed() ? feature::ring_packed : 0);
        driver_ = std::make_unique<VirtioDriver>(*memory_, options_);
        next_ = 0;
        const QueueGeometry& at = driver_->geometry();
        QueueConfig config({.size_max = queue_size, .segments_max = segments_max});
        ASSERT_TRUE(config.set_area(QueueArea::descriptors, at.descriptor_area));
        ASSERT_TRUE(config.set_area(QueueArea::driver, at.driver_area));
        ASSERT_TRUE(config.set_area(QueueArea::device, at.device_area));
        config.enable();
        auto started = std::move(config).activate(*memory_, options_.features);
        ASSERT_TRUE(started.has_value());
        queue_ = std::make_unique<Queue>(std::move(*started));
    }

    void write_descriptor(memory::GuestAddress at, const Descriptor& descriptor) {
        const auto words = packed() ? words_of(PackedDescriptor{.address = descriptor.address,
                                                                .length = descriptor.length,
                                                                .id = 5,
                                                                .flags = descriptor.flags})
                                    : words_of(SplitDescriptor{.address = descriptor.address,
                                                               .length = descriptor.length,
                                                               .flags = descriptor.flags,
                                                               .next = descriptor.next});
        ASSERT_TRUE(memory_->store(at, words));
    }

    /// Places descriptors in the ring from place 0 on, as they are, and makes one chain available.
    void offer_raw(const std::vector<Descriptor>& descriptors) {
        for (std::uint32_t i = 0; i < descriptors.size(); ++i) {
            Descriptor descriptor = descriptors[i];
            descriptor.flags |= packed() ? descriptor_flag::avail : std::uint16_t{0};
            write_descriptor(driver_->geometry().descriptor_area + i * descriptor_size, descriptor);
        }
        make_available(0);
    }

    void make_available(std::uint16_t head) {
        if (!packed()) {
            const memory::GuestAddress ring = driver_->geometry().driver_area;
            ASSERT_TRUE(memory_->store(ring + available_ring::entry(next_ % queue_size), head));
            ++next_;
            ASSERT_TRUE(memory_->store(ring + available_ring::index, next_));
        }
    }

    /// Links `descriptors` into a chain and offers it.
    void offer(std::vector<Descriptor> descriptors) {
        offer_raw(link(std::move(descriptors), true));
    }

    /// Links descriptors one after the other; packed tables need no NEXT.
    std::vector<Descriptor> link(std::vector<Descriptor> descriptors, bool in_ring) {
        for (std::size_t i = 0; i + 1 < descriptors.size(); ++i) {
            descriptors[i].next = static_cast<std::uint16_t>(i + 1);
            descriptors[i].flags |= !packed() || in_ring ? descriptor_flag::next : std::uint16_t{0};
        }
        return descriptors;
    }

    /// Writes a table of linked descriptors and returns the one that names it.
    Descriptor table(std::vector<Descriptor> descriptors, std::uint64_t at = table_at) {
        descriptors = link(std::move(descriptors), false);
        for (std::size_t i = 0; i < descriptors.size(); ++i) {
            write_descriptor({at + i * descriptor_size}, descriptors[i]);
        }
        return {.address = at,
                .length = static_cast<std::uint32_t>(descriptors.size() * descriptor_size),
                .flags = descriptor_flag::indirect};
    }

    /// What the offered chain breaks the queue with; the queue takes nothing and keeps nothing.
    QueueFault fault_of(std::vector<Descriptor> descriptors) {
        restart(feature::indirect_desc);
        offer(std::move(descriptors));
        return fault_now();
    }

    QueueFault fault_now() {
        Chain chain = queue_->pop();
        if (chain) {
            chain.abandon();
            EXPECT_EQ(queue_->fault(), QueueFault::none);
        } else {
            EXPECT_FALSE(queue_->pop());
            EXPECT_FALSE(queue_->enable_notifications() && queue_->broken());
        }
        EXPECT_EQ(queue_->in_flight(), 0U);
        return queue_->fault();
    }

    VirtioDriver::Options options_{.features = 0, .size = queue_size, .base = {0x1'0000}};
    /// Two pieces of RAM without a hole between them, and one far away.
    std::unique_ptr<memory::GuestMemory> memory_ = *memory::GuestMemory::create(
        {.pieces = {{{0}, mib}, {{mib}, mib}, {{high_ram}, high_ram_size}},
         .huge_pages = memory::HugePages::never});
    std::unique_ptr<VirtioDriver> driver_;
    std::unique_ptr<Queue> queue_;
    std::uint16_t next_ = 0;
};

constexpr std::uint16_t write_flag = descriptor_flag::write;

TEST_P(HostileRing, Class3_ADescriptorChangedAfterItWasTakenChangesNothing) {
    offer({{.length = 32}, {.length = 64, .flags = write_flag}});
    Chain chain = queue_->pop();
    ASSERT_TRUE(chain);
    ASSERT_TRUE(memory_->fill(driver_->geometry().descriptor_area, std::byte{0xFF},
                              queue_size * descriptor_size));
    ASSERT_EQ(chain.readable().size(), 1U);
    EXPECT_EQ(chain.readable()[0].iov_len, 32U);
    EXPECT_EQ(chain.readable()[0].iov_base, memory_->span({buffer_at}, 32).data());
    EXPECT_EQ(chain.writable_bytes(), 64U);
    EXPECT_TRUE(queue_->complete(std::move(chain), 64));
}

TEST_P(HostileRing, Class4_AHeadOutOfRangeAheadBreaksTheQueueOnlyWhenItIsReached) {
    if (packed()) {
        GTEST_SKIP() << "a packed ring has no heads";
    }
    write_descriptor(driver_->geometry().descriptor_area, {.length = 32});
    make_available(0);
    make_available(queue_size);
    make_available(0xFFFF);
    Chain chain = queue_->pop();
    ASSERT_TRUE(chain);
    EXPECT_EQ(chain.readable_bytes(), 32U);
    EXPECT_FALSE(queue_->broken());
    EXPECT_FALSE(queue_->pop());
    EXPECT_EQ(queue_->fault(), QueueFault::head_out_of_range);
    EXPECT_TRUE(queue_->complete(std::move(chain), 0));
}

TEST_P(HostileRing, Class4_BuffersAtTheEdgesOfRamAreTakenOnlyWhenWhollyInside) {
    const auto fault = [this](std::uint64_t address, std::uint32_t length) {
        return fault_of({{.address = address, .length = length}});
    };
    EXPECT_EQ(fault(2 * mib - 16, 16), QueueFault::none);
    EXPECT_EQ(fault(2 * mib - 15, 16), QueueFault::buffer_outside_ram);
    EXPECT_EQ(fault(2 * mib, 1), QueueFault::buffer_outside_ram);
    EXPECT_EQ(fault(high_ram - 1, 2), QueueFault::buffer_outside_ram);
    EXPECT_EQ(fault(high_ram, high_ram_size), QueueFault::none);
    EXPECT_EQ(fault(high_ram, high_ram_size + 1), QueueFault::buffer_outside_ram);
    EXPECT_EQ(fault(mib, 0xFFFF'FFFF), QueueFault::buffer_outside_ram);  // spans the hole
}

TEST_P(HostileRing, Class4_ABufferAcrossTwoPiecesWithoutAHoleBecomesTwoSegments) {
    offer({{.address = mib - 10, .length = 30}});
    Chain chain = queue_->pop();
    ASSERT_TRUE(chain);
    ASSERT_EQ(chain.readable().size(), 2U);
    EXPECT_EQ(chain.readable()[0].iov_len, 10U);
    EXPECT_EQ(chain.readable()[1].iov_len, 20U);
    EXPECT_EQ(chain.readable()[1].iov_base, memory_->span({mib}, 20).data());
    chain.abandon();
}

TEST_P(HostileRing, Class4_AReadableBufferBehindAWritableOneIsRefused) {
    EXPECT_EQ(fault_of({{.flags = write_flag}, {}}), QueueFault::readable_after_writable);
    EXPECT_EQ(fault_of({{}, {.flags = write_flag}, {}}), QueueFault::readable_after_writable);
    EXPECT_EQ(fault_of({table({{.flags = write_flag}, {}})}), QueueFault::readable_after_writable);
    EXPECT_EQ(fault_of({{}, {.flags = write_flag}}), QueueFault::none);
}

TEST_P(HostileRing, Class5_ALoopEndsAtTheQueueSize) {
    restart(0);
    std::vector<Descriptor> loop(queue_size, {.flags = descriptor_flag::next, .next = 0});
    offer_raw(loop);  // split: linked to itself; packed: no last one
    EXPECT_EQ(fault_now(), QueueFault::chain_loops);
    restart(0);
    loop[0].next = 1;  // split: a cycle of two
    offer_raw(loop);
    EXPECT_EQ(fault_now(), QueueFault::chain_loops);
}

TEST_P(HostileRing, Class5_AnIndirectTableThatLoopsEndsAtItsSize) {
    if (packed()) {
        GTEST_SKIP() << "packed tables are not linked";
    }
    restart(feature::indirect_desc);
    Descriptor named = table({{}, {}, {}});
    write_descriptor({table_at + 2 * descriptor_size}, {.flags = descriptor_flag::next, .next = 1});
    offer({named});
    EXPECT_EQ(fault_now(), QueueFault::chain_loops);
    restart(feature::indirect_desc);
    named = table({{}, {}, {}});
    write_descriptor({table_at + descriptor_size}, {.flags = descriptor_flag::next, .next = 3});
    offer({named});
    EXPECT_EQ(fault_now(), QueueFault::next_out_of_range);
}

TEST_P(HostileRing, Class5_ATableInATableIsRefused) {
    EXPECT_EQ(fault_of({table({{}, {.flags = descriptor_flag::indirect}})}),
              QueueFault::indirect_nested);
}

TEST_P(HostileRing, Class5_MoreBuffersThanTheDeviceTakesAreRefused) {
    const std::vector<Descriptor> most(segments_max, Descriptor{});
    EXPECT_EQ(fault_of({table(most)}), QueueFault::none);
    const std::vector<Descriptor> too_many(segments_max + 1, Descriptor{});
    EXPECT_EQ(fault_of({table(too_many)}), QueueFault::too_many_segments);
    EXPECT_EQ(fault_of({{}, table(most)}), QueueFault::too_many_segments);
}

TEST_P(HostileRing, Class5_AChainOfMoreThanFourGibIsRefused) {
    auto big = memory::GuestMemory::create({.pieces = {{{0}, mib}, {{mib}, std::uint64_t{8} << 30}},
                                            .huge_pages = memory::HugePages::never});
    ASSERT_TRUE(big.has_value());
    memory_ = std::move(*big);
    const Descriptor half{.address = mib, .length = 0x8000'0000};
    EXPECT_EQ(fault_of({half, half}), QueueFault::none);
    EXPECT_EQ(fault_of({half, half, {.length = 1}}), QueueFault::too_many_bytes);
}

TEST_P(HostileRing, Class6_LengthZeroIsRefusedInEachPlace) {
    for (std::size_t zero = 0; zero < 3; ++zero) {
        std::vector<Descriptor> chain(3);
        chain[zero].length = 0;
        EXPECT_EQ(fault_of(chain), QueueFault::zero_length) << zero;
        EXPECT_EQ(fault_of({table(chain)}), QueueFault::zero_length) << zero;
    }
    EXPECT_EQ(fault_of({{.length = 0, .flags = descriptor_flag::indirect}}),
              QueueFault::indirect_bad_size);
}

TEST_P(HostileRing, Class10_AddressesThatWrapAreRefused) {
    constexpr std::uint64_t top = std::numeric_limits<std::uint64_t>::max();
    EXPECT_EQ(fault_of({{.address = top - 7, .length = 16}}), QueueFault::buffer_outside_ram);
    EXPECT_EQ(fault_of({{.address = top, .length = 0xFFFF'FFFF}}), QueueFault::buffer_outside_ram);
    EXPECT_EQ(fault_of({{.address = top - 15, .length = 32, .flags = descriptor_flag::indirect}}),
              QueueFault::indirect_outside_ram);
}

TEST_P(HostileRing, IndirectDescriptorsKeepToTheirRules) {
    Descriptor named = table({{}, {}});
    named.length = 17;
    EXPECT_EQ(fault_of({named}), QueueFault::indirect_bad_size);
    EXPECT_EQ(fault_of({table({{}}), {}}), QueueFault::indirect_and_next);
    named.address = 2 * mib - 16;
    named.length = 32;
    EXPECT_EQ(fault_of({named}), QueueFault::indirect_outside_ram);
    restart(0);
    offer({table({{}})});
    EXPECT_EQ(fault_now(), QueueFault::indirect_not_negotiated);
}

TEST_P(HostileRing, ATableMayLieAtAnyAddressAndItsOwnWriteFlagMeansNothing) {
    restart(feature::indirect_desc);
    Descriptor named = table({{.length = 3}, {.length = 5, .flags = write_flag}}, table_at + 3);
    named.flags |= write_flag;
    offer({named});
    Chain chain = queue_->pop();
    ASSERT_TRUE(chain);
    EXPECT_EQ(chain.readable_bytes(), 3U);
    EXPECT_EQ(chain.writable_bytes(), 5U);
    chain.abandon();
}

TEST_P(HostileRing, Class4_IndicesPastTheTableAreRefused) {
    if (packed()) {
        GTEST_SKIP() << "packed rings have no indices";
    }
    for (const std::uint16_t head : {queue_size, std::uint16_t{0x7FFF}, std::uint16_t{0xFFFF}}) {
        restart(0);
        make_available(head);
        EXPECT_EQ(fault_now(), QueueFault::head_out_of_range);
        restart(0);
        offer_raw({{.flags = descriptor_flag::next, .next = head}});
        EXPECT_EQ(fault_now(), QueueFault::next_out_of_range);
    }
}

TEST_P(HostileRing, Class5_AnAvailableIndexThatJumpsIsRefused) {
    if (packed()) {
        GTEST_SKIP() << "packed rings have no indices";
    }
    const memory::GuestAddress index = driver_->geometry().driver_area + available_ring::index;
    for (const unsigned places : {queue_size + 1U, 0x7FFFU, 0x8000U, 0xFFFFU}) {
        restart(0);
        ASSERT_TRUE(memory_->store(index, static_cast<std::uint16_t>(places)));
        EXPECT_EQ(fault_now(), QueueFault::available_index_jumped);
        restart(0);
        ASSERT_TRUE(memory_->store(index, static_cast<std::uint16_t>(places)));
        EXPECT_FALSE(queue_->enable_notifications());
        EXPECT_TRUE(queue_->broken());
    }
}

TEST_P(HostileRing, Class21_ADeviceNeverHoldsMoreChainsThanTheQueueHasPlaces) {
    restart(0);
    std::vector<Chain> held;
    for (std::uint32_t i = 0; i < 4 * queue_size && !queue_->broken(); ++i) {
        // The same descriptor again and again, in a packed ring with the flags of each time round.
        const std::uint16_t flags =
            (i / queue_size) % 2 == 0 ? descriptor_flag::avail : descriptor_flag::used;
        write_descriptor(driver_->geometry().descriptor_area +
                             std::uint64_t{packed() ? i % queue_size : 0U} * descriptor_size,
                         {.flags = packed() ? flags : std::uint16_t{0}});
        make_available(0);
        if (Chain chain = queue_->pop()) {
            held.push_back(std::move(chain));
        }
    }
    EXPECT_EQ(held.size(), queue_size);
    EXPECT_EQ(queue_->fault(),
              packed() ? QueueFault::ring_overrun : QueueFault::available_index_jumped);
    for (Chain& chain : held) {
        queue_->push_used(std::move(chain), 0);
    }
    EXPECT_TRUE(queue_->publish());
    EXPECT_EQ(queue_->in_flight(), 0U);
}

TEST_P(HostileRing, Class5_AChainThatRunsIntoOneInFlightIsRefused) {
    if (!packed()) {
        GTEST_SKIP() << "split chains may share descriptors; their number is bounded";
    }
    restart(0);
    std::vector<Descriptor> ring(queue_size, {.flags = descriptor_flag::next});
    ring[0].flags = 0;
    offer_raw(ring);
    Chain first = queue_->pop();
    ASSERT_TRUE(first);
    EXPECT_FALSE(queue_->pop());
    EXPECT_EQ(queue_->fault(), QueueFault::ring_overrun);
    first.abandon();
}

TEST_P(HostileRing, Class2_AChainOutlivesItsQueue) {
    offer({{}});
    Chain chain = queue_->pop();
    ASSERT_TRUE(chain);
    queue_.reset();
    EXPECT_EQ(chain.readable_bytes(), 16U);
    chain.abandon();
}

TEST_P(HostileRing, Class2_ACompletionAfterAResetLeavesTheNewRingAlone) {
    offer({{.flags = write_flag}});
    Chain chain = queue_->pop();
    ASSERT_TRUE(chain);
    restart(0);
    queue_->push_used(std::move(chain), 16);
    EXPECT_FALSE(queue_->publish());
    EXPECT_EQ(queue_->position(), QueuePosition{});
}

TEST_P(HostileRing, Class12_AFaultLeavesWorkingChainsToFinish) {
    offer({{.flags = write_flag}});
    Chain good = queue_->pop();
    ASSERT_TRUE(good);
    if (packed()) {
        write_descriptor(driver_->geometry().descriptor_area + descriptor_size,
                         {.length = 0, .flags = descriptor_flag::avail});
    } else {
        make_available(queue_size);
    }
    EXPECT_FALSE(queue_->pop());
    EXPECT_TRUE(queue_->broken());
    EXPECT_TRUE(queue_->complete(std::move(good), 16));
    EXPECT_EQ(queue_->in_flight(), 0U);
}

TEST_P(HostileRing, Class20_RingsOfRandomBytesEndInAFaultOrInChainsThatAreRam) {
    std::mt19937_64 random(3);
    for (int round = 0; round < 3000; ++round) {
        restart(feature::indirect_desc | (round % 2 != 0 ? feature::event_idx : 0) |
                (round % 3 == 0 ? feature::in_order : 0));
        for (std::uint64_t offset = 0; offset < 0x4000; offset += 8) {
            // Mostly small numbers: they get further than noise does.
            const std::uint64_t value = random() & (random() % 4 == 0 ? ~0ULL : 0x7'0000'FFF0);
            ASSERT_TRUE(memory_->store(options_.base + offset, value));
        }
        std::vector<Chain> held;
        for (int i = 0; i < 50; ++i) {
            if (Chain chain = queue_->pop()) {
                ASSERT_LE(chain.readable().size() + chain.writable().size(), segments_max);
                held.push_back(std::move(chain));
            }
            static_cast<void>(queue_->enable_notifications());
            queue_->disable_notifications();
        }
        for (Chain& chain : held) {
            queue_->push_used(std::move(chain), 0);
        }
        static_cast<void>(queue_->publish());
        ASSERT_EQ(queue_->in_flight(), 0U);
    }
}

INSTANTIATE_TEST_SUITE_P(, HostileRing, ::testing::Bool(), [](const auto& test) {
    return std::string(test.param ? "Packed" : "Split");
});

}  // namespace
}  // namespace cupule::virtio
