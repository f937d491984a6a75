// Several processors, the control thread and its timers at once. Run under TSan this is the test
// of the lock order, too.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>

#include "machine/testing/pc_bench.h"

namespace cupule::machine {
namespace {

using testing::PcBench;

struct Target {
    io::IoKind kind;
    std::uint64_t base;
    std::uint64_t size;
};

constexpr std::array<Target, 14> targets{{{io::IoKind::port, 0x40, 4},
                                          {io::IoKind::port, 0x60, 5},
                                          {io::IoKind::port, 0x70, 2},
                                          {io::IoKind::port, 0x80, 5},
                                          {io::IoKind::port, 0xB2, 1},
                                          {io::IoKind::port, 0x2F8, 8},
                                          {io::IoKind::port, 0x3F8, 8},
                                          {io::IoKind::port, 0x400, 4},
                                          {io::IoKind::port, 0x408, 4},
                                          {io::IoKind::port, 0xCF8, 1},
                                          {io::IoKind::port, 0xCFC, 4},
                                          {io::IoKind::mmio, hpet_base, 0x400},
                                          {io::IoKind::mmio, ecam_base, 0x1'0000},
                                          {io::IoKind::pci_config, 0, 0x100}}};

/// A guest's processor that accesses whatever there is until `done`.
void hammer(hypervisor::FakeVm& vm, std::uint16_t vcpu, const std::atomic<bool>& done) {
    std::minstd_rand random(vcpu + 1U);
    for (std::uint64_t n = 1; !done.load(); ++n) {
        const Target& target = targets.at(random() % targets.size());
        io::IoRequest request{.kind = target.kind, .vcpu = vcpu};
        request.direction = random() % 2 == 0 ? io::IoDirection::read : io::IoDirection::write;
        request.size = static_cast<std::uint8_t>(1U << (random() % 3));
        request.bdf.device = static_cast<std::uint8_t>(random() % 2);
        request.address =
            target.base + (random() % target.size & ~std::uint64_t{request.size - 1U});
        request.value = random();
        vm.access(request);
        if (n % 512 == 0) {
            testing::write_cf9(vm, 0x06, vcpu);
        }
        if (n % 1777 == 0) {
            testing::write_sleep(vm, 3);
        }
    }
}

TEST(PcThreads, Class19_TwoProcessorsHammerEveryPartWhileTheMachineIsResetAndSavedAndSleeps) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    std::atomic<bool> done{false};
    std::vector<std::thread> processors;
    std::deque<PcBench::Step> steps{[&] {
        for (std::uint16_t vcpu = 0; vcpu < 2; ++vcpu) {
            processors.emplace_back([&, vcpu] { hammer(bench.vm(), vcpu, done); });
        }
    }};
    std::size_t saved = 0;
    unsigned turn = 0;
    // Steps of the loop's own: what the guest asks for is carried out between them.
    const std::function<void()> disturb = [&] {
        if (turn % 4 == 0) {
            bench.pc().press_power_button();
        }
        if (turn % 16 == 0) {
            saved += bench.pc().parts().save().size();
        }
        ++turn;
        if (bench.vm().resets() < 20 || bench.vm().request_count() < 5000) {
            bench.go_on_with(disturb);
        }
    };
    steps.push_back(disturb);
    const auto end = bench.run(std::move(steps));
    done.store(true);
    for (std::thread& processor : processors) {
        processor.join();
    }
    EXPECT_FALSE(end.has_value());
    EXPECT_GE(bench.vm().resets(), 20U);
    EXPECT_GT(saved, 0U);
}

}  // namespace
}  // namespace cupule::machine
