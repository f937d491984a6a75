#include "device/bridge/lpc_bridge.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "testing/config_range.h"
#include "testing/device_contract.h"

namespace cupule::device {
namespace {

class Controller : public irq::InterruptController {
  public:
    void send(const irq::MsiMessage& /*message*/) override {}
    void set_gsi_level(irq::Gsi gsi, bool asserted) override { levels[gsi.value] = asserted; }
    unsigned gsi_count() const override { return 24; }
    std::map<std::uint32_t, bool> levels;
};

struct Bench {
    Controller controller;
    irq::InterruptRouter interrupts{controller};
    pci::PirqRouter pirqs{interrupts};
    LpcBridge bridge{pirqs};
    testing::ConfigRange config{bridge.function()};
};

testing::ContractSubject make_subject() {
    auto bench = std::make_shared<Bench>();
    return {.owner = bench,
            .device = &bench->bridge,
            .ranges = {{.handler = &bench->config, .size = pci::conventional_config_size}}};
}
CUPULE_DEVICE_CONTRACT(LpcBridge, make_subject)

TEST(LpcBridge, IsAnIsaBridge) {
    Bench bench;
    EXPECT_EQ(bench.config.read(0x00, 4), 0x7000'8086U);
    EXPECT_EQ(bench.config.read(0x0A, 2), 0x0601U);
}

TEST(LpcBridge, EveryLinkIsDisabledAtPowerOn) {
    Bench bench;
    EXPECT_EQ(bench.config.read(0x60, 4), 0x8080'8080U);
    EXPECT_EQ(bench.config.read(0x68, 4), 0x8080'8080U);
    const auto pin = bench.pirqs.make_pin(0);
    pin->set_level(true);
    EXPECT_TRUE(bench.controller.levels.empty());
}

TEST(LpcBridge, KeepsOnlyTheBitsOfARoute) {
    Bench bench;
    bench.config.write(0x60, 1, 0x7F);
    EXPECT_EQ(bench.config.read(0x60, 1), 0x0FU);
}

TEST(LpcBridge, ALinkRoutedWhileAssertedDrivesItsIrqAndMovesWithTheRoute) {
    Bench bench;
    const auto pin = bench.pirqs.make_pin(4);  // PIRQE
    pin->set_level(true);
    bench.config.write(0x68, 1, 0x05);
    EXPECT_TRUE(bench.controller.levels[5]);
    bench.config.write(0x68, 1, 0x0B);
    EXPECT_FALSE(bench.controller.levels[5]);
    EXPECT_TRUE(bench.controller.levels[11]);
    bench.config.write(0x68, 1, 0x8B);
    EXPECT_FALSE(bench.controller.levels[11]);
}

TEST(LpcBridge, ARouteToAnIrqThatIsNotPermittedLeadsNowhere) {
    Bench bench;
    const auto pin = bench.pirqs.make_pin(0);
    pin->set_level(true);
    for (const std::uint32_t irq : {0U, 1U, 2U, 8U, 13U}) {
        bench.config.write(0x60, 1, irq);
        EXPECT_FALSE(bench.controller.levels[irq]) << irq;
    }
}

TEST(LpcBridge, TwoLinksOnOneIrqAreAWiredOr) {
    Bench bench;
    bench.config.write(0x60, 2, 0x0A0A);
    const auto first = bench.pirqs.make_pin(0);
    const auto second = bench.pirqs.make_pin(1);
    first->set_level(true);
    second->set_level(true);
    first->set_level(false);
    EXPECT_TRUE(bench.controller.levels[10]);
    second->set_level(false);
    EXPECT_FALSE(bench.controller.levels[10]);
}

TEST(LpcBridge, ResetTakesTheRoutesAway) {
    Bench bench;
    bench.config.write(0x61, 1, 0x07);
    const auto pin = bench.pirqs.make_pin(1);
    pin->set_level(true);
    bench.bridge.reset();
    EXPECT_FALSE(bench.controller.levels[7]);
}

TEST(LpcBridge, FirmwareProgramsLinksAndLeavesUnusedOnesDisabled) {
    Bench bench;
    bench.bridge.program_links({5, std::nullopt, 10});
    EXPECT_EQ(bench.config.read(0x60, 4), 0x800A'8005U);
}

}  // namespace
}  // namespace cupule::device
