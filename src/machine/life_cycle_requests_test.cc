#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "hypervisor/fake/fake_vm.h"
#include "machine/life_cycle.h"

namespace cupule::machine {
namespace {

class NoDevices : public io::IoClient {
  public:
    void handle(io::IoRequest& request) override { request.state = io::IoState::complete; }
};

class LifeCycleTest : public testing::Test, public LifeCycle::Control {
  protected:
    LifeCycleTest() { start(); }

    void start() { EXPECT_TRUE(vm_.start(devices_, life_cycle_).has_value()); }
    void reset_machine(device::ResetKind kind) override {
        EXPECT_FALSE(vm_.running());
        done_.push_back(kind == device::ResetKind::full ? "full reset" : "warm reset");
        start();
    }
    void suspend_machine() override {
        EXPECT_FALSE(vm_.running());
        done_.push_back("suspend");
    }
    void end_machine(const End& end) override {
        EXPECT_FALSE(vm_.running());
        done_.push_back("end");
        end_ = end;
    }
    void run_loop() { loop_->run_once(0); }

    std::unique_ptr<event::EventLoop> loop_ = *event::EventLoop::create();
    hypervisor::FakeVm vm_{{.name = "test"}};
    NoDevices devices_;
    LifeCycle life_cycle_{*loop_, vm_, *this};
    std::vector<std::string> done_;
    End end_;
};

TEST_F(LifeCycleTest, ARequestStopsTheProcessorsAtOnceAndIsCarriedOutByTheLoop) {
    life_cycle_.reset(device::ResetKind::warm);
    EXPECT_FALSE(vm_.running());
    EXPECT_TRUE(done_.empty());
    run_loop();
    EXPECT_EQ(done_, std::vector<std::string>{"warm reset"});
    EXPECT_TRUE(vm_.running());
}

TEST_F(LifeCycleTest, TheFirstOfTwoRequestsWins) {
    life_cycle_.suspend_to_ram();
    life_cycle_.reset(device::ResetKind::full);
    run_loop();
    run_loop();
    EXPECT_EQ(done_, std::vector<std::string>{"suspend"});
}

TEST_F(LifeCycleTest, AnEndBeatsAResetThatWaits) {
    life_cycle_.pulse_reset();
    life_cycle_.power_off();
    run_loop();
    run_loop();
    EXPECT_EQ(done_, std::vector<std::string>{"end"});
    EXPECT_EQ(end_.reason, EndReason::power_off);
}

TEST_F(LifeCycleTest, TheFirstOfTwoEndsTellsTheReason) {
    life_cycle_.debug_exit(0x31);
    life_cycle_.force_end(EndReason::forced_stop, "signal 2");
    run_loop();
    EXPECT_EQ(done_, std::vector<std::string>{"end"});
    EXPECT_EQ(end_.reason, EndReason::debug_exit);
    EXPECT_EQ(end_.debug_value, 0x31U);
}

TEST_F(LifeCycleTest, ARequestAfterOneWasCarriedOutIsANewOne) {
    for (int i = 0; i < 3; ++i) {
        life_cycle_.pulse_reset();
        run_loop();
    }
    EXPECT_EQ(done_, std::vector<std::string>(3, "full reset"));
}

TEST_F(LifeCycleTest, WhatTheHypervisorSawBecomesAResetOrAnEnd) {
    vm_.stop(hypervisor::VmStop::triple_fault);
    run_loop();
    vm_.stop(hypervisor::VmStop::power_off);
    run_loop();
    EXPECT_EQ(end_.reason, EndReason::power_off);
    vm_.stop(hypervisor::VmStop::internal_error);
    run_loop();
    EXPECT_EQ(end_.reason, EndReason::hypervisor_failure);
    EXPECT_EQ(end_.detail, "fake");
    EXPECT_EQ(done_, (std::vector<std::string>{"full reset", "end", "end"}));
}

TEST_F(LifeCycleTest, RequestsFromSeveralThreadsAtOnceAreCarriedOutOneByOneAndTheEndIsNotLost) {
    constexpr int threads = 4;
    std::vector<std::thread> askers;
    std::atomic<int> ready{0};
    for (int i = 0; i < threads; ++i) {
        askers.emplace_back([&, i] {
            ++ready;
            while (ready.load() < threads) {
                std::this_thread::yield();
            }
            for (int n = 0; n < 200; ++n) {
                life_cycle_.pulse_reset();
            }
            if (i == 0) {
                life_cycle_.power_off();
            }
            for (int n = 0; n < 200; ++n) {
                life_cycle_.reset(device::ResetKind::warm);
            }
        });
    }
    while (done_.empty() || done_.back() != "end") {
        loop_->run_once(1000);
    }
    for (std::thread& asker : askers) {
        asker.join();
    }
    EXPECT_EQ(end_.reason, EndReason::power_off);
    EXPECT_LE(done_.size(), 4U * 400U + 1U);
}

}  // namespace
}  // namespace cupule::machine
