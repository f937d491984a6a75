#include "device/bridge/host_bridge.h"

#include <gtest/gtest.h>

#include <memory>

#include "testing/config_range.h"
#include "testing/device_contract.h"

namespace cupule::device {
namespace {

testing::ContractSubject make_subject() {
    struct Bench {
        HostBridge bridge;
        testing::ConfigRange config{bridge.function()};
    };
    auto bench = std::make_shared<Bench>();
    return {.owner = bench,
            .device = &bench->bridge,
            .ranges = {{.handler = &bench->config, .size = pci::express_config_size}}};
}
CUPULE_DEVICE_CONTRACT(HostBridge, make_subject)

TEST(HostBridge, IsAHostBridgeWithAcrnsIds) {
    HostBridge bridge;
    EXPECT_EQ(bridge.function().read_config(0x00, 4), 0x1275'1275U);
    EXPECT_EQ(bridge.function().read_config(0x0A, 2), 0x0600U);
    EXPECT_EQ(bridge.function().read_config(0x0E, 1), 0U);
}

TEST(HostBridge, MayHaveAmdsIds) {
    HostBridge bridge(HostBridgeModel::amd);
    EXPECT_EQ(bridge.function().read_config(0x00, 4), 0x7432'1022U);
}

TEST(HostBridge, OffersAnExpressCapabilityOfARootPortAndNoExtendedOne) {
    HostBridge bridge;
    const auto at = bridge.function().read_config(0x34, 1);
    EXPECT_EQ(bridge.function().read_config(at, 1), 0x10U);
    EXPECT_EQ(bridge.function().read_config(at + 2, 2), 0x0042U);
    EXPECT_EQ(bridge.function().read_config(0x100, 4), 0U);
}

}  // namespace
}  // namespace cupule::device
