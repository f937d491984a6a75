#include "virtio/descriptor_chain.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "memory/guest_memory.h"
#include "virtio/chain_builder.h"
#include "virtio/notification.h"
#include "virtio/queue_config.h"

namespace cupule::virtio {
namespace {

/// Memory whose byte at address n is n, and chains over it without a ring.
class ChainTest : public ::testing::Test {
  protected:
    ChainTest() {
        for (std::uint64_t i = 0; i < 0x1000; ++i) {
            EXPECT_TRUE(memory_->store({i}, static_cast<std::uint8_t>(i)));
        }
    }
    ~ChainTest() override { chain_.abandon(); }

    struct Part {
        std::uint64_t address = 0;
        std::uint32_t length = 0;
        bool writable = false;
    };

    void build(const std::vector<Part>& parts) {
        chain_.abandon();
        ChainSlot& slot = pool_->take();
        ChainBuilder builder(*memory_, 1024, true, slot);
        for (const Part& part : parts) {
            EXPECT_EQ(builder.add(part.address, part.length, part.writable), QueueFault::none);
        }
        chain_ = Chain(slot);
    }

    std::unique_ptr<memory::GuestMemory> memory_ = *memory::GuestMemory::create(
        {.pieces = {{{0}, 1 << 20}}, .huge_pages = memory::HugePages::never});
    ChainPool::Owner pool_ = ChainPool::create();
    Chain chain_;
};

TEST_F(ChainTest, AReaderCrossesBuffersAndStopsAtTheEnd) {
    build({{0x10, 3}, {0x20, 1}, {0x30, 4}});
    ChainReader reader(chain_);
    EXPECT_EQ(reader.remaining(), 8U);
    EXPECT_EQ(reader.value<std::uint32_t>(), 0x2012'1110U);
    EXPECT_FALSE(reader.value<std::uint64_t>().has_value());
    EXPECT_EQ(reader.remaining(), 4U);
    std::array<std::byte, 8> rest{};
    EXPECT_EQ(reader.read(rest), 4U);
    EXPECT_EQ(rest[3], std::byte{0x33});
    EXPECT_EQ(reader.read(rest), 0U);
}

TEST_F(ChainTest, AWriterCountsWhatItWroteAndWritesNothingPastTheEnd) {
    build({{0x10, 3}, {0x100, 2, true}, {0x200, 3, true}});
    ChainWriter writer(chain_);
    EXPECT_TRUE(writer.value<std::uint32_t>(0xDDCC'BBAA));
    EXPECT_EQ(writer.written(), 4U);
    EXPECT_FALSE(writer.value<std::uint16_t>(0xFFFF));
    EXPECT_EQ(writer.write(std::array{std::byte{0xEE}, std::byte{0xFF}}), 1U);
    EXPECT_EQ(writer.written(), 5U);
    EXPECT_EQ(memory_->load<std::uint16_t>({0x100}), 0xBBAA);
    EXPECT_EQ(memory_->load<std::uint32_t>({0x200}), 0x03EE'DDCCU);
}

TEST_F(ChainTest, TakeListsTheRestForVectoredIo) {
    build({{0x10, 16}, {0x100, 100}, {0x200, 50}});
    ChainReader reader(chain_);
    ASSERT_TRUE(reader.skip(20));
    std::array<iovec, 4> list{};
    ASSERT_EQ(reader.take(110, list), 2U);
    EXPECT_EQ(list[0].iov_base, memory_->span({0x104}, 96).data());
    EXPECT_EQ(list[0].iov_len, 96U);
    EXPECT_EQ(list[1].iov_len, 14U);
    EXPECT_EQ(reader.remaining(), 36U);
    EXPECT_FALSE(reader.skip(37));
    EXPECT_EQ(reader.take(1000, std::span(list).first(0)), 0U);
    EXPECT_EQ(reader.remaining(), 36U);
    EXPECT_EQ(reader.take(1000, list), 1U);
    EXPECT_EQ(reader.take(1000, list), 0U);
}

TEST_F(ChainTest, AChainOfManyBuffersKeepsThemAllInOrder) {
    std::vector<Part> parts;
    for (std::uint32_t i = 0; i < 1000; ++i) {
        parts.push_back({.address = i * 16, .length = 1 + i % 16, .writable = i >= 600});
    }
    build(parts);
    ASSERT_EQ(chain_.readable().size(), 600U);
    ASSERT_EQ(chain_.writable().size(), 400U);
    for (std::uint32_t i = 0; i < 1000; ++i) {
        const iovec& segment = i < 600 ? chain_.readable()[i] : chain_.writable()[i - 600];
        ASSERT_EQ(segment.iov_base, memory_->span({i * 16}, 1).data());
        ASSERT_EQ(segment.iov_len, 1 + i % 16);
    }
}

TEST_F(ChainTest, AMovedChainEndsOnce) {
    build({{0x10, 3}});
    Chain moved = std::move(chain_);
    EXPECT_FALSE(chain_);  // NOLINT: that it is empty is the point
    EXPECT_EQ(pool_->in_flight(), 1U);
    moved.abandon();
    moved.abandon();
    EXPECT_EQ(pool_->in_flight(), 0U);
    EXPECT_EQ(pool_->lost(), 0U);
}

using ChainDeathTest = ChainTest;

/// What a forgotten chain does depends on the build; it is never silent.
TEST_F(ChainDeathTest, Class12_AForgottenChainIsNoticed) {
    build({{0x10, 3}});
    if (Chain::loss_is_fatal) {
        EXPECT_DEATH({ const Chain forgotten = std::move(chain_); }, "loss_is_fatal");
        return;
    }
    { const Chain forgotten = std::move(chain_); }
    EXPECT_EQ(pool_->lost(), 1U);
    EXPECT_EQ(pool_->in_flight(), 0U);
}

TEST(Notification, SplitsWhatADriverWrote) {
    const Notification packed = Notification::parse(0x8005'0003);
    EXPECT_EQ(packed.queue, 3);
    EXPECT_EQ(packed.next_offset, 5);
    EXPECT_TRUE(packed.next_wrap);
    EXPECT_EQ(Notification::parse(0xFFFE'0001).available_index(), 0xFFFE);
    EXPECT_EQ(Notification::parse(0x7FFE'0001).available_index(), 0x7FFE);
}

/// The rings written and read as plain bytes, so that driver model and engine cannot share a
/// mistake about where things are.
TEST(RingBytes, ASplitRingIsLaidOutAsTheSpecificationSays) {
    const auto memory = *memory::GuestMemory::create(
        {.pieces = {{{0}, 1 << 20}}, .huge_pages = memory::HugePages::never});
    QueueConfig config({.size_max = 4});
    ASSERT_TRUE(config.set_area(QueueArea::descriptors, {0x1000}));
    ASSERT_TRUE(config.set_area(QueueArea::driver, {0x2000}));
    ASSERT_TRUE(config.set_area(QueueArea::device, {0x3000}));
    Queue queue = *std::move(config).activate(*memory, std::uint64_t{1} << 29);
    // Descriptor 2: address 0x8000, length 0x30, flags WRITE, next 0.
    const std::array<std::uint8_t, 16> descriptor{0, 0x80, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 2};
    ASSERT_TRUE(memory->store({0x1020}, descriptor));
    // flags 0, index 1, ring {2, 0, 0, 0}, used_event 0.
    ASSERT_TRUE(memory->store({0x2000}, std::array<std::uint8_t, 14>{0, 0, 1, 0, 2}));
    Chain chain = queue.pop();
    ASSERT_TRUE(chain);
    EXPECT_EQ(chain.id(), 2);
    EXPECT_EQ(chain.writable_bytes(), 0x30U);
    EXPECT_TRUE(queue.complete(std::move(chain), 0x21));
    EXPECT_FALSE(queue.enable_notifications());
    using Used = std::array<std::uint8_t, 38>;
    const Used expected{0, 0, 1, 0, 2, 0, 0, 0, 0x21};
    Used used = *memory->load<Used>({0x3000});
    EXPECT_EQ(used[36], 1);  // avail_event
    used[36] = 0;
    EXPECT_EQ(used, expected);
}

TEST(RingBytes, APackedRingIsLaidOutAsTheSpecificationSays) {
    const auto memory = *memory::GuestMemory::create(
        {.pieces = {{{0}, 1 << 20}}, .huge_pages = memory::HugePages::never});
    QueueConfig config({.size_max = 3});
    ASSERT_TRUE(config.set_area(QueueArea::descriptors, {0x1000}));
    ASSERT_TRUE(config.set_area(QueueArea::driver, {0x2000}));
    ASSERT_TRUE(config.set_area(QueueArea::device, {0x3000}));
    Queue queue =
        *std::move(config).activate(*memory, (std::uint64_t{1} << 34) | (std::uint64_t{1} << 29));
    using Bytes = std::array<std::uint8_t, 16>;
    // Address 0x8000, length 0x30, id 7, flags WRITE | AVAIL.
    ASSERT_TRUE(
        memory->store({0x1000}, Bytes{0, 0x80, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 7, 0, 0x82, 0x00}));
    Chain chain = queue.pop();
    ASSERT_TRUE(chain);
    EXPECT_EQ(chain.id(), 7);
    EXPECT_TRUE(queue.complete(std::move(chain), 0x21));
    // Length and id, flags WRITE | AVAIL | USED; the address stays.
    EXPECT_EQ(memory->load<Bytes>({0x1000}),
              (Bytes{0, 0x80, 0, 0, 0, 0, 0, 0, 0x21, 0, 0, 0, 7, 0, 0x82, 0x80}));
    EXPECT_FALSE(queue.enable_notifications());
    // Offset 1, wrap 1; flags DESC.
    EXPECT_EQ(memory->load<std::uint32_t>({0x3000}), 0x0002'8001U);
}

}  // namespace
}  // namespace cupule::virtio
