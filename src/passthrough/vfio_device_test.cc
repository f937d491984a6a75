// A function behind VFIO, against a kernel that plays VFIO: what it is taken for, how it is reset.

#include "passthrough/vfio_device.h"

#include <gtest/gtest.h>

#include "event/event_loop.h"
#include "hypervisor/fake/fake_vm.h"
#include "io/io_dispatcher.h"
#include "passthrough/iommufd_domain.h"
#include "passthrough/passthrough_device.h"
#include "passthrough/vfio_container.h"
#include "pci/config_registers.h"
#include "testing/config_range.h"
#include "testing/fake_vfio.h"

namespace cupule::passthrough {
namespace {

using testing::FakeVfio;
using testing::FakeVfioFunction;
using Calls = std::vector<std::string>;

constexpr const char* nic = "0000:01:00.0";
constexpr const char* sound = "0000:01:00.1";

/// A configuration space with power management at 0x40 and these BARs.
std::vector<std::uint8_t> config_with(const std::vector<std::uint32_t>& bars) {
    std::vector<std::uint8_t> config(256);
    config[pci::config::vendor_id] = 0x86;
    config[pci::config::vendor_id + 1] = 0x80;
    config[pci::config::command] = 0x04;
    config[pci::config::status] = 0x10;
    config[pci::config::interrupt_pin] = 1;
    config[pci::config::capabilities] = 0x40;
    config[0x40] = pci::capability::power_management;
    for (std::size_t i = 0; i < bars.size(); ++i) {
        for (unsigned byte = 0; byte < 4; ++byte) {
            config[pci::config::bar0 + 4 * i + byte] =
                static_cast<std::uint8_t>(bars[i] >> (8 * byte));
        }
    }
    return config;
}

class VfioDeviceTest : public ::testing::Test, public VfioDomain::Listener {
  protected:
    void SetUp() override {
        auto made = VfioContainer::create(kernel_, *this);
        ASSERT_TRUE(made) << made.error().message;
        domain_ = std::move(*made);
    }
    void descriptor_added(int) override {}
    void descriptor_removed(int) override {}

    void add(FakeVfioFunction function) {
        if (function.config.empty()) {
            function.config = config_with({});
        }
        places_[function.name] = {.name = function.name,
                                  .group = function.group,
                                  .character_device = "/dev/vfio/devices/" + function.name};
        kernel_.add(std::move(function));
    }
    /// Two functions that only their bus resets, in groups of their own.
    void add_pair() {
        add({.name = nic, .group = 4, .resets = false, .bus = {nic, sound}});
        add({.name = sound, .group = 5, .resets = false, .bus = {nic, sound}});
    }
    void admit(const std::string& name) {
        const auto admitted = domain_->admit(places_[name]);
        ASSERT_TRUE(admitted) << admitted.error().message;
    }
    base::Result<std::unique_ptr<VfioDevice>> open(const std::string& name,
                                                   ResetChoice reset = ResetChoice::best) {
        return VfioDevice::open(kernel_, *domain_, places_[name], reset);
    }
    /// Admits it and opens it.
    std::unique_ptr<VfioDevice> take(const std::string& name,
                                     ResetChoice reset = ResetChoice::best) {
        admit(name);
        auto device = open(name, reset);
        EXPECT_TRUE(device) << device.error().message;
        return device ? std::move(*device) : nullptr;
    }

