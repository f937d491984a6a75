#include "pci/function.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <random>
#include <vector>

#include "io/io_dispatcher.h"
#include "pci/bus.h"
#include "pci/config_router.h"
#include "pci/express_capability.h"
#include "pci/msi.h"
#include "pci/power_management.h"
#include "testing/config_range.h"
#include "testing/device_contract.h"
#include "testing/fake_lines.h"

namespace cupule::pci {
namespace {

/// Answers reads with its tag in every byte and remembers the last write.
class Region : public io::IoHandler {
  public:
    explicit Region(std::uint8_t tag) : tag_(tag) {}
    std::uint64_t read(std::uint64_t /*offset*/, unsigned /*size*/) override {
        return 0x0101'0101'0101'0101ULL * tag_;
    }
    void write(std::uint64_t offset, unsigned /*size*/, std::uint64_t value) override {
        last_offset = offset;
        last_value = value;
    }
    std::uint64_t last_offset = 0;
    std::uint64_t last_value = 0;

  private:
    std::uint8_t tag_;
};

class Mapper : public BarMapper {
  public:
    void bar_moved(unsigned bar, std::optional<std::uint64_t> address) override {
        calls.emplace_back(bar, address);
    }
    std::vector<std::pair<unsigned, std::optional<std::uint64_t>>> calls;
};

constexpr Attributes test_attributes{.vendor_id = 0x1AF4,
                                     .device_id = 0x1042,
                                     .subsystem_vendor_id = 0x1AF4,
                                     .subsystem_id = 0x0002,
                                     .revision = 1,
                                     .class_code = 0x01'00'00,
                                     .express = true,
                                     .uses_intx = true};

class FunctionTest : public ::testing::Test {
  protected:
    FunctionTest() {
        function_.add_bar(0, {.kind = BarKind::io, .size = 0x20, .handler = &io_});
        function_.add_bar(1, {.kind = BarKind::memory_32, .size = 0x1000, .handler = &memory_});
        function_.add_bar(2, {.kind = BarKind::memory_64,
                              .size = 0x4000,
                              .prefetchable = true,
                              .handler = &wide_,
                              .mapper = &mapper_});
        function_.add_bar(rom_bar, {.kind = BarKind::rom, .size = 0x1'0000, .handler = &rom_});
        EXPECT_TRUE(bus_.add(3, 0, function_, monitor_, "test").has_value());
        function_.connect_intx(1, &line_);
    }
    std::uint64_t config(std::uint64_t offset, unsigned size = 4) {
        return function_.read_config(offset, size);
    }
    void write(std::uint64_t offset, std::uint64_t value, unsigned size = 4) {
        function_.write_config(offset, size, value);
    }
    void command(std::uint16_t value) { write(config::command, value, 2); }
    std::uint64_t mmio(std::uint64_t address, unsigned size = 4) {
        io::IoRequest request{
            .kind = io::IoKind::mmio, .size = static_cast<std::uint8_t>(size), .address = address};
        dispatcher_.handle(request);
        return request.value;
    }
    std::uint64_t port(std::uint64_t address) {
        io::IoRequest request{.kind = io::IoKind::port, .size = 1, .address = address};
        dispatcher_.handle(request);
        return request.value;
    }

    io::IoDispatcher dispatcher_{1};
    event::Monitor monitor_;
    Region io_{0x11};
    Region memory_{0x22};
    Region wide_{0x33};
    Region rom_{0x44};
    Mapper mapper_;
    testing::FakeLevelLine line_;
    Bus bus_{{.ports = dispatcher_.ports(), .memory = dispatcher_.mmio()}};
    Function function_{test_attributes};
};

constexpr std::uint16_t io_on = Command::io_space.mask;
constexpr std::uint16_t memory_on = Command::memory_space.mask;

TEST_F(FunctionTest, ShowsItsAttributesAndNoGuestCanWriteThem) {
    for (std::uint64_t offset = 0; offset < 0x100; offset += 4) {
        write(offset, 0);
        write(offset, 0xFFFF'FFFF);
    }
    EXPECT_EQ(config(0x00), 0x1042'1AF4U);
    EXPECT_EQ(config(0x08), 0x0100'0001U);
    EXPECT_EQ(config(0x0E, 1), 0U);
    EXPECT_EQ(config(0x2C), 0x0002'1AF4U);
    EXPECT_EQ(config(0x3D, 1), 1U);
    EXPECT_EQ(config(0x04, 2), 0x0547U);
}

TEST_F(FunctionTest, SizesAsLinuxFindsThem) {
    // Linux: decode off, write ones, read back, restore.
    command(0);
    for (std::uint64_t bar = 0x10; bar <= 0x30; bar += 4) {
        write(bar, bar == 0x30 ? 0xFFFF'F800 : 0xFFFF'FFFF);
    }
    EXPECT_EQ(config(0x10), 0xFFFF'FFE1U);
    EXPECT_EQ(config(0x14), 0xFFFF'F000U);
    EXPECT_EQ(config(0x18), 0xFFFF'C00CU);
    EXPECT_EQ(config(0x1C), 0xFFFF'FFFFU);
    EXPECT_EQ(config(0x20), 0U);  // no such BAR
    EXPECT_EQ(config(0x24), 0U);
    EXPECT_EQ(config(0x30), 0xFFFF'0000U);
    EXPECT_TRUE(dispatcher_.mmio().describe().empty());
    EXPECT_TRUE(dispatcher_.ports().describe().empty());
}

TEST_F(FunctionTest, BarsDecodeOnlyWhileTheirCommandBitIsOn) {
    write(0x10, 0x2000);
    write(0x14, 0x8000'0000);
    EXPECT_EQ(port(0x2000), 0xFFU);
    command(io_on);
    EXPECT_EQ(port(0x2000), 0x11U);
    EXPECT_EQ(mmio(0x8000'0000), 0xFFFF'FFFFU);
    command(memory_on);
    EXPECT_EQ(port(0x2000), 0xFFU);
    EXPECT_EQ(mmio(0x8000'0000), 0x2222'2222U);
    command(0);
    EXPECT_EQ(mmio(0x8000'0000), 0xFFFF'FFFFU);
}

TEST_F(FunctionTest, ABarMovesWithDecodeOn) {
    write(0x14, 0x8000'0000);
    command(memory_on);
    write(0x14, 0x9000'0000);
    EXPECT_EQ(mmio(0x8000'0000), 0xFFFF'FFFFU);
    EXPECT_EQ(mmio(0x9000'0FFC), 0x2222'2222U);
    EXPECT_EQ(mmio(0x9000'1000), 0xFFFF'FFFFU);
}

TEST_F(FunctionTest, ABarMovesByByteLanes) {
    write(0x14, 0x8000'0000);
    command(memory_on);
    write(0x17, 0x90, 1);
    write(0x15, 0x5F, 1);  // bits 11:8 are size bits and stay zero
    EXPECT_EQ(config(0x14), 0x9000'5000U);
    EXPECT_EQ(mmio(0x9000'5000), 0x2222'2222U);
}

TEST_F(FunctionTest, A64BitBarMovesByHalves) {
    command(memory_on);
    write(0x18, 0x0000'4000);
    write(0x1C, 0x40);
    EXPECT_EQ(mmio(0x40'0000'4000, 8), 0x3333'3333'3333'3333U);
    EXPECT_EQ(config(0x18), 0x0000'400CU);
    write(0x1C, 0);
    EXPECT_EQ(mmio(0x40'0000'4000), 0xFFFF'FFFFU);
    EXPECT_EQ(mmio(0x4000), 0x3333'3333U);
}

TEST_F(FunctionTest, SizingWithDecodeOnMapsNothingAtTheTopOf4GiB) {
    write(0x14, 0x8000'0000);
    command(memory_on);
    write(0x14, 0xFFFF'FFFF);
    EXPECT_EQ(config(0x14), 0xFFFF'F000U);
    EXPECT_TRUE(dispatcher_.mmio().describe().empty());
    write(0x14, 0x8000'0000);
    EXPECT_EQ(mmio(0x8000'0000), 0x2222'2222U);
}

TEST_F(FunctionTest, AnAddressOutsideTheSpaceDecodesNowhere) {
    command(memory_on | io_on);
    write(0x1C, 0xFFFF'FFFF);
    write(0x18, 0);
    write(0x10, 0xFFFF'FFE0);
    EXPECT_TRUE(dispatcher_.mmio().describe().empty());
    EXPECT_TRUE(dispatcher_.ports().describe().empty());
}

TEST_F(FunctionTest, TheRomNeedsItsOwnEnableBitToo) {
    write(0x30, 0xA000'0000);
    command(memory_on);
    EXPECT_EQ(mmio(0xA000'0000), 0xFFFF'FFFFU);
    write(0x30, 0xA000'0001);
    EXPECT_EQ(mmio(0xA000'0000), 0x4444'4444U);
}

TEST_F(FunctionTest, TheMapperHearsEachChangeOnce) {
    write(0x18, 0x8001'0000);
    EXPECT_TRUE(mapper_.calls.empty());
    command(memory_on);
    command(memory_on | io_on);
    write(0x18, 0x8002'0000);
    command(0);
    using Call = std::pair<unsigned, std::optional<std::uint64_t>>;
    EXPECT_EQ(mapper_.calls,
              (std::vector<Call>{{2, 0x8001'0000}, {2, 0x8002'0000}, {2, std::nullopt}}));
}

TEST_F(FunctionTest, OfTwoOverlappingBarsTheFirstMappedAnswersAndTheOtherAppearsWhenItGoes) {
    Region other_region{0x55};
    Function other(test_attributes);
    event::Monitor other_monitor;
    other.add_bar(0, {.kind = BarKind::memory_32, .size = 0x2000, .handler = &other_region});
    Bus second{{.ports = dispatcher_.ports(), .memory = dispatcher_.mmio()}};
    ASSERT_TRUE(second.add(4, 0, other, other_monitor, "other").has_value());
    write(0x14, 0x8000'0000);
    command(memory_on);
    other.write_config(0x10, 4, 0x8000'0000);
    other.write_config(config::command, 2, memory_on);
    EXPECT_EQ(mmio(0x8000'0000), 0x2222'2222U);
    EXPECT_EQ(mmio(0x8000'1000), 0x5555'5555U);
    write(0x14, 0x9000'0000);
    EXPECT_EQ(mmio(0x8000'0000), 0x5555'5555U);
}

TEST_F(FunctionTest, RegionsAreEnteredUnderTheMonitorWithOffsetsFromTheBar) {
    write(0x14, 0x8000'0000);
    command(memory_on);
    io::IoRequest request{.kind = io::IoKind::mmio,
                          .direction = io::IoDirection::write,
                          .size = 4,
                          .address = 0x8000'0104,
                          .value = 0xABCD};
    dispatcher_.handle(request);
    EXPECT_EQ(memory_.last_offset, 0x104U);
    EXPECT_EQ(memory_.last_value, 0xABCDU);
}

TEST_F(FunctionTest, IntxFollowsTheDeviceTheDisableBitAndTheStatus) {
    function_.intx().set_level(true);
    EXPECT_TRUE(line_.level);
    EXPECT_EQ(config(0x06, 2) & 0x8U, 0x8U);
    command(Command::interrupt_disable.mask);
    EXPECT_FALSE(line_.level);
    EXPECT_EQ(config(0x06, 2) & 0x8U, 0x8U);
    command(0);
    EXPECT_TRUE(line_.level);
    function_.intx().set_level(false);
    EXPECT_FALSE(line_.level);
    EXPECT_EQ(config(0x06, 2) & 0x8U, 0U);
}

TEST_F(FunctionTest, ResetTakesBarsDownAndTheLineLow) {
    write(0x14, 0x8000'0000);
    command(memory_on);
    function_.intx().set_level(true);
    function_.reset();
    EXPECT_EQ(config(0x14), 0U);
    EXPECT_EQ(config(0x04, 2), 0U);
    EXPECT_EQ(mmio(0x8000'0000), 0xFFFF'FFFFU);
    EXPECT_FALSE(line_.level);
    EXPECT_EQ(config(0x3D, 1), 1U);
}

TEST_F(FunctionTest, WithoutABusMappersAreToldAllTheSame) {
    Function alone(test_attributes);
    Mapper mapper;
    alone.add_bar(0, {.kind = BarKind::memory_32, .size = 0x1000, .mapper = &mapper});
    alone.write_config(0x10, 4, 0x8000'0000);
    alone.write_config(config::command, 2, memory_on);
    EXPECT_EQ(mapper.calls.size(), 1U);
    alone.intx().set_level(true);
}

TEST_F(FunctionTest, AFunctionThatGoesTakesItsRangesWithIt) {
    Bus second{{.ports = dispatcher_.ports(), .memory = dispatcher_.mmio()}};
    {
        Function passing(test_attributes);
        passing.add_bar(0, {.kind = BarKind::memory_32, .size = 0x1000, .handler = &memory_});
        ASSERT_TRUE(second.add(0, 0, passing, monitor_, "passing").has_value());
        passing.assign_bar(0, 0x8000'0000);
        passing.write_config(config::command, 2, memory_on);
        ASSERT_EQ(mmio(0x8000'0000), 0x2222'2222U);
    }
    EXPECT_TRUE(dispatcher_.mmio().describe().empty());
}

class Events : public FunctionEvents {
  public:
    explicit Events(Function& function) : function_(function) {}
    void config_reading(std::uint64_t /*offset*/, unsigned /*size*/) override {
        function_.config().set<std::uint32_t>(0x40, ++reads);
    }
    void config_written(std::uint64_t offset, unsigned size) override {
        writes.emplace_back(offset, size);
    }
    void function_level_reset() override { ++resets; }
    std::uint32_t reads = 0;
    std::vector<std::pair<std::uint64_t, unsigned>> writes;
    int resets = 0;

  private:
    Function& function_;
};

TEST(Function, EventsComeBeforeReadsAndAfterStoredWrites) {
    Function function(test_attributes);
    Events events(function);
    function.set_events(&events);
    EXPECT_EQ(function.read_config(0x40, 4), 1U);
    EXPECT_EQ(function.read_config(0x40, 4), 2U);
    function.write_config(0x3C, 1, 5);
    function.write_config(0x3D, 2, 5);  // unaligned: not stored, not told
    EXPECT_EQ(events.writes, (std::vector<std::pair<std::uint64_t, unsigned>>{{0x3C, 1}}));
}

TEST(ExpressCapability, FunctionLevelResetResetsTheSpaceAndTellsTheDevice) {
    Function function(test_attributes);
    ExpressCapability express(function, {.function_level_reset = true});
    Events events(function);
    function.set_events(&events);
    function.write_config(config::command, 2, 0x7);
    function.write_config(express.offset() + 8U, 2, 0x8000);
    EXPECT_EQ(events.resets, 1);
    EXPECT_EQ(function.read_config(config::command, 2), 0U);
    EXPECT_EQ(function.read_config(express.offset() + 8U, 2), 0x2810U);
}

TEST(ExpressCapability, WithoutFlrTheBitDoesNothing) {
    Function function(test_attributes);
    ExpressCapability express(function, {});
    Events events(function);
    function.set_events(&events);
    function.write_config(express.offset() + 8U, 2, 0xFFFF);
    EXPECT_EQ(events.resets, 0);
    EXPECT_EQ(function.read_config(express.offset() + 8U, 2), 0x78FFU);
}

TEST(ExpressCapability, IntegratedEndpointsHaveNoLink) {
    Function function(test_attributes);
    ExpressCapability express(function, {.type = ExpressType::integrated_endpoint});
    EXPECT_EQ(function.read_config(express.offset() + 2U, 2), 0x0092U);
    EXPECT_EQ(function.read_config(express.offset() + 0x0CU, 4), 0U);
    EXPECT_EQ(function.read_config(express.offset() + 0x12U, 2), 0U);
}

TEST(PowerManagement, InD3HotBarsDoNotDecodeAndIntxIsSilent) {
    Function function(test_attributes);
    PowerManagement power(function);
    Mapper mapper;
    testing::FakeLevelLine line;
    function.connect_intx(1, &line);
    function.add_bar(0, {.kind = BarKind::memory_32, .size = 0x1000, .mapper = &mapper});
    function.assign_bar(0, 0x8000'0000);
    function.write_config(config::command, 2, memory_on);
    function.intx().set_level(true);
    function.write_config(0x44, 2, 3);
    EXPECT_FALSE(function.bar(0).decodes);
    EXPECT_FALSE(line.level);
    function.write_config(0x44, 2, 0);
    EXPECT_TRUE(function.bar(0).decodes);
    EXPECT_TRUE(line.level);
}

TEST(PowerManagement, InD3HotMessagesWaitForD0WhateverTheOrderOfTheCapabilities) {
    Function function(test_attributes);
    testing::FakeMessageSink sink;
    Msi msi(function, sink, 1);
    PowerManagement power(function);
    const std::uint64_t state = msi.offset() + Msi::length({}) + 4ULL;
    function.write_config(msi.offset() + 2U, 2, 1);
    function.write_config(config::command, 2, 0x4);
    function.write_config(state, 2, 3);
    EXPECT_EQ(function.read_config(state, 2) & 3, 3U);
    EXPECT_FALSE(function.bus_master());
    EXPECT_EQ(function.read_config(config::command, 2), 0x4U);
    msi.notify(0);
    EXPECT_TRUE(sink.messages.empty());
    function.write_config(state, 2, 0);
    EXPECT_TRUE(function.bus_master());
    EXPECT_EQ(sink.messages.size(), 1U);
}

TEST(PowerManagement, StatesThatAreNotOfferedAreNotEntered) {
    Function function(test_attributes);
    PowerManagement power(function);
    function.write_config(0x44, 2, 1);
    EXPECT_EQ(function.read_config(0x44, 2), 0x8U);
    function.write_config(0x44, 2, 3);
    function.write_config(0x44, 2, 2);
    EXPECT_EQ(function.read_config(0x44, 2), 0xBU);
}

TEST(FunctionDeathTest, WrongBarsAreOurFault) {
    Function function(test_attributes);
    EXPECT_DEATH(function.add_bar(0, {.size = 0x1001}), "power_of_two");
    EXPECT_DEATH(function.add_bar(5, {.kind = BarKind::memory_64, .size = 0x1000}), "plain_bars");
    function.add_bar(0, {.kind = BarKind::memory_64, .size = 0x1000});
    EXPECT_DEATH(function.add_bar(1, {.size = 0x1000}), "memory_64");
}

/// A whole device: a function with every kind of BAR and part, on a bus.
class Device : public snapshot::Device {
  public:
    Device() {
        function.add_bar(0, {.kind = BarKind::io, .size = 0x20, .handler = &region});
        function.add_bar(1, {.kind = BarKind::memory_32, .size = 0x1000, .handler = &region});
        function.add_bar(2, {.kind = BarKind::memory_64, .size = 0x4000, .handler = &region});
        function.add_bar(rom_bar, {.kind = BarKind::rom, .size = 0x1'0000, .handler = &region});
        EXPECT_TRUE(bus.add(3, 0, function, monitor, "device").has_value());
        function.connect_intx(1, &line);
    }
    void reset() override { function.reset(); }
    void visit(snapshot::Visitor& visitor) override { function.visit(visitor); }

    io::IoDispatcher dispatcher{1};
    event::Monitor monitor;
    Region region{0x11};
    testing::FakeLevelLine line;
    Bus bus{{.ports = dispatcher.ports(), .memory = dispatcher.mmio()}};
    Function function{test_attributes};
    ExpressCapability express{function, {.function_level_reset = true}};
    PowerManagement power{function};
    testing::ConfigRange config{function};
};

testing::ContractSubject make_subject() {
    auto device = std::make_shared<Device>();
    return {.owner = device,
            .device = device.get(),
            .ranges = {{.handler = &device->config, .size = express_config_size}},
            .disturb = [device](std::uint64_t random) {
                device->function.intx().set_level((random & 1) != 0);
            }};
}
CUPULE_DEVICE_CONTRACT(Function, make_subject)

TEST(Function, RandomConfigWritesKeepItsPromises) {
    Device device;
    Function& function = device.function;
    std::mt19937_64 random(11);
    for (int i = 0; i < 30'000; ++i) {
        const std::uint64_t offset = random() % 4 == 0 ? 0x10 + random() % 0x24 : random() % 0x110;
        function.write_config(offset, 1U << (random() % 4), random());
        function.intx().set_level(random() % 2 == 0);
        const std::uint64_t command = function.read_config(config::command, 2);
        const std::uint64_t status = function.read_config(config::status, 2);
        const bool asserted = (status & 8) != 0 && (command & 0x400) == 0;
        ASSERT_EQ(device.line.level, asserted);
        ASSERT_EQ(function.read_config(0, 4), 0x1042'1AF4U);
        ASSERT_TRUE((command & 1) != 0 || device.dispatcher.ports().describe().empty());
        ASSERT_TRUE((command & 2) != 0 || device.dispatcher.mmio().describe().empty());
        for (const unsigned bar : {0U, 1U, 2U, rom_bar}) {
            const BarState state = function.bar(bar);
            ASSERT_EQ(state.address % state.size, 0U);
        }
    }
}

}  // namespace
}  // namespace cupule::pci
