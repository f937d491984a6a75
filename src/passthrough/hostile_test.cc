// Guests that write anything anywhere, and hosts whose configuration space is noise: nothing of
// it may reach an assertion or memory that is not meant.

#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "event/event_loop.h"
#include "hypervisor/fake/fake_vm.h"
#include "io/io_dispatcher.h"
#include "passthrough/passthrough_device.h"
#include "passthrough/software_models.h"

namespace cupule::passthrough {
namespace {

class Hostile : public ::testing::TestWithParam<unsigned> {
  protected:
    void SetUp() override {
        auto loop = event::EventLoop::create();
        auto memory = memory::GuestMemory::create(
            {.pieces = {{{0}, 1 << 20}}, .huge_pages = memory::HugePages::never});
        ASSERT_TRUE(loop && memory);
        loop_ = std::move(*loop);
        memory_ = std::move(*memory);
    }
    base::Result<std::unique_ptr<PassthroughDevice>> make(SoftwareModel model,
                                                          PassthroughOptions options) {
        CUPULE_TRY_ASSIGN(auto host, SoftwareDevice::create(std::move(model), *memory_));
        host_ = host.get();
        return PassthroughDevice::create(std::move(host), std::move(options),
                                         {.vm = vm_, .loop = *loop_, .monitor = monitor_});
    }
    std::uint64_t random() { return random_(); }
    /// Mostly the registers that do something.
    std::uint64_t random_offset() { return random() % 4 == 0 ? random() % 4200 : random() % 0x100; }
    unsigned random_size() { return 1U << (random() % 4); }

    void attack(PassthroughDevice& device, unsigned steps) {
        event::MutexLock lock(monitor_);
        for (unsigned i = 0; i < steps; ++i) {
            pci::Function& function = device.function();
            switch (random() % 4) {
                case 0:
                    function.read_config(random_offset(), random_size());
                    break;
                case 1:
                    host_->interrupt(static_cast<unsigned>(random() % 8));
                    break;
                default:
                    function.write_config(random_offset(), random_size(), random());
                    break;
            }
        }
    }

    std::mt19937_64 random_{GetParam()};
    event::Monitor monitor_;
    hypervisor::FakeVm vm_{{}};
    std::unique_ptr<event::EventLoop> loop_;
    std::unique_ptr<memory::GuestMemory> memory_;
    SoftwareDevice* host_ = nullptr;
};

TEST_P(Hostile, AGuestsConfigurationWritesAreHarmless) {
    auto device = make(make_i225_model(GetParam() % 2 == 0 ? 4 : 1, GetParam() % 2 == 0 ? 0 : 5),
                       {.keep_intx = true, .time_measurement = true});
    ASSERT_TRUE(device) << device.error().message;
    io::IoDispatcher dispatcher(1);
    {
        event::MutexLock lock(monitor_);
        (*device)->function().attach({.ports = &dispatcher.ports(),
                                      .memory = &dispatcher.mmio(),
                                      .monitor = &monitor_,
                                      .name = "passthru"});
        (*device)->connect_intx({17});
    }
    attack(**device, 5000);
    loop_->run_once(0);
    // Identity and structure are as before whatever was written.
    event::MutexLock lock(monitor_);
    EXPECT_EQ((*device)->function().read_config(0, 4), 0x15F2'8086U);
    EXPECT_EQ((*device)->function().read_config(0x34, 1), 0x40U);
    EXPECT_EQ((*device)->function().read_config(0x40, 2), 0x5001U);
    const auto command = host_->read_config(pci::config::command, 2);
    EXPECT_EQ(command & 0x143, 0U) << "decoding and errors are the host's";
    (*device)->reset();
    EXPECT_TRUE(vm_.mappings().empty());
}

TEST_P(Hostile, AHostsNoiseIsRefusedOrShown) {
    for (unsigned round = 0; round < 50; ++round) {
        SoftwareModel model = make_i225_model(4, 5);
        for (unsigned i = 0; i < 200; ++i) {
            model.config[random() % model.config.size()] = static_cast<std::uint8_t>(random());
        }
        model.config[0] = 0x86;
        model.config[pci::config::header_type] = 0;
        auto device = make(std::move(model), {.time_measurement = true});
        if (device) {
            attack(**device, 100);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Hostile, ::testing::Range(0U, 8U));

}  // namespace
}  // namespace cupule::passthrough
