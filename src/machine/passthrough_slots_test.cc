// The slots that ask for devices of the host, on a host made of files: up to where VFIO begins.

#include "machine/passthrough_slots.h"

#include <gtest/gtest.h>

#include <memory>

#include "acpi/tables.h"
#include "backend/stdio_channel.h"
#include "hypervisor/fake/fake_vm.h"
#include "machine/address_map.h"
#include "machine/interrupt_storm.h"
#include "machine/parts.h"
#include "machine/passthrough_interrupts.h"
#include "passthrough/software_models.h"
#include "testing/config_range.h"
#include "testing/fake_host.h"

namespace cupule::machine {
namespace {

using cupule::testing::FakeHost;

class NoReset : public io::IoHandler {
  public:
    std::uint64_t read(std::uint64_t, unsigned) override { return 0; }
    void write(std::uint64_t, unsigned, std::uint64_t) override {}
};

/// A hypervisor that assigns devices itself, and notes what it is told.
class AssigningVm : public hypervisor::FakeVm, public hypervisor::DeviceAssigner {
  public:
    using FakeVm::FakeVm;
    hypervisor::DeviceAssigner* device_assigner() override { return assigns ? this : nullptr; }
    base::Result<void> assign(const hypervisor::AssignedFunction& function) override {
        if (refuses) {
            return base::fail_errno(ENODEV, "no");
        }
        assigned = function;
        log += "assign ";
        return {};
    }
    void deassign(const hypervisor::AssignedFunction&) override { log += "deassign "; }
    base::Result<void> connect_intx(const hypervisor::AssignedIntx& intx) override {
        connected = intx;
        log += "connect ";
        return {};
    }
    void disconnect_intx(const hypervisor::AssignedIntx&) override { log += "disconnect "; }
    base::Result<void> assign_memory(const hypervisor::AssignedMemory&) override { return {}; }
    void deassign_memory(const hypervisor::AssignedMemory&) override {}
    base::Result<void> create(const hypervisor::HypervisorFunction&) override {
        log += "create ";
        return {};
    }
    void destroy(const hypervisor::HypervisorFunction&) override { log += "destroy "; }

    bool assigns = false;
    bool refuses = false;
    std::string log;
    hypervisor::AssignedFunction assigned{};
    hypervisor::AssignedIntx connected{};
};

struct NoEvents : hypervisor::VmEvents {
    void vm_stopped(hypervisor::VmStop, const std::string&) override {}
};

class PassthroughSlotsTest : public ::testing::Test {
  protected:
    PassthroughSlotsTest() {
        host_.add_driver("vfio-pci");
        host_.add({.name = nic, .driver = "e1000e", .group = 1, .capability = 0x11});
        auto loop = event::EventLoop::create();
        auto memory = memory::GuestMemory::create({.pieces = {{.base = {0}, .size = mib}}});
        if (loop && memory) {
            loop_ = std::move(*loop);
            memory_ = std::move(*memory);
        }
    }
    base::Result<std::unique_ptr<PassthroughSlots>> create(const std::vector<std::string>& texts) {
        std::vector<SlotOptions> slots;
        for (const std::string& text : texts) {
            const auto number = static_cast<std::uint8_t>(3 + slots.size());
            slots.push_back({.slot = number, .device = "passthru", .options = text});
        }
        return PassthroughSlots::create(
            slots, context(),
            {.root = host_.root(),
             .writer = [this](const std::string& path,
                              const std::string& text) { return host_.kernel(path, text); },
             .keeper = {"/bin/sh", "-c", "cat >> " + host_.root() + "/kept"}});
    }
    PciDeviceContext context() {
        return {.dispatcher = dispatcher_,
                .interrupts = interrupts_,
                .parts = parts_,
                .reset_control = reset_,
                .reset_monitor = monitor_,
                .bus_changed = [] {},
                .memory = *memory_,
                .loop = *loop_,
                .vm = vm_,
                .options = options_,
                .stdio = stdio_};
    }
    std::string complaint(const std::vector<std::string>& texts) {
        const auto made = create(texts);
        return made ? std::string() : made.error().message;
    }
    bool says(const std::vector<std::string>& texts, const std::string& expected) {
        return complaint(texts).find(expected) != std::string::npos;
    }

