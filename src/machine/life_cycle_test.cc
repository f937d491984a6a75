#include "machine/life_cycle.h"

#include <gtest/gtest.h>

#include <vector>

#include "hypervisor/fake/fake_vm.h"

namespace cupule::machine {
namespace {

struct Recorder : LifeCycle::Control {
    void reset_machine(device::ResetKind kind) override { resets.push_back(kind); }
    void suspend_machine() override { ++suspends; }
    void end_machine(const End& end) override { ends.push_back(end); }

    std::vector<device::ResetKind> resets;
    std::vector<End> ends;
    unsigned suspends = 0;
};

struct Bench {
    explicit Bench(OnCrash on_crash) : life_cycle(*loop, vm, control, on_crash) {}

    std::unique_ptr<event::EventLoop> loop = event::EventLoop::create().value();
    hypervisor::FakeVm vm{hypervisor::VmSpec{.name = "t"}};
    Recorder control;
    LifeCycle life_cycle;
};

TEST(LifeCycle, ATripleFaultResetsTheMachineAsAPcDoes) {
    Bench bench(OnCrash::reset);
    bench.life_cycle.vm_stopped(hypervisor::VmStop::triple_fault, "vCPU 0: triple fault");
    bench.loop->run_once(0);
    EXPECT_EQ(bench.control.resets, std::vector{device::ResetKind::full});
    EXPECT_TRUE(bench.control.ends.empty());
}

TEST(LifeCycle, ATripleFaultEndsTheRunAsACrashWhereThatIsWanted) {
    Bench bench(OnCrash::exit);
    bench.life_cycle.vm_stopped(hypervisor::VmStop::triple_fault, "vCPU 0: triple fault");
    bench.loop->run_once(0);
    EXPECT_TRUE(bench.control.resets.empty());
    ASSERT_EQ(bench.control.ends.size(), 1U);
    EXPECT_EQ(bench.control.ends[0].reason, EndReason::guest_crash);
    EXPECT_EQ(bench.control.ends[0].detail, "vCPU 0: triple fault");
}

TEST(LifeCycle, ARebootIsNoCrash) {
    Bench bench(OnCrash::exit);
    bench.life_cycle.reset(device::ResetKind::warm);
    bench.loop->run_once(0);
    EXPECT_EQ(bench.control.resets, std::vector{device::ResetKind::warm});
    EXPECT_TRUE(bench.control.ends.empty());
}

TEST(LifeCycle, TheFirstRequestIsCarriedOutButAnEndWins) {
    Bench bench(OnCrash::reset);
    bench.life_cycle.suspend_to_ram();
    bench.life_cycle.reset(device::ResetKind::full);
    bench.life_cycle.power_off();
    bench.life_cycle.debug_exit(3);
    bench.loop->run_once(0);
    EXPECT_EQ(bench.control.suspends, 0U);
    EXPECT_TRUE(bench.control.resets.empty());
    ASSERT_EQ(bench.control.ends.size(), 1U);
    EXPECT_EQ(bench.control.ends[0].reason, EndReason::power_off);
}

}  // namespace
}  // namespace cupule::machine
