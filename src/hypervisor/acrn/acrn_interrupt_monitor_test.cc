#include "hypervisor/acrn/acrn_interrupt_monitor.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "hypervisor/acrn/acrn_abi.h"

namespace cupule::hypervisor::acrn {
namespace {

/// Answers like ACRN with two interrupts, and keeps what it was asked.
class MonitorPort : public HsmPort {
  public:
    struct Page {
        std::uint32_t command = 0;
        std::uint32_t count = 0;
        std::array<std::uint64_t, 48> numbers{};
    };

    int call(unsigned long request, std::uintptr_t argument) override {
        EXPECT_EQ(request, static_cast<unsigned long>(ACRN_IOCTL_VM_INTR_MONITOR));
        EXPECT_EQ(argument % 4096, 0U);
        auto* const page = reinterpret_cast<Page*>(argument);
        asked = *page;
        if (page->command == 0) {
            page->count = answered_count;
            page->numbers = {33, 1000, 34, 2000};
        }
        return result;
    }

    Page asked;
    std::uint32_t answered_count = 4;
    int result = 0;
};

TEST(AcrnInterruptMonitor, CountsComeInPairs) {
    MonitorPort port;
    const auto monitor = *AcrnInterruptMonitor::create(port);
    const auto counts = monitor->counts();
    ASSERT_TRUE(counts);
    EXPECT_EQ(port.asked.count, 48U);
    ASSERT_EQ(counts->size(), 2U);
    EXPECT_EQ(counts->at(1).source, 34U);
    EXPECT_EQ(counts->at(1).count, 2000U);
}

TEST(AcrnInterruptMonitor, ACountBeyondThePageIsCut) {
    MonitorPort port;
    const auto monitor = *AcrnInterruptMonitor::create(port);
    port.answered_count = 0xFFFF'FFFF;
    EXPECT_EQ(monitor->counts()->size(), 24U);
    port.answered_count = 3;
    EXPECT_EQ(monitor->counts()->size(), 1U);
}

TEST(AcrnInterruptMonitor, ADelayIsInMilliseconds) {
    MonitorPort port;
    const auto monitor = *AcrnInterruptMonitor::create(port);
    ASSERT_TRUE(monitor->delay(7));
    EXPECT_EQ(port.asked.command, 1U);
    EXPECT_EQ(port.asked.numbers[0], 7U);
}

TEST(AcrnInterruptMonitor, ARefusalIsAnError) {
    MonitorPort port;
    const auto monitor = *AcrnInterruptMonitor::create(port);
    port.result = -EFAULT;
    EXPECT_FALSE(monitor->counts());
    EXPECT_FALSE(monitor->delay(1));
}

}  // namespace
}  // namespace cupule::hypervisor::acrn
