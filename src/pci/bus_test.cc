#include "pci/bus.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>

#include "io/io_dispatcher.h"
#include "pci/config_mechanism.h"
#include "pci/config_router.h"
#include "pci/root_port.h"
#include "testing/config_range.h"
#include "testing/device_contract.h"

namespace cupule::pci {
namespace {

constexpr Attributes endpoint(std::uint16_t device_id, bool express = false) {
    return {.vendor_id = 0x1AF4, .device_id = device_id, .express = express};
}
constexpr Attributes port_ids{.vendor_id = 0x8086, .device_id = 0x9D14};

class ResetRegister : public io::IoHandler {
  public:
    std::uint64_t read(std::uint64_t /*offset*/, unsigned /*size*/) override { return value; }
    void write(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t written) override {
        value = written;
    }
    std::uint64_t value = 0x06;
};

class BusTest : public ::testing::Test {
  protected:
    BusTest() {
        dispatcher_.set_pci_config(&router_);
        map(dispatcher_.ports(), ConfigMechanism::first_port, ConfigMechanism::port_count,
            mechanism_);
        map(dispatcher_.mmio(), 0xE000'0000, 256 * Ecam::size_of_bus, ecam_);
    }
    static void map(io::AddressSpace& space, std::uint64_t base, std::uint64_t size,
                    io::IoHandler& handler) {
        EXPECT_TRUE(
            space.map_fixed({.base = base, .size = size, .handler = &handler, .name = "config"})
                .has_value());
    }
    void add(unsigned device, unsigned number, Function& function) {
        ASSERT_TRUE(bus_.add(device, number, function, monitor_, "test").has_value());
    }
    std::uint64_t in(std::uint64_t port, unsigned size) {
        io::IoRequest request{
            .kind = io::IoKind::port, .size = static_cast<std::uint8_t>(size), .address = port};
        dispatcher_.handle(request);
        return request.value;
    }
    void out(std::uint64_t port, unsigned size, std::uint64_t value) {
        io::IoRequest request{.kind = io::IoKind::port,
                              .direction = io::IoDirection::write,
                              .size = static_cast<std::uint8_t>(size),
                              .address = port,
                              .value = value};
        dispatcher_.handle(request);
    }
    std::uint64_t mmio(std::uint64_t address, unsigned size) {
        io::IoRequest request{
            .kind = io::IoKind::mmio, .size = static_cast<std::uint8_t>(size), .address = address};
        dispatcher_.handle(request);
        return request.value;
    }
    std::uint64_t id(std::uint8_t bus, std::uint8_t device, std::uint8_t function = 0) {
        return router_.read_config({.bus = bus, .device = device, .function = function}, 0, 4);
    }

    io::IoDispatcher dispatcher_{1};
    event::Monitor monitor_;
    BusSpaces spaces_{.ports = dispatcher_.ports(), .memory = dispatcher_.mmio()};
    Bus bus_{spaces_};
    ConfigRouter router_{bus_};
    event::Monitor reset_monitor_;
    ResetRegister reset_register_;
    ConfigMechanism mechanism_{router_, &reset_register_, &reset_monitor_};
    Ecam ecam_{router_};
    Function first_{endpoint(0x1001)};
    Function second_{endpoint(0x1002)};
};

TEST_F(BusTest, AnEmptyPlaceReadsOnesAndDropsWrites) {
    EXPECT_EQ(id(0, 5), 0xFFFF'FFFFU);
    router_.write_config({.device = 5}, 4, 2, 7);
    EXPECT_EQ(id(0, 31, 7), 0xFFFF'FFFFU);
    EXPECT_EQ(router_.function_name({.device = 5}), "");
}

TEST_F(BusTest, AccessesWithADeviceOrFunctionThatCannotBeReadOnes) {
    EXPECT_EQ(id(0, 32), 0xFFFF'FFFFU);
    EXPECT_EQ(id(0, 0, 8), 0xFFFF'FFFFU);
}

TEST_F(BusTest, ATakenPlaceIsRefusedNamingBoth) {
    add(3, 0, first_);
    const auto result = bus_.add(3, 0, second_, monitor_, "other");
    ASSERT_FALSE(result.has_value());
    EXPECT_NE(result.error().message.find("3:0"), std::string::npos);
    EXPECT_NE(result.error().message.find("'other'"), std::string::npos);
    EXPECT_NE(result.error().message.find("'test'"), std::string::npos);
    EXPECT_FALSE(bus_.add(32, 0, second_, monitor_, "other").has_value());
    EXPECT_FALSE(bus_.add(0, 8, second_, monitor_, "other").has_value());
}

TEST_F(BusTest, TheMultiFunctionBitIsSetWhereADeviceHasSeveralFunctions) {
    add(3, 0, first_);
    EXPECT_EQ(first_.read_config(config::header_type, 1), 0x00U);
    add(3, 1, second_);
    EXPECT_EQ(first_.read_config(config::header_type, 1), 0x80U);
    EXPECT_EQ(second_.read_config(config::header_type, 1), 0x80U);
    first_.reset();
    EXPECT_EQ(first_.read_config(config::header_type, 1), 0x80U);
}

TEST_F(BusTest, ADeviceWithoutFunctionZeroIsAConfigurationError) {
    add(3, 0, first_);
    EXPECT_TRUE(bus_.validate().has_value());
    add(4, 2, second_);
    const auto result = bus_.validate();
    ASSERT_FALSE(result.has_value());
    EXPECT_NE(result.error().message.find("4:2"), std::string::npos);
}

TEST_F(BusTest, FindsTheLowestFreeDevice) {
    EXPECT_EQ(bus_.free_device(), 0U);
    add(0, 0, first_);
    add(1, 3, second_);
    EXPECT_EQ(bus_.free_device(), 2U);
}

TEST_F(BusTest, Cf8SelectsAndCfcReadsByLanes) {
    add(3, 0, first_);
    out(0xCF8, 4, 0x8000'1800);
    EXPECT_EQ(in(0xCF8, 4), 0x8000'1800U);
    EXPECT_EQ(in(0xCFC, 4), 0x1001'1AF4U);
    EXPECT_EQ(in(0xCFE, 2), 0x1001U);
    EXPECT_EQ(in(0xCFD, 1), 0x1AU);
    EXPECT_EQ(in(0xCFD, 2), 0xFFFFU);  // not naturally aligned
}

TEST_F(BusTest, CfcWritesByLanes) {
    add(3, 0, first_);
    out(0xCF8, 4, 0x8000'183C);
    out(0xCFC, 1, 0x0B);
    EXPECT_EQ(first_.read_config(config::interrupt_line, 1), 0x0BU);
    out(0xCF8, 4, 0x8000'1804);
    out(0xCFC, 2, 0x0007);
    EXPECT_EQ(first_.read_config(config::command, 2), 0x0007U);
}

TEST_F(BusTest, WithoutTheEnableBitTheDataWindowIsDead) {
    add(3, 0, first_);
    out(0xCF8, 4, 0x0000'1804);
    EXPECT_EQ(in(0xCFC, 4), 0xFFFF'FFFFU);
    out(0xCFC, 2, 0x0007);
    EXPECT_EQ(first_.read_config(config::command, 2), 0U);
}

TEST_F(BusTest, Cf8ReachesExtendedRegistersByBits27To24) {
    Function express(endpoint(0x1003, true));
    express.config().add_extended_capability(0x1F, 1, 12);
    add(6, 0, express);
    out(0xCF8, 4, 0x8100'3000);
    EXPECT_EQ(in(0xCFC, 4), 0x0001'001FU);
}

TEST_F(BusTest, NarrowAccessesAtCf8AreOrdinaryPorts) {
    out(0xCF8, 4, 0x8000'1800);
    out(0xCF8, 1, 0x55);
    out(0xCFA, 2, 0x5555);
    EXPECT_EQ(in(0xCF8, 4), 0x8000'1800U);
    EXPECT_EQ(in(0xCF8, 1), 0xFFU);
    EXPECT_EQ(in(0xCFA, 2), 0xFFFFU);
}

TEST_F(BusTest, BytesAtCf9ReachTheResetControlRegister) {
    EXPECT_EQ(in(0xCF9, 1), 0x06U);
    out(0xCF9, 1, 0x0E);
    EXPECT_EQ(reset_register_.value, 0x0EU);
    EXPECT_EQ(in(0xCF8, 2), 0x0EFFU);
    out(0xCF8, 4, 0x8000'0600);
    EXPECT_EQ(reset_register_.value, 0x0EU);
}

TEST_F(BusTest, APortAccessAcrossBothRegistersIsMadeOfBytes) {
    add(0, 0, first_);
    out(0xCF8, 4, 0x8000'0000);
    EXPECT_EQ(in(0xCFA, 4), 0x1AF4'FFFFU);
    EXPECT_EQ(in(0xCFE, 4) & 0xFFFFU, 0x1001U);
}

TEST_F(BusTest, EcamReachesEachFunctionAndSplitsQwords) {
    add(3, 0, first_);
    add(3, 5, second_);
    EXPECT_EQ(mmio(0xE000'0000 + (3 << 15), 4), 0x1001'1AF4U);
    EXPECT_EQ(mmio(0xE000'0000 + (3 << 15) + (5 << 12), 4), 0x1002'1AF4U);
    EXPECT_EQ(mmio(0xE000'0000 + (3 << 15), 8), 0x1001'1AF4U);
    EXPECT_EQ(mmio(0xE000'0001 + (3 << 15), 2), 0xFFFFU);
    EXPECT_EQ(mmio(0xE000'0000 + (3 << 15) + 0x100, 4), 0xFFFF'FFFFU);
    EXPECT_EQ(mmio(0xE000'0000 + (255ULL << 20), 4), 0xFFFF'FFFFU);
}

TEST_F(BusTest, TheDispatcherAnswersPciRequestsByBdf) {
    add(3, 0, first_);
    io::IoRequest request{
        .kind = io::IoKind::pci_config, .size = 2, .bdf = {.device = 3}, .address = 2};
    dispatcher_.handle(request);
    EXPECT_EQ(request.value, 0x1001U);
}

TEST_F(BusTest, AConfigWriteThroughEcamMovesABarWhileTheLookupIsHeld) {
    first_.add_bar(0, {.kind = BarKind::memory_32, .size = 0x1000, .handler = &reset_register_});
    add(3, 0, first_);
    const std::uint64_t at = 0xE000'0000 + (3 << 15);
    for (const auto& [offset, value] : {std::pair<std::uint64_t, std::uint64_t>{0x10, 0x8000'0000},
                                        {0x04, 0x2},
                                        {0x10, 0x9000'0000}}) {
        io::IoRequest request{.kind = io::IoKind::mmio,
                              .direction = io::IoDirection::write,
                              .size = 4,
                              .address = at + offset,
                              .value = value};
        dispatcher_.handle(request);
    }
    EXPECT_EQ(mmio(0x9000'0000, 4), 0x06U);
    EXPECT_EQ(mmio(0x8000'0000, 4), 0xFFFF'FFFFU);
}

TEST_F(BusTest, ABridgeRoutesByTheNumbersTheGuestWrites) {
    RootPort port(port_ids, spaces_, 1);
    ASSERT_TRUE(bus_.add(0x1C, 0, port.bridge(), monitor_, "port").has_value());
    ASSERT_TRUE(port.add(0, first_, monitor_, "behind").has_value());
    EXPECT_EQ(id(1, 0), 0xFFFF'FFFFU);
    router_.write_config({.device = 0x1C}, 0x18, 4, 0x0001'0100);
    EXPECT_EQ(id(1, 0), 0x1001'1AF4U);
    EXPECT_EQ(id(1, 1), 0xFFFF'FFFFU);
    EXPECT_EQ(id(2, 0), 0xFFFF'FFFFU);
    router_.write_config({.device = 0x1C}, 0x18, 4, 0x0007'0700);
    EXPECT_EQ(id(1, 0), 0xFFFF'FFFFU);
    EXPECT_EQ(id(7, 0), 0x1001'1AF4U);
    port.reset();
    EXPECT_EQ(id(7, 0), 0xFFFF'FFFFU);
}

TEST_F(BusTest, BridgesBehindBridgesRouteByTheSubordinateNumber) {
    RootPort outer(port_ids, spaces_, 1);
    RootPort inner(port_ids, spaces_, 2);
    ASSERT_TRUE(bus_.add(1, 0, outer.bridge(), monitor_, "outer").has_value());
    ASSERT_TRUE(outer.bridge().secondary().add(0, 0, inner.bridge(), monitor_, "inner"));
    ASSERT_TRUE(inner.add(0, first_, monitor_, "behind").has_value());
    router_.write_config({.device = 1}, 0x18, 4, 0x0002'0100);
    router_.write_config({.bus = 1}, 0x18, 4, 0x0002'0201);
    EXPECT_EQ(id(1, 0), 0x9D14'8086U);
    EXPECT_EQ(id(2, 0), 0x1001'1AF4U);
    // The inner bridge's numbers lie outside the outer's: nothing gets there.
    router_.write_config({.device = 1}, 0x1A, 1, 1);
    EXPECT_EQ(id(2, 0), 0xFFFF'FFFFU);
}

TEST_F(BusTest, NoBusNumbersSendRoutingInCircles) {
    RootPort outer(port_ids, spaces_, 1);
    RootPort inner(port_ids, spaces_, 2);
    ASSERT_TRUE(bus_.add(1, 0, outer.bridge(), monitor_, "outer").has_value());
    ASSERT_TRUE(outer.bridge().secondary().add(0, 0, inner.bridge(), monitor_, "inner"));
    for (unsigned numbers = 0; numbers < 0x1000; ++numbers) {
        const std::uint64_t outer_numbers = ((numbers & 0x3) << 8) | ((numbers & 0xC) << 14);
        const std::uint64_t inner_numbers = ((numbers & 0x30) << 4) | ((numbers & 0xC0) << 10);
        router_.write_config({.device = 1}, 0x18, 4, outer_numbers);
        for (std::uint8_t bus = 1; bus < 5; ++bus) {
            router_.write_config({.bus = bus}, 0x18, 4, inner_numbers);
        }
        ASSERT_EQ(id(0, 1), 0x9D14'8086U);
    }
}

TEST_F(BusTest, ValidationLooksBehindBridges) {
    RootPort port(port_ids, spaces_, 1);
    ASSERT_TRUE(bus_.add(1, 0, port.bridge(), monitor_, "port").has_value());
    ASSERT_TRUE(port.add(1, first_, monitor_, "behind").has_value());
    const auto result = bus_.validate();
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().message.find("port: "), 0U);
}

TEST(RootPort, HasABridgesHeaderAndAPortsCapability) {
    io::IoDispatcher dispatcher(1);
    RootPort port(port_ids, {.ports = dispatcher.ports(), .memory = dispatcher.mmio()}, 5);
    Function& function = port.bridge().function();
    EXPECT_EQ(function.read_config(0x0A, 2), 0x0604U);
    EXPECT_EQ(function.read_config(0x0E, 1), 0x01U);
    EXPECT_EQ(function.read_config(0x42, 2), 0x0042U);
    EXPECT_EQ(function.read_config(0x4C, 4) >> 24, 5U);
    function.write_config(0x1C, 4, 0xFFFF'FFFF);
    EXPECT_EQ(function.read_config(0x1C, 4), 0x0000'F0F0U);
    function.write_config(0x24, 4, 0xFFFF'FFFF);
    EXPECT_EQ(function.read_config(0x24, 4), 0xFFF1'FFF1U);
}

testing::ContractSubject make_port() {
    struct Bench {
        io::IoDispatcher dispatcher{1};
        RootPort port{port_ids, {.ports = dispatcher.ports(), .memory = dispatcher.mmio()}, 1};
        testing::ConfigRange config{port.bridge().function()};
    };
    auto bench = std::make_shared<Bench>();
    return {.owner = bench,
            .device = &bench->port,
            .ranges = {{.handler = &bench->config, .size = express_config_size}}};
}
CUPULE_DEVICE_CONTRACT(RootPort, make_port)

testing::ContractSubject make_mechanism() {
    struct Bench {
        io::IoDispatcher dispatcher{1};
        Bus bus{{.ports = dispatcher.ports(), .memory = dispatcher.mmio()}};
        ConfigRouter router{bus};
        ConfigMechanism mechanism{router, nullptr, nullptr};
        Ecam ecam{router};
    };
    auto bench = std::make_shared<Bench>();
    return {.owner = bench,
            .device = &bench->mechanism,
            .ranges = {{.handler = &bench->mechanism, .size = 8},
                       {.handler = &bench->ecam, .size = 2 * Ecam::size_of_bus}}};
}
CUPULE_DEVICE_CONTRACT(ConfigMechanism, make_mechanism)

}  // namespace
}  // namespace cupule::pci
