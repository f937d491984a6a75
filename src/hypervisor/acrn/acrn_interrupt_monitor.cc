#include "hypervisor/acrn/acrn_interrupt_monitor.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "hypervisor/acrn/acrn_abi.h"

namespace cupule::hypervisor::acrn {
namespace {

constexpr std::uint32_t command_get = 0;
constexpr std::uint32_t command_delay = 1;
/// Numbers of the page: an interrupt and its count by turns.
constexpr std::uint32_t numbers_max = 48;

struct MonitorPage {
    std::uint32_t command = 0;
    std::uint32_t count = 0;
    std::array<std::uint64_t, numbers_max> numbers{};
};
static_assert(offsetof(MonitorPage, numbers) == 8);

}  // namespace

base::Result<std::unique_ptr<AcrnInterruptMonitor>> AcrnInterruptMonitor::create(HsmPort& hsm) {
    void* const page =
        mmap(nullptr, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return base::fail_errno(errno, "no memory for the interrupt monitor's page");
    }
    return std::unique_ptr<AcrnInterruptMonitor>(new AcrnInterruptMonitor(hsm, page));
}

AcrnInterruptMonitor::~AcrnInterruptMonitor() {
    munmap(page_, page_size);
}

base::Result<void> AcrnInterruptMonitor::call() {
    const int result =
        hsm_.call(ACRN_IOCTL_VM_INTR_MONITOR, reinterpret_cast<std::uintptr_t>(page_));
    if (result < 0) {
        return base::fail_errno(-result, "the HSM refuses to monitor interrupts");
    }
    return {};
}

base::Result<std::vector<InterruptMonitor::Count>> AcrnInterruptMonitor::counts() {
    MonitorPage page{.command = command_get, .count = numbers_max};
    std::memcpy(page_, &page, sizeof page);
    CUPULE_TRY(call());
    std::memcpy(&page, page_, sizeof page);
    std::vector<Count> counts;
    const std::uint32_t count = std::min(page.count, numbers_max);
    for (std::uint32_t i = 0; i + 1 < count; i += 2) {
        counts.push_back({.source = page.numbers.at(i), .count = page.numbers.at(i + 1)});
    }
    return counts;
}

base::Result<void> AcrnInterruptMonitor::delay(std::uint32_t delay_ms) {
    MonitorPage page{.command = command_delay, .count = 1};
    page.numbers[0] = delay_ms;
    std::memcpy(page_, &page, sizeof page);
    return call();
}

}  // namespace cupule::hypervisor::acrn
