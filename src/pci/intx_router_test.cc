#include "pci/intx_router.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <tuple>
#include <vector>

#include "io/io_dispatcher.h"
#include "pci/root_port.h"

namespace cupule::pci {
namespace {

class Controller : public irq::InterruptController {
  public:
    void send(const irq::MsiMessage& /*message*/) override {}
    void set_gsi_level(irq::Gsi gsi, bool asserted) override { levels[gsi.value] = asserted; }
    unsigned gsi_count() const override { return 48; }
    std::map<std::uint32_t, bool> levels;
};

class IntxRouterTest : public ::testing::Test {
  protected:
    Function& add(Bus& bus, unsigned device, unsigned number, bool uses_intx = true) {
        functions_.emplace_back(
            Attributes{.vendor_id = 0x1AF4, .device_id = 0x1000, .uses_intx = uses_intx});
        EXPECT_TRUE(bus.add(device, number, functions_.back(), monitor_, "test").has_value());
        return functions_.back();
    }
    using Row = std::tuple<unsigned, unsigned, unsigned, unsigned>;
    std::vector<Row> table() const {
        std::vector<Row> rows;
        for (const IntxRoute& route : router_.routes()) {
            rows.emplace_back(route.device, route.pin, route.gsi.value, route.link);
        }
        return rows;
    }
    static std::uint64_t pin(Function& function) {
        return function.read_config(config::interrupt_pin, 1);
    }

