#include <gtest/gtest.h>

#include <vector>

#include "device/platform/debug_exit.h"
#include "device/platform/post_code.h"
#include "device/platform/reset_control.h"
#include "testing/device_contract.h"

namespace cupule::device {
namespace {

struct FakeRequests : ResetRequests, DebugExitRequests {
    void reset(ResetKind kind) override { resets.push_back(kind); }
    void debug_exit(std::uint32_t value) override { exits.push_back(value); }
    std::vector<ResetKind> resets;
    std::vector<std::uint32_t> exits;
};

TEST(ResetControl, ResetsWhenTheCpuBitRises) {
    FakeRequests requests;
    ResetControl control(requests);
    control.write(0, 1, 0x02);
    EXPECT_TRUE(requests.resets.empty());
    control.write(0, 1, 0x06);
    EXPECT_EQ(requests.resets, std::vector{ResetKind::warm});
    control.write(0, 1, 0x0E);
    EXPECT_EQ(requests.resets.size(), 1U) << "the bit was set already";
    control.write(0, 1, 0x0A);
    control.write(0, 1, 0x0E);
    EXPECT_EQ(requests.resets, (std::vector{ResetKind::warm, ResetKind::full}));
}

TEST(ResetControl, ReadsBackItsThreeBits) {
    FakeRequests requests;
    ResetControl control(requests);
    control.write(0, 1, 0xFB);
    EXPECT_EQ(control.read(0, 1), 0x0AU);
    EXPECT_TRUE(requests.resets.empty());
}

TEST(DebugExit, AnyWriteAsksForPowerOffWithItsValue) {
    FakeRequests requests;
    DebugExit exit_port(requests);
    exit_port.write(0, 1, 0x2A);
    exit_port.write(0, 4, 0xDEADBEEF);
    EXPECT_EQ(requests.exits, (std::vector<std::uint32_t>{0x2A, 0xDEADBEEF}));
    EXPECT_EQ(exit_port.read(0, 2), 0xFFFFU);
}

TEST(PostCode, KeepsTheLastCode) {
    PostCode port;
    EXPECT_EQ(port.read(0, 1), 0U);
    port.write(0, 1, 0xAA);
    EXPECT_EQ(port.read(0, 1), 0xAAU);
}

template <class Part>
testing::ContractSubject subject_of(std::uint64_t ports) {
    struct Owner {
        FakeRequests requests;
        Part part{requests};
    };
    auto owner = std::make_shared<Owner>();
    return {
        .owner = owner, .device = &owner->part, .ranges = {{&owner->part, ports}}, .disturb = {}};
}

testing::ContractSubject make_post_code() {
    auto part = std::make_shared<PostCode>();
    return {.owner = part, .device = part.get(), .ranges = {{part.get(), 1}}, .disturb = {}};
}

CUPULE_DEVICE_CONTRACT(ResetControl, [] { return subject_of<ResetControl>(1); })
CUPULE_DEVICE_CONTRACT(DebugExit, [] { return subject_of<DebugExit>(4); })
CUPULE_DEVICE_CONTRACT(PostCode, make_post_code)

}  // namespace
}  // namespace cupule::device