    static constexpr const char* nic = "0000:00:02.0";
    FakeHost host_;
    std::unique_ptr<event::EventLoop> loop_;
    std::unique_ptr<memory::GuestMemory> memory_;
    NoEvents events_;
    AssigningVm vm_{{.name = "slots", .vcpus = 1}};
    io::IoDispatcher dispatcher_{1};
    irq::InterruptRouter interrupts_{vm_};
    Parts parts_;
    NoReset reset_;
    event::Monitor monitor_;
    VmOptions options_;
    backend::StdioOwner stdio_{[] {}};
};

TEST_F(PassthroughSlotsTest, NamesTheSlotOfAWrongOptionOrModel) {
    EXPECT_TRUE(says({"00/02/0,gpu"}, "-s 3:0,passthru: the option 'gpu' is not known"));
    EXPECT_TRUE(says({"model:i225", "model:none"}, "-s 4:0,passthru: there is no model 'none'"));
    EXPECT_EQ(complaint({"model:i225", "model:i225"}), "");
}

TEST_F(PassthroughSlotsTest, RefusesADeviceInUseAndLeavesItAlone) {
    EXPECT_TRUE(says({"00/02/0"}, "in use by the host's driver e1000e"));
    EXPECT_EQ(host_.driver_of(nic), "e1000e");
    EXPECT_EQ(host_.read("/kept"), "");
}

TEST_F(PassthroughSlotsTest, TakesADeviceForTheRunAndTellsTheKeeper) {
    {
        const auto made = create({"00/02/0,bind"});
        ASSERT_TRUE(made) << made.error().message;
        EXPECT_EQ(host_.driver_of(nic), "vfio-pci");
    }
    EXPECT_EQ(host_.read("/kept"), "0000:00:02.0\n");
}

TEST_F(PassthroughSlotsTest, TakesWhatPciStubHolds) {
    host_.add({.name = "0000:00:05.0", .driver = "pci-stub", .group = 5, .capability = 0x11});
    EXPECT_EQ(complaint({"00/05/0"}), "");
    EXPECT_EQ(host_.driver_of("0000:00:05.0"), "vfio-pci");
}

TEST_F(PassthroughSlotsTest, WhatVfioRefusesKeepsItsDriver) {
    host_.refusing = "vfio-pci";
    EXPECT_TRUE(says({"00/02/0,bind"}, "vfio-pci does not take 0000:00:02.0"));
    EXPECT_EQ(host_.driver_of(nic), "e1000e");
}

TEST_F(PassthroughSlotsTest, EverySlotHasADeviceInTheNameSpace) {
    const auto made = create({"model:i225", "model:conventional"});
    ASSERT_TRUE(made) << made.error().message;
    const auto contributions = (*made)->contributions();
    ASSERT_EQ(contributions.size(), 2U);
    const auto bytes = contributions[1].aml.bytes();
    // Device (ACPI 6.5, 20.2.5.2), its length, P040 { Name (_ADR, 0x40000) }
    EXPECT_EQ(std::string(bytes.begin(), bytes.end()),
              std::string("\x5B\x82\x0FP040\x08_ADR\x0C\x00\x00\x04\x00", 17));
}

TEST_F(PassthroughSlotsTest, IntxReachesThe8259sWhereTheGuestRoutesItsLink) {
    const auto made = create({"model:conventional"});
    ASSERT_TRUE(made) << made.error().message;
    pci::Bus root({dispatcher_.ports(), dispatcher_.mmio()});
    ASSERT_TRUE((*made)->add({.slot = 3, .device = "passthru", .options = ""}, root));
    pci::PirqRouter pirqs(interrupts_);
    irq::GsiAllocator gsis({16}, {23});
    pci::IntxRouter router(interrupts_, gsis, pirqs);
    router.connect(root);
    (*made)->connect_intx(router);
    pirqs.set_observer(
        [&](unsigned link, std::optional<std::uint8_t> irq) { (*made)->link_routed(link, irq); });
    ASSERT_EQ(router.routes().size(), 1U);
    const irq::Gsi gsi = router.routes()[0].gsi;
    const unsigned link = router.routes()[0].link;
    EXPECT_EQ(vm_.pic_route(gsi), std::nullopt);
    pirqs.route(link, 11);
    EXPECT_EQ(vm_.pic_route(gsi), 11);
    pirqs.route(link + 1, 10);
    EXPECT_EQ(vm_.pic_route(gsi), 11);
    pirqs.route(link, std::nullopt);
    EXPECT_EQ(vm_.pic_route(gsi), std::nullopt);
}

TEST_F(PassthroughSlotsTest, AUsersTableIsCheckedAndTakenAsItIs) {
    const acpi::Table table = acpi::make_ssdt(acpi::aml::name("FINE", acpi::aml::integer(1)));
    const std::string good(table.bytes.begin(), table.bytes.end());
    std::string damaged = good;
    damaged.back() ^= 1;
    host_.write("/good", good);
    host_.write("/damaged", damaged);
    host_.write("/long", good + "x");
    host_.write("/source", "Scope (_SB.PCI0.P030) { Name (FINE, 1) } // %s %n and more text");
    const auto tables = [&](const std::string& file) {
        const auto made = create({"model:i225,dsdt=" + host_.root() + file});
        return (*made)->acpi_tables();
    };
    ASSERT_TRUE(tables("/good"));
    EXPECT_EQ(tables("/good")->front().bytes, table.bytes);
    for (const char* wrong : {"/damaged", "/long"}) {
        ASSERT_FALSE(tables(wrong)) << wrong;
        EXPECT_NE(tables(wrong).error().message.find("is damaged"), std::string::npos);
    }
    ASSERT_FALSE(tables("/source"));
    EXPECT_NE(tables("/source").error().message.find("is no compiled SSDT: make one with `iasl`"),
              std::string::npos);
    EXPECT_FALSE(tables("/none"));
}

TEST_F(PassthroughSlotsTest, WithoutAKeeperNothingIsTaken) {
    const auto refused = PassthroughSlots::create(
        {{.slot = 3, .device = "passthru", .options = "00/02/0,bind"}}, context(),
        {.root = host_.root(), .writer = {}, .keeper = {"/no/such/program"}});
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("gives devices back"), std::string::npos);
    EXPECT_EQ(host_.driver_of(nic), "e1000e");
}

TEST_F(PassthroughSlotsTest, WhereTheHypervisorAssignsItIsToldOfPlacesAndLines) {
    vm_.assigns = true;
    {
        pci::Bus root({dispatcher_.ports(), dispatcher_.mmio()});
        const auto made = create({"00/02/0,keep_gsi,irq=19"});
        ASSERT_TRUE(made) << made.error().message;
        EXPECT_EQ(host_.driver_of(nic), "e1000e") << "the HSM takes it, or refuses";
        const auto added = (*made)->add({.slot = 3, .device = "passthru", .options = {}}, root);
        ASSERT_TRUE(added) << added.error().message;
        vm_.refuses = true;
        EXPECT_FALSE((*made)->assign());
        vm_.refuses = false;
        EXPECT_TRUE((*made)->assign());
        EXPECT_EQ(vm_.assigned.guest, (io::PciAddress{.device = 3}));
        EXPECT_EQ(vm_.assigned.host, (io::PciAddress{.device = 2}));
        EXPECT_TRUE((*made)->unmap_memory());
        EXPECT_TRUE((*made)->assign());
        EXPECT_EQ(vm_.log, "assign deassign assign ");
    }
    EXPECT_EQ(vm_.log, "assign deassign assign deassign ");
}

TEST_F(PassthroughSlotsTest, WhereTheHypervisorAssignsALineIsSharedWithinOneGuestOnly) {
    vm_.assigns = true;
    host_.add({.name = "0000:00:05.0", .driver = "uhci", .group = 5, .irq = 33, .capability = 1});
    EXPECT_TRUE(says({"00/02/0,keep_gsi,irq=20"}, "shares GSI 20 with 0000:00:05.0 (uhci)"));
    EXPECT_EQ(complaint({"00/02/0,irq=20"}), "");
    EXPECT_EQ(complaint({"00/02/0,keep_gsi,irq=20", "00/05/0"}), "");
}

TEST_F(PassthroughSlotsTest, WhereTheHypervisorAssignsTheDeviceMustBeThere) {
    vm_.assigns = true;
    EXPECT_TRUE(says({"00/17/7"}, "no PCI device 0000:00:17.7"));
}

TEST_F(PassthroughSlotsTest, AnIntegratedEndpointHasPtmInItsPlaceWithoutAPort) {
    constexpr std::uint64_t time_capability = 0x1F0;
    vm_.assigns = true;
    for (const bool integrated : {true, false}) {
        std::vector<std::uint8_t> config = passthrough::make_i225_model(1, 5).config;
        config[0xA2] |= integrated ? 0x90 : 0;  // PCI Express Base 3.1, 7.8.2: Device/Port Type
        host_.write("/sys/devices/pci0000:00/0000:00:02.0/config", {config.begin(), config.end()});
        pci::Bus root({dispatcher_.ports(), dispatcher_.mmio()});
        const auto made = create({"00/02/0,enable_ptm"});
        ASSERT_TRUE(made) << made.error().message;
        const auto added = (*made)->add({.slot = 3, .device = "passthru", .options = {}}, root);
        ASSERT_TRUE(added) << added.error().message;
        EXPECT_TRUE(root.bridges().empty());
        const pci::BusEntry* const entry = root.at(3, 0);
        ASSERT_NE(entry, nullptr);
        const auto read = [&](std::uint64_t offset) {
            return testing::read_config(*entry->function, *entry->monitor, offset, 4);
        };
        EXPECT_EQ(read(0), 0x15F2'8086U);
        EXPECT_EQ(read(time_capability), integrated ? 0x0001'001FU : 0U);
        EXPECT_EQ(read(time_capability + 4), integrated ? 0x0000'0401U : 0U);
        // P030 { Name (_ADR, 0x30000) } and nothing in it.
        EXPECT_EQ((*made)->contributions()[0].aml.bytes().size(), 17U);
    }
}

TEST_F(PassthroughSlotsTest, AStormHoldsMessagesWhichComeOnceADelayUntilItIsOver) {
    constexpr std::uint64_t bar = 0x8000'0000;
    constexpr std::uint64_t vector = bar + 0x2000 + 16;
    pci::Bus root({dispatcher_.ports(), dispatcher_.mmio()});
    const auto made = create({"00/02/0,bind", "model:i225"});
    ASSERT_TRUE(made) << made.error().message;
    ASSERT_TRUE((*made)->add({.slot = 4, .device = "passthru", .options = {}}, root));
    ASSERT_TRUE(vm_.start(dispatcher_, events_));
    const pci::BusEntry& entry = *root.at(4, 0);
    const auto write = [&](std::uint64_t offset, unsigned size, std::uint64_t value) {
        testing::write_config(*entry.function, *entry.monitor, offset, size, value);
    };
    write(pci::config::bar0, 4, bar);
    write(pci::config::command, 2, 0x6);
    vm_.write_memory(vector, 4, 0xFEE0'0000);
    vm_.write_memory(vector + 8, 4, 0x11);
    vm_.write_memory(vector + 12, 4, 0);
    write(0x72, 2, 0x8000);  // MSI-X on
    const auto messages = [&](bool fires) {
        if (fires) {
            vm_.write_memory(bar + passthrough::SoftwareRegisters::interrupt, 4, 1);
        }
        vm_.deliver_event_interrupts();
        loop_->run_once(0);
        return vm_.take_messages().size();
    };
    const auto count = [&](int interrupts) {
        host_.write("/proc/interrupts", " 27: " + std::to_string(interrupts) +
                                            "  IR-PCI-MSIX-0000:00:02.0    0-edge      "
                                            "vfio-msix[0](0000:00:02.0)\n");
    };
    PassthroughInterrupts monitor(**made, host_.root() + "/proc/interrupts");
    InterruptStorm storm(monitor,
                         {.threshold_per_s = 1000, .period_s = 1, .delay_ms = 2, .duration_ms = 4});
    count(0);
    storm.step();
    count(1000);
    storm.step();
    EXPECT_EQ(messages(true), 1U) << "not more than the threshold";
    count(2001);
    storm.step();
    EXPECT_EQ(storm.count(), 1U);
    EXPECT_EQ(messages(true) + messages(true), 0U) << "held";
    storm.step();
    EXPECT_EQ(messages(false), 1U) << "two that were held are one";
    EXPECT_EQ(messages(true), 0U) << "still held";
    storm.step();
    EXPECT_EQ(messages(false), 1U);
    EXPECT_EQ(messages(true), 1U) << "over";
}

}  // namespace
}  // namespace cupule::machine
