#include "pci/bar_allocator.h"

#include <gtest/gtest.h>

#include <deque>

#include "io/io_dispatcher.h"
#include "pci/config_router.h"
#include "pci/root_port.h"

namespace cupule::pci {
namespace {

constexpr std::uint64_t mib = 1 << 20;

class BarAllocatorTest : public ::testing::Test {
  protected:
    Function& add(Bus& bus, unsigned device, std::initializer_list<BarSpec> bars) {
        functions_.emplace_back(Attributes{.vendor_id = 0x1AF4, .device_id = 0x1000});
        unsigned index = 0;
        for (const BarSpec& spec : bars) {
            functions_.back().add_bar(spec.kind == BarKind::rom ? rom_bar : index, spec);
            index += spec.kind == BarKind::memory_64 ? 2 : 1;
        }
        EXPECT_TRUE(bus.add(device, 0, functions_.back(), monitor_, "disk").has_value());
        return functions_.back();
    }

    io::IoDispatcher dispatcher_{1};
    event::Monitor monitor_;
    BusSpaces spaces_{.ports = dispatcher_.ports(), .memory = dispatcher_.mmio()};
    Bus bus_{spaces_};
    std::deque<Function> functions_;
};

TEST_F(BarAllocatorTest, PlacesBarsInOrderAlignedToTheirSize) {
    Function& first = add(bus_, 1,
                          {{.kind = BarKind::io, .size = 0x20},
                           {.kind = BarKind::memory_32, .size = 0x100},
                           {.kind = BarKind::memory_64, .size = 0x4000}});
    Function& second =
        add(bus_, 2,
            {{.kind = BarKind::io, .size = 0x40}, {.kind = BarKind::memory_32, .size = 0x1000}});
    ASSERT_TRUE(assign_resources(bus_, {}).has_value());
    EXPECT_EQ(first.bar(0).address, 0x2000U);
    EXPECT_EQ(first.bar(1).address, 0x8000'0000U);
    EXPECT_EQ(first.bar(2).address, 0x8000'4000U);
    EXPECT_EQ(second.bar(0).address, 0x2040U);
    EXPECT_EQ(second.bar(1).address, 0x8000'8000U);
    EXPECT_TRUE(first.bar(0).decodes);
    EXPECT_TRUE(second.bar(1).decodes);
    EXPECT_EQ(first.read_config(config::command, 2), 0x7U);
}

TEST_F(BarAllocatorTest, SmallBarsDoNotShareAPage) {
    Function& function = add(
        bus_, 1,
        {{.kind = BarKind::memory_32, .size = 0x100}, {.kind = BarKind::memory_32, .size = 0x100}});
    ASSERT_TRUE(assign_resources(bus_, {}).has_value());
    EXPECT_EQ(function.bar(1).address, 0x8000'1000U);
}

TEST_F(BarAllocatorTest, OnlyLarge64BitBarsGoAbove4GiB) {
    Function& function = add(bus_, 1,
                             {{.kind = BarKind::memory_64, .size = 32 * mib},
                              {.kind = BarKind::memory_64, .size = 64 * mib}});
    ASSERT_TRUE(assign_resources(bus_, {}).has_value());
    EXPECT_EQ(function.bar(0).address, 0x8000'0000U);
    EXPECT_EQ(function.bar(2).address, 0x40'0000'0000U);
}

TEST_F(BarAllocatorTest, ARomGetsAnAddressAndStaysOff) {
    Function& function = add(bus_, 1, {{.kind = BarKind::rom, .size = 0x1'0000}});
    ASSERT_TRUE(assign_resources(bus_, {}).has_value());
    EXPECT_EQ(function.bar(rom_bar).address, 0x8000'0000U);
    EXPECT_FALSE(function.bar(rom_bar).decodes);
}

TEST_F(BarAllocatorTest, AFunctionWithoutBarsMayStillWriteMemory) {
    Function& function = add(bus_, 1, {});
    ASSERT_TRUE(assign_resources(bus_, {}).has_value());
    EXPECT_EQ(function.read_config(config::command, 2), Command::bus_master.mask);
}

TEST_F(BarAllocatorTest, BusMasteringIsLeftToTheDriverOfAFunctionThatWantsItSo) {
    Function function({.vendor_id = 0x8086, .device_id = 0x15F2, .bus_mastering_off = true});
    function.add_bar(0, {.kind = BarKind::memory_32, .size = 0x1000});
    ASSERT_TRUE(bus_.add(1, 0, function, monitor_, "card").has_value());
    ASSERT_TRUE(assign_resources(bus_, {}).has_value());
    EXPECT_EQ(function.read_config(config::command, 2), Command::memory_space.mask);
}

TEST_F(BarAllocatorTest, WhatDoesNotFitIsRefusedByName) {
    add(bus_, 1, {{.kind = BarKind::memory_32, .size = 1024 * mib}});
    add(bus_, 2, {{.kind = BarKind::memory_32, .size = 1024 * mib}});
    const auto result = assign_resources(bus_, {});
    ASSERT_FALSE(result.has_value());
    EXPECT_NE(result.error().message.find("'disk': BAR0"), std::string::npos);
    EXPECT_NE(result.error().message.find("32-bit memory"), std::string::npos);
}

TEST_F(BarAllocatorTest, AWindowIsUsedUpToItsLastByte) {
    add(bus_, 1, {{.kind = BarKind::memory_32, .size = 1024 * mib}});
    Function& last = add(bus_, 2, {{.kind = BarKind::memory_32, .size = 512 * mib}});
    ASSERT_TRUE(assign_resources(bus_, {}).has_value());
    EXPECT_EQ(last.bar(0).address, 0xC000'0000U);
}

TEST_F(BarAllocatorTest, AfterAResetTheSameAddressesComeBack) {
    Function& function = add(bus_, 1, {{.kind = BarKind::memory_32, .size = 0x1000}});
    ASSERT_TRUE(assign_resources(bus_, {}).has_value());
    const auto before = function.bar(0).address;
    function.write_config(config::bar0, 4, 0x9000'0000);
    function.reset();
    EXPECT_FALSE(function.bar(0).decodes);
    ASSERT_TRUE(assign_resources(bus_, {}).has_value());
    EXPECT_EQ(function.bar(0).address, before);
}

TEST_F(BarAllocatorTest, BridgesGetNumbersAndWindowsAroundWhatIsBehindThem) {
    RootPort outer({.vendor_id = 0x8086, .device_id = 0x9D14}, spaces_, 1);
    RootPort empty({.vendor_id = 0x8086, .device_id = 0x9D14}, spaces_, 2);
    ASSERT_TRUE(bus_.add(1, 0, outer.bridge(), monitor_, "outer").has_value());
    ASSERT_TRUE(bus_.add(2, 0, empty.bridge(), monitor_, "empty").has_value());
    add(bus_, 0, {{.kind = BarKind::memory_32, .size = 0x1000}});
    Function& behind = add(outer.bridge().secondary(), 0,
                           {{.kind = BarKind::io, .size = 0x20},
                            {.kind = BarKind::memory_32, .size = 0x1000},
                            {.kind = BarKind::memory_64, .size = 64 * mib, .prefetchable = true},
                            {.kind = BarKind::memory_64, .size = 0x1000}});
    ASSERT_TRUE(assign_resources(bus_, {}).has_value());
    Function& port = outer.bridge().function();
    EXPECT_EQ(port.read_config(0x18, 4), 0x0001'0100U);
    EXPECT_EQ(behind.bar(1).address, 0x8010'0000U);
    EXPECT_EQ(behind.bar(2).address, 0x40'0000'0000U);
    EXPECT_EQ(port.read_config(0x1C, 2), 0x2020U);       // I/O 0x2000 to 0x2FFF
    EXPECT_EQ(port.read_config(0x20, 4), 0x8010'8010U);  // one MiB
    EXPECT_EQ(port.read_config(0x24, 4), 0x03F1'0001U);  // 64 MiB above
    EXPECT_EQ(port.read_config(0x28, 4), 0x40U);
    EXPECT_EQ(port.read_config(0x2C, 4), 0x40U);
    Function& closed = empty.bridge().function();
    EXPECT_EQ(closed.read_config(0x18, 4), 0x0002'0200U);
    EXPECT_EQ(closed.read_config(0x1C, 2), 0x00F0U);  // base above limit
    EXPECT_EQ(closed.read_config(0x20, 4), 0x0000'FFF0U);
    EXPECT_EQ(closed.read_config(0x24, 4), 0x0001'FFF1U);
    ConfigRouter router(bus_);
    EXPECT_EQ(router.read_config({.bus = 1}, 0, 4), 0x1000'1AF4U);
}

}  // namespace
}  // namespace cupule::pci
