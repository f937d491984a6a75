#include "virtio/queue_config.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "virtio/features.h"

namespace cupule::virtio {
namespace {

constexpr std::uint64_t ram_size = 4 << 20;

class QueueConfigTest : public ::testing::Test {
  protected:
    static QueueConfig make(std::uint16_t size, std::uint64_t descriptors = 0x1000,
                            std::uint64_t driver = 0x10'0000, std::uint64_t device = 0x20'0000) {
        QueueConfig config({.size_max = 32768});
        EXPECT_TRUE(config.set_size(size));
        EXPECT_TRUE(config.set_area(QueueArea::descriptors, {descriptors}));
        EXPECT_TRUE(config.set_area(QueueArea::driver, {driver}));
        EXPECT_TRUE(config.set_area(QueueArea::device, {device}));
        config.enable();
        return config;
    }

    QueueFault fault_of(QueueConfig config, std::uint64_t features = 0) {
        const auto queue = std::move(config).activate(*memory_, features);
        return queue ? QueueFault::none : queue.error();
    }

    std::unique_ptr<memory::GuestMemory> memory_ = *memory::GuestMemory::create(
        {.pieces = {{{0}, ram_size}}, .huge_pages = memory::HugePages::never});
};

TEST_F(QueueConfigTest, ShowsTheOfferedSizeAndTakesNoneAboveItNorZero) {
    QueueConfig config({.size_max = 256});
    EXPECT_EQ(config.size(), 256);
    EXPECT_FALSE(config.set_size(0));
    EXPECT_FALSE(config.set_size(257));
    EXPECT_FALSE(config.set_size(0xFFFF));
    EXPECT_EQ(config.size(), 256);
    EXPECT_TRUE(config.set_size(16));
    EXPECT_EQ(config.size(), 16);
}

TEST_F(QueueConfigTest, TakesNothingOnceEnabled) {
    QueueConfig config = make(64);
    const QueueGeometry before = config.geometry();
    EXPECT_FALSE(config.set_size(32));
    EXPECT_FALSE(config.set_area(QueueArea::descriptors, {0x5000}));
    EXPECT_FALSE(config.set_area(QueueArea::driver, {0x5000}));
    EXPECT_FALSE(config.set_area(QueueArea::device, {0x5000}));
    EXPECT_EQ(config.geometry(), before);
}

TEST_F(QueueConfigTest, Class11_EverySizeEitherSuitsTheFormatOrIsRefused) {
    for (std::uint32_t size = 1; size <= queue_size_limit; ++size) {
        const auto value = static_cast<std::uint16_t>(size);
        const bool power = base::is_power_of_two(size);
        ASSERT_EQ(fault_of(make(value)), power ? QueueFault::none : QueueFault::size_not_allowed);
        ASSERT_EQ(fault_of(make(value), feature::ring_packed), QueueFault::none);
    }
}

TEST_F(QueueConfigTest, WantsTheAlignmentOfTheFormat) {
    EXPECT_EQ(fault_of(make(8, 0x1008)), QueueFault::area_misaligned);
    EXPECT_EQ(fault_of(make(8, 0x1000, 0x2001)), QueueFault::area_misaligned);
    EXPECT_EQ(fault_of(make(8, 0x1000, 0x2002)), QueueFault::none);
    EXPECT_EQ(fault_of(make(8, 0x1000, 0x2000, 0x3002)), QueueFault::area_misaligned);
    EXPECT_EQ(fault_of(make(8, 0x1000, 0x2002), feature::ring_packed), QueueFault::area_misaligned);
    EXPECT_EQ(fault_of(make(8, 0x1000, 0x2004, 0x3004), feature::ring_packed), QueueFault::none);
}

TEST_F(QueueConfigTest, Class4_EachAreaMustLieWhollyInRam) {
    EXPECT_EQ(fault_of(make(8, ram_size - 128)), QueueFault::none);
    EXPECT_EQ(fault_of(make(8, ram_size - 112)), QueueFault::area_outside_ram);
    EXPECT_EQ(fault_of(make(8, 0x1000, ram_size - 22)), QueueFault::none);  // 6 + 2 * 8
    EXPECT_EQ(fault_of(make(8, 0x1000, ram_size - 20)), QueueFault::area_outside_ram);
    EXPECT_EQ(fault_of(make(8, 0x1000, 0x2000, ram_size - 72)), QueueFault::none);  // 6 + 8 * 8
    EXPECT_EQ(fault_of(make(8, 0x1000, 0x2000, ram_size - 68)), QueueFault::area_outside_ram);
    EXPECT_EQ(fault_of(make(8, ~std::uint64_t{15})), QueueFault::area_outside_ram);
    EXPECT_EQ(fault_of(make(8, 0x1000, ~std::uint64_t{3}, 0x3000), feature::ring_packed),
              QueueFault::area_outside_ram);
}

TEST_F(QueueConfigTest, Class13_RestoredPositionsAreChecked) {
    QueueConfig config = make(8);
    config.set_position({.next_available = 8, .next_used = 0});
    EXPECT_EQ(fault_of(config, feature::ring_packed), QueueFault::position_not_allowed);
    config.set_position({.next_available = 0, .next_used = 0xFFFF});
    EXPECT_EQ(fault_of(config, feature::ring_packed), QueueFault::position_not_allowed);
    config.set_position({.next_available = 0xFFFF, .next_used = 0xFFFF});
    EXPECT_EQ(fault_of(config), QueueFault::none);  // split: free-running
    const QueuePosition position{
        .next_available = 5, .next_used = 5, .available_wrap = false, .used_wrap = false};
    config.set_position(position);
    const auto queue = std::move(config).activate(*memory_, feature::ring_packed);
    ASSERT_TRUE(queue.has_value());
    EXPECT_EQ(queue->position(), position);
}

TEST_F(QueueConfigTest, Class1_NothingADriverWritesReachesARunningQueue) {
    QueueRegisters registers({.size_max = 256});
    ASSERT_TRUE(registers.set_size(64));
    ASSERT_TRUE(registers.set_area(QueueArea::descriptors, {0x1000}));
    ASSERT_TRUE(registers.set_area(QueueArea::driver, {0x2000}));
    ASSERT_TRUE(registers.set_area(QueueArea::device, {0x3000}));
    ASSERT_TRUE(registers.enable());
    auto queue = registers.activate(*memory_, 0);
    ASSERT_TRUE(queue.has_value());
    const QueueGeometry running = queue->geometry();
    EXPECT_TRUE(registers.running());
    for (std::uint32_t value = 0; value <= 0xFFFF; ++value) {
        ASSERT_FALSE(registers.set_size(static_cast<std::uint16_t>(value)));
        ASSERT_FALSE(registers.set_area(QueueArea::descriptors, {value * 16}));
        ASSERT_FALSE(registers.set_area(QueueArea::driver, {value * 16}));
        ASSERT_FALSE(registers.set_area(QueueArea::device, {value * 16}));
        ASSERT_FALSE(registers.enable());
    }
    EXPECT_EQ(queue->geometry(), running);
    EXPECT_EQ(registers.geometry(), running);
    EXPECT_EQ(registers.area(QueueArea::device).value, 0x3000U);
    registers.reset();
    EXPECT_EQ(registers.size(), 256);
    EXPECT_FALSE(registers.enabled());
    EXPECT_TRUE(registers.set_size(32));
}

TEST_F(QueueConfigTest, AFaultAtActivationLeavesTheQueueConfigurable) {
    QueueRegisters registers({.size_max = 256});
    ASSERT_TRUE(registers.set_size(3));
    ASSERT_TRUE(registers.enable());
    const auto queue = registers.activate(*memory_, 0);
    ASSERT_FALSE(queue.has_value());
    EXPECT_EQ(queue.error(), QueueFault::size_not_allowed);
    EXPECT_FALSE(registers.running());
    registers.reset();
    EXPECT_EQ(registers.size(), 256);
}

}  // namespace
}  // namespace cupule::virtio