    io::IoDispatcher dispatcher_{1};
    event::Monitor monitor_;
    Controller controller_;
    irq::InterruptRouter interrupts_{controller_};
    irq::GsiAllocator gsis_{irq::Gsi{16}, irq::Gsi{23}};
    PirqRouter pirqs_{interrupts_};
    IntxRouter router_{interrupts_, gsis_, pirqs_};
    BusSpaces spaces_{.ports = dispatcher_.ports(), .memory = dispatcher_.mmio()};
    Bus bus_{spaces_};
    std::deque<Function> functions_;
};

TEST_F(IntxRouterTest, GivesGsisFrom16AndLinksInTurn) {
    add(bus_, 0, 0, false);
    Function& three = add(bus_, 3, 0);
    Function& five = add(bus_, 5, 0);
    router_.connect(bus_);
    EXPECT_EQ(table(), (std::vector<Row>{{3, 1, 16, 0}, {5, 1, 17, 1}}));
    EXPECT_EQ(pin(three), 1U);
    EXPECT_EQ(pin(five), 1U);
    EXPECT_EQ(pin(functions_[0]), 0U);
}

TEST_F(IntxRouterTest, FunctionsOfADeviceTakeTheLeastUsedLetterAndShareAfterFour) {
    for (unsigned number = 0; number < 6; ++number) {
        EXPECT_EQ(pin(add(bus_, 2, number)), 0U);
    }
    router_.connect(bus_);
    std::vector<std::uint64_t> pins;
    for (Function& function : functions_) {
        pins.push_back(pin(function));
    }
    EXPECT_EQ(pins, (std::vector<std::uint64_t>{1, 2, 3, 4, 1, 2}));
    EXPECT_EQ(table(),
              (std::vector<Row>{{2, 1, 16, 0}, {2, 2, 17, 1}, {2, 3, 18, 2}, {2, 4, 19, 3}}));
}

TEST_F(IntxRouterTest, SharedGsisAndLinksAreWiredOrs) {
    for (unsigned device = 0; device < 9; ++device) {
        add(bus_, device, 0);
    }
    router_.connect(bus_);
    EXPECT_EQ(table().back(), (Row{8, 1, 16, 0}));
    functions_[0].intx().set_level(true);
    functions_[8].intx().set_level(true);
    functions_[0].intx().set_level(false);
    EXPECT_TRUE(controller_.levels[16]);
    functions_[8].intx().set_level(false);
    EXPECT_FALSE(controller_.levels[16]);
}

TEST_F(IntxRouterTest, APinDrivesItsGsiAndItsPirqsIrqAtOnce) {
    Function& function = add(bus_, 3, 0);
    router_.connect(bus_);
    ASSERT_TRUE(router_.link_irqs()[0].has_value());
    EXPECT_EQ(router_.link_irqs()[0], 3);
    pirqs_.route(0, 3);
    function.intx().set_level(true);
    EXPECT_TRUE(controller_.levels[16]);
    EXPECT_TRUE(controller_.levels[3]);
    function.intx().set_level(false);
    EXPECT_FALSE(controller_.levels[16]);
    EXPECT_FALSE(controller_.levels[3]);
}

TEST_F(IntxRouterTest, LinksTakeTheLeastUsedIrqsAndAvoidReservedOnes) {
    for (const unsigned irq : {3U, 4U, 12U, 14U}) {
        router_.reserve_irq(irq);
    }
    router_.count_irq_use(9);  // the SCI
    for (unsigned device = 0; device < 8; ++device) {
        add(bus_, device, 0);
    }
    router_.connect(bus_);
    std::vector<unsigned> irqs;
    for (const auto& irq : router_.link_irqs()) {
        irqs.push_back(irq.value_or(0));
    }
    EXPECT_EQ(irqs, (std::vector<unsigned>{5, 6, 7, 10, 11, 15, 5, 6}));
}

TEST_F(IntxRouterTest, TheSciIsSharedOnlyWhenNothingElseIsFree) {
    for (const unsigned irq : {3U, 4U, 5U, 6U, 7U, 10U, 12U, 14U, 15U}) {
        router_.reserve_irq(irq);
    }
    router_.count_irq_use(9);
    add(bus_, 1, 0);
    add(bus_, 2, 0);
    router_.connect(bus_);
    EXPECT_EQ(router_.link_irqs()[0], 11);
    EXPECT_EQ(router_.link_irqs()[1], 9);
    EXPECT_EQ(router_.link_irqs()[2], std::nullopt);
}

TEST_F(IntxRouterTest, InterruptLineRegistersHoldTheLinksIrq) {
    Function& function = add(bus_, 3, 0);
    router_.connect(bus_);
    router_.assign_interrupt_lines();
    EXPECT_EQ(function.read_config(config::interrupt_line, 1), 3U);
}

TEST_F(IntxRouterTest, DevicesBehindABridgeArriveSwizzledAtItsDevice) {
    RootPort port({.vendor_id = 0x8086, .device_id = 0x9D14}, spaces_, 1);
    ASSERT_TRUE(bus_.add(0x1C, 0, port.bridge(), monitor_, "port").has_value());
    Function& first = add(port.bridge().secondary(), 0, 0);
    add(port.bridge().secondary(), 1, 0);
    Function& fifth = add(port.bridge().secondary(), 5, 0);
    router_.connect(bus_);
    EXPECT_EQ(pin(first), 1U);
    EXPECT_EQ(pin(fifth), 1U);
    // Device 0 arrives at INTA, devices 1 and 5 at INTB.
    EXPECT_EQ(table(), (std::vector<Row>{{0x1C, 1, 16, 0}, {0x1C, 2, 17, 1}}));
    fifth.intx().set_level(true);
    EXPECT_TRUE(controller_.levels[17]);
}

TEST_F(IntxRouterTest, TwoBridgesSwizzleTwice) {
    RootPort outer({.vendor_id = 0x8086, .device_id = 0x9D14}, spaces_, 1);
    RootPort inner({.vendor_id = 0x8086, .device_id = 0x9D14}, spaces_, 2);
    ASSERT_TRUE(bus_.add(4, 0, outer.bridge(), monitor_, "outer").has_value());
    ASSERT_TRUE(outer.bridge().secondary().add(2, 0, inner.bridge(), monitor_, "inner"));
    add(inner.bridge().secondary(), 1, 0);
    router_.connect(bus_);
    // INTA of device 1 is INTB at the inner bridge, which is device 2 there: INTD at device 4.
    EXPECT_EQ(table(), (std::vector<Row>{{4, 4, 16, 0}}));
}

TEST_F(IntxRouterTest, ConnectingAgainKeepsWhatIsAndAddsTheNew) {
    add(bus_, 3, 0);
    router_.connect(bus_);
    add(bus_, 1, 0);
    router_.connect(bus_);
    EXPECT_EQ(table(), (std::vector<Row>{{1, 1, 17, 1}, {3, 1, 16, 0}}));
}

}  // namespace
}  // namespace cupule::pci