    FakeVfio kernel_;
    std::map<std::string, VfioPlace> places_;
    std::unique_ptr<VfioDomain> domain_;
};

// Reset of the function alone.

TEST_F(VfioDeviceTest, LinuxHasResetItWhenItIsOpenAndWeDoWhenTheGuestIsDone) {
    add({.name = nic});
    auto device = take(nic);
    ASSERT_TRUE(device);
    EXPECT_TRUE(device->resettable());
    EXPECT_EQ(device->read_config(pci::config::command, 2), 0x3U)
        << "decoding on, bus mastering off";
    EXPECT_EQ(kernel_.take(), Calls{});
    EXPECT_TRUE(device->reset());
    EXPECT_TRUE(device->reset_function());
    EXPECT_EQ(kernel_.take(), (Calls{"reset 0000:01:00.0", "reset 0000:01:00.0"}));
    device.reset();
    EXPECT_EQ(kernel_.take().back(), "reset 0000:01:00.0");
}

TEST_F(VfioDeviceTest, WithNoResetNothingResetsItButItsBusMasteringIsOff) {
    add({.name = nic, .bus = {nic, sound}});
    auto device = take(nic, ResetChoice::never);
    ASSERT_TRUE(device);
    EXPECT_FALSE(device->resettable());
    EXPECT_EQ(device->read_config(pci::config::command, 2), 0x3U);
    device->write_config(pci::config::command, 2, 0x7);
    EXPECT_TRUE(device->reset());
    EXPECT_EQ(device->read_config(pci::config::command, 2), 0x3U);
    EXPECT_TRUE(device->reset_function());
    kernel_.take();
    device.reset();
    for (const std::string& call : kernel_.take()) {
        EXPECT_EQ(call.find("reset"), std::string::npos) << call;
    }
}

TEST_F(VfioDeviceTest, ThroughD3hotAndBackWithTenMillisecondsEachWay) {
    add({.name = nic});
    const Calls cycle{"reset 0000:01:00.0", "0000:01:00.0 D3", "10 ms", "0000:01:00.0 D0", "10 ms"};
    auto device = take(nic, ResetChoice::power_state_too);
    ASSERT_TRUE(device);
    EXPECT_EQ(kernel_.take(), cycle);
    EXPECT_TRUE(device->reset());
    EXPECT_EQ(kernel_.take(), cycle);
}

TEST_F(VfioDeviceTest, ThroughD3hotOnlyWithPowerManagement) {
    std::vector<std::uint8_t> config = config_with({});
    config[0x40] = pci::capability::vendor_specific;
    add({.name = nic, .config = config});
    admit(nic);
    const auto device = open(nic, ResetChoice::power_state_too);
    ASSERT_FALSE(device);
    EXPECT_NE(device.error().message.find("d3hot_reset: the device has no power management"),
              std::string::npos);
}

TEST_F(VfioDeviceTest, AResetThatTheHostRefusesIsAnError) {
    add({.name = nic});
    auto device = take(nic);
    ASSERT_TRUE(device);
    kernel_.refused[VFIO_DEVICE_RESET] = EIO;
    const auto done = device->reset();
    ASSERT_FALSE(done);
    EXPECT_NE(done.error().message.find("the host does not reset 0000:01:00.0"), std::string::npos);
}

// Reset with the bus.

TEST_F(VfioDeviceTest, FunctionsOfOneBusAreResetOnceTogetherWhenTheyOpenAndWithTheGuest) {
    add_pair();
    admit(nic);
    admit(sound);
    auto first = open(nic);
    ASSERT_TRUE(first) << first.error().message;
    EXPECT_EQ(kernel_.take(), Calls{"reset bus of 0000:01:00.0 /dev/vfio/4 /dev/vfio/5"});
    auto second = open(sound);
    ASSERT_TRUE(second) << second.error().message;
    EXPECT_EQ(kernel_.take(), Calls{}) << "the first one's reset did it";
    for (unsigned i = 0; i < 3; ++i) {
        EXPECT_TRUE((*first)->reset());
        EXPECT_TRUE((*second)->reset());
        EXPECT_EQ(kernel_.take(), Calls{"reset bus of 0000:01:00.0 /dev/vfio/4 /dev/vfio/5"});
    }
    EXPECT_TRUE((*second)->reset());
    EXPECT_TRUE((*first)->reset());
    EXPECT_EQ(kernel_.take(), Calls{"reset bus of 0000:01:00.1 /dev/vfio/4 /dev/vfio/5"});
}

TEST_F(VfioDeviceTest, ARunningGuestCannotResetTheOthersOfTheBus) {
    add_pair();
    admit(sound);
    auto device = take(nic);
    ASSERT_TRUE(device);
    kernel_.take();
    EXPECT_FALSE(device->resettable()) << "no function level reset is offered";
    EXPECT_TRUE(device->reset_function());
    device.reset();
    for (const std::string& call : kernel_.take()) {
        EXPECT_EQ(call.find("reset"), std::string::npos) << call;
    }
}

TEST_F(VfioDeviceTest, WhoeverMustComeAlongIsNamed) {
    add_pair();
    admit(nic);
    const auto refused = open(nic);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find(
                  "can reset 0000:01:00.0 only with its bus, and so with 0000:01:00.1, which the "
                  "guest has not"),
              std::string::npos)
        << refused.error().message;
    EXPECT_NE(refused.error().message.find("no_reset"), std::string::npos);
    EXPECT_TRUE(open(nic, ResetChoice::never));
    for (const std::string& call : kernel_.take()) {
        EXPECT_EQ(call.find("reset"), std::string::npos) << call;
    }
}

TEST_F(VfioDeviceTest, AnIdleFunctionInTheSameGroupComesAlong) {
    add({.name = nic, .group = 4, .resets = false, .bus = {nic, sound}});
    add({.name = sound, .group = 4, .resets = false, .bus = {nic, sound}});
    ASSERT_TRUE(take(nic));
    EXPECT_EQ(kernel_.take().front(), "reset bus of 0000:01:00.0 /dev/vfio/4");
}

TEST_F(VfioDeviceTest, ABusThatTheHostRefusesToResetIsAnErrorThatSaysWhatToDo) {
    add_pair();
    admit(nic);
    admit(sound);
    kernel_.refused[VFIO_DEVICE_PCI_HOT_RESET] = EINVAL;
    const auto refused = open(nic);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("does not reset the bus of 0000:01:00.0 (with "
                                           "0000:01:00.1)"),
              std::string::npos)
        << refused.error().message;
    EXPECT_NE(refused.error().message.find("`cupule passthrough bind`"), std::string::npos);
}

TEST_F(VfioDeviceTest, WhereNothingCanBeResetTheDeviceIsTakenAsItIs) {
    add({.name = nic, .resets = false});
    auto device = take(nic);
    ASSERT_TRUE(device);
    EXPECT_TRUE(device->reset());
    EXPECT_EQ(kernel_.take(), Calls{});
}

TEST_F(VfioDeviceTest, AGuestThatGetsItsFunctionsOneByOneHasThemResetWithTheLast) {
    add_pair();
    auto first = take(nic, ResetChoice::best_when_all_are_in);
    ASSERT_TRUE(first);
    EXPECT_EQ(kernel_.take(), Calls{});
    auto second = take(sound, ResetChoice::best_when_all_are_in);
    ASSERT_TRUE(second);
    const Calls together{"reset bus of 0000:01:00.1 /dev/vfio/4 /dev/vfio/5"};
    EXPECT_EQ(kernel_.take(), together);
    EXPECT_TRUE(first->reset());
    EXPECT_TRUE(second->reset());
    EXPECT_EQ(kernel_.take(), Calls{"reset bus of 0000:01:00.0 /dev/vfio/4 /dev/vfio/5"});
}

TEST_F(VfioDeviceTest, WithIommufdTheKernelKnowsWhoseTheFunctionsAre) {
    auto made = IommufdDomain::create(kernel_, *this);
    ASSERT_TRUE(made);
    domain_ = std::move(*made);
    add_pair();
    admit(nic);
    EXPECT_NE(open(nic).error().message.find("with 0000:01:00.1, which the guest has not"),
              std::string::npos);
    admit(nic);
    admit(sound);
    kernel_.take();
    auto device = open(nic);
    ASSERT_TRUE(device) << device.error().message;
    EXPECT_EQ(kernel_.take(), Calls{"reset bus of 0000:01:00.0"}) << "no descriptors";
}

// Interrupts.

TEST_F(VfioDeviceTest, FewerMessagesThanWantedAreTakenAfterOneMoreTry) {
    add({.name = nic, .interrupts = {1, 0, 8, 0, 0}, .messages_max = 3});
    auto device = take(nic);
    ASSERT_TRUE(device);
    EXPECT_EQ(device->interrupts(HostInterrupt::msix), 8U);
    EXPECT_TRUE(device->enable(HostInterrupt::msix, 8));
    EXPECT_EQ(kernel_.take(), (Calls{"0000:01:00.0 interrupts 8 of kind 2",
                                     "0000:01:00.0 interrupts 3 of kind 2"}));
    kernel_.refused[VFIO_DEVICE_SET_IRQS] = ENOSPC;
    EXPECT_FALSE(device->enable(HostInterrupt::msix, 8));
}

// BARs.

TEST_F(VfioDeviceTest, TheKindsOfBarsAreTheDevicesOwn) {
    add({.name = nic,
         .regions = {{{.size = 1 << 20},
                      {},
                      {.size = 0x1000},
                      {.size = 0x20},
                      {.size = 0x4000},
                      {},
                      {.size = 0x800}}},
         .config = config_with({0xFE00'000C, 1, 0xFD00'0008, 0xC001, 0xFC00'0004})});
    const auto device = take(nic);
    ASSERT_TRUE(device);
    EXPECT_EQ(device->bar(0).kind, pci::BarKind::memory_64);
    EXPECT_TRUE(device->bar(0).prefetchable);
    EXPECT_EQ(device->bar(0).size, 1U << 20);
    EXPECT_EQ(device->bar(1).size, 0U) << "the upper half";
    EXPECT_EQ(device->bar(2).kind, pci::BarKind::memory_32);
    EXPECT_TRUE(device->bar(2).prefetchable);
    EXPECT_EQ(device->bar(3).kind, pci::BarKind::io);
    EXPECT_FALSE(device->bar(3).prefetchable);
    EXPECT_EQ(device->bar(4).kind, pci::BarKind::memory_64);
    EXPECT_FALSE(device->bar(4).prefetchable);
    EXPECT_EQ(device->bar(pci::rom_bar).kind, pci::BarKind::rom);
}

TEST_F(VfioDeviceTest, AGuestSizesA64BitPrefetchableBarAsTheDeviceHasIt) {
    add({.name = nic,
         .regions = {{{.size = 1 << 20, .mappable = true}}},
         .config = config_with({0xFE00'000C, 1})});
    auto loop = event::EventLoop::create();
    ASSERT_TRUE(loop);
    hypervisor::FakeVm vm{{}};
    event::Monitor monitor;
    io::IoDispatcher dispatcher{1};
    auto device =
        PassthroughDevice::create(take(nic), {}, {.vm = vm, .loop = **loop, .monitor = monitor});
    ASSERT_TRUE(device) << device.error().message;
    {
        event::MutexLock lock(monitor);
        (*device)->function().attach({.ports = &dispatcher.ports(),
                                      .memory = &dispatcher.mmio(),
                                      .monitor = &monitor,
                                      .name = "passthru"});
    }
    const auto write = [&](std::uint64_t offset, std::uint64_t value) {
        testing::write_config((*device)->function(), monitor, offset, 4, value);
    };
    const auto read = [&](std::uint64_t offset) {
        return testing::read_config((*device)->function(), monitor, offset, 4);
    };
    write(pci::config::bar0, 0xFFFF'FFFF);
    write(pci::config::bar0 + 4, 0xFFFF'FFFF);
    EXPECT_EQ(read(pci::config::bar0), 0xFFF0'000CU);
    EXPECT_EQ(read(pci::config::bar0 + 4), 0xFFFF'FFFFU);
    write(pci::config::bar0, 0);
    write(pci::config::bar0 + 4, 0x8);
    write(pci::config::command, 2);
    using Mappings = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
    EXPECT_EQ(vm.mappings(), (Mappings{{0x8'0000'0000, 1 << 20}})) << "above 4 GiB";
}

TEST_F(VfioDeviceTest, OnlyThePiecesThatVfioNamesAreMapped) {
    add({.name = nic,
         .regions =
             {{{.size = 0x8000,
                .mappable = true,
                .sparse = {{0, 0x1000}, {0x3000, 0x2000}, {0x5800, 0x1000}, {0x7000, 0x2000}}},
               {.size = 0x4000}}},
         .config = config_with({0xFE00'0000, 0xFD00'0000})});
    kernel_.poke(nic, 0, 0x3004, {0x78, 0x56, 0x34, 0x12});
    const auto device = take(nic);
    ASSERT_TRUE(device);
    const auto& pieces = device->bar(0).pieces;
    ASSERT_EQ(pieces.size(), 2U) << "none off a page's start, none past the end";
    EXPECT_EQ(pieces[0].offset, 0U);
    EXPECT_EQ(pieces[0].size, 0x1000U);
    EXPECT_EQ(pieces[1].offset, 0x3000U);
    EXPECT_EQ(pieces[1].size, 0x2000U);
    std::uint32_t seen = 0;
    std::memcpy(&seen, pieces[1].host + 4, sizeof seen);
    EXPECT_EQ(seen, 0x1234'5678U) << "the device's own registers";
    EXPECT_TRUE(device->bar(1).pieces.empty()) << "VFIO maps none of it";
    EXPECT_EQ(device->read_bar(0, 0x3004, 4), 0x1234'5678U);
    EXPECT_EQ(device->read_bar(0, 0x7FFE, 4), 0xFFFF'FFFFU) << "it would end behind the BAR";
}

}  // namespace
}  // namespace cupule::passthrough
