// What is read of the host and said about it, with a host made of files.

#include <gtest/gtest.h>

#include <string>

#include "passthrough/config_image.h"
#include "passthrough/host_checks.h"
#include "passthrough/host_topology.h"
#include "passthrough/slot_options.h"
#include "passthrough/software_models.h"
#include "passthrough/sysfs_device.h"
#include "passthrough/time_measurement.h"
#include "pci/config_registers.h"
#include "testing/fake_host.h"

namespace cupule::passthrough {
namespace {

using testing::FakeHost;

HostTopology topology_of(const FakeHost& host) {
    auto topology = HostTopology::read(host.root());
    EXPECT_TRUE(topology);
    return std::move(*topology);
}

constexpr std::uint8_t msix_id = 0x11;
constexpr std::uint8_t power_id = 0x01;

std::string verdict(const FakeHost& host, const std::vector<std::string>& texts) {
    std::vector<SlotText> slots;
    for (const std::string& text : texts) {
        auto slot = parse_slot_text(text);
        EXPECT_TRUE(slot);
        slots.push_back(*slot);
    }
    std::vector<const SlotText*> wanted;
    for (const SlotText& slot : slots) {
        wanted.push_back(&slot);
    }
    const auto result = check_host_functions(topology_of(host), wanted);
    return result ? "" : result.error().message;
}

TEST(HostAddress, TakesAcrnsAndLinuxsSpellings) {
    const HostAddress nic{.bus = 0x1F, .device = 0x1F, .function = 6};
    EXPECT_EQ(HostAddress::parse("1f/1f/6"), nic);
    EXPECT_EQ(HostAddress::parse("1F:1f.6"), nic);
    EXPECT_EQ(HostAddress::parse("0000:1f:1f.6"), nic);
    EXPECT_EQ(HostAddress::parse("10001:1f:1f.6"), std::nullopt);
    EXPECT_EQ(nic.text(), "0000:1f:1f.6");
    for (const char* wrong : {"", "1", "1/2", "1/20/0", "1/2/8", "100/0/0", "0/0/0/0/0", "x/0/0",
                              "0/0/0 ", "0x1/0/0", "1//0"}) {
        EXPECT_EQ(HostAddress::parse(wrong), std::nullopt) << wrong;
    }
}

TEST(SlotOptions, TakesEveryOptionInAnyOrder) {
    const auto slot = parse_slot_text(
        "02/00/0,keep_gsi,vmsix_on_msi,3,romfile=/a,no_reset,enable_ptm,irq=17,dsdt=/b,");
    ASSERT_TRUE(slot);
    EXPECT_TRUE(slot->keep_gsi && slot->no_reset && slot->enable_ptm);
    EXPECT_FALSE(slot->d3hot_reset || slot->unsafe_interrupts);
    EXPECT_EQ(slot->msix_on_msi_bar, 3U);
    EXPECT_EQ(slot->gsi, 17U);
    EXPECT_EQ(slot->rom_file, "/a");
    EXPECT_EQ(slot->dsdt_file, "/b");
}

TEST(SlotOptions, NamesWhatIsWrong) {
    const auto complaint = [](std::string_view text) {
        const auto slot = parse_slot_text(text);
        return slot ? std::string() : slot.error().message;
    };
    EXPECT_NE(complaint("02-0").find("'02-0' is no PCI device"), std::string::npos);
    EXPECT_NE(complaint("02/0/0,gpu").find("'gpu' is not known"), std::string::npos);
    EXPECT_NE(complaint("02/0/0,vmsix_on_msi").find("0 to 5"), std::string::npos);
    EXPECT_NE(complaint("02/0/0,vmsix_on_msi,6").find("0 to 5"), std::string::npos);
    EXPECT_NE(complaint("02/0/0,irq=256").find("0 to 255"), std::string::npos);
    EXPECT_NE(complaint("02/0/0,romfile=").find("1 to 255"), std::string::npos);
    EXPECT_NE(complaint("02/0/0,no_reset,d3hot_reset").find("exclude"), std::string::npos);
}

TEST(HostTopology, ReadsWhatSysfsSays) {
    FakeHost host;
    host.add({.name = "0000:00:1c.0", .driver = "pcieport", .header_type = 1});
    host.add({.name = "0000:01:00.0",
              .driver = "igc",
              .group = 7,
              .irq = 33,
              .capability = msix_id,
              .bus = "pci0000:00/0000:00:1c.0"});
    const HostTopology topology = topology_of(host);
    ASSERT_EQ(topology.functions().size(), 2U);
    const HostFunction* nic = topology.find({.bus = 1});
    ASSERT_NE(nic, nullptr);
    EXPECT_EQ(nic->vendor, 0x8086);
    EXPECT_EQ(nic->class_code, 0x020000U);
    EXPECT_EQ(nic->driver, "igc");
    EXPECT_EQ(nic->iommu_group, 7U);
    EXPECT_EQ(nic->gsi, 20U);
    EXPECT_EQ(nic->config.size(), 256U);
    EXPECT_TRUE(nic->has_msix);
    EXPECT_FALSE(nic->needs_intx());
    EXPECT_EQ(nic->upstream, (HostAddress{.device = 0x1C}));
    EXPECT_TRUE(topology.find({.device = 0x1C})->is_bridge());
    EXPECT_EQ(topology.find({.device = 0x1C})->upstream, std::nullopt);
    EXPECT_TRUE(topology.remaps_interrupts());
}

TEST(HostChecks, AFunctionBehindVfioInAGroupOfItsOwnPasses) {
    FakeHost host;
    host.add({.name = "0000:00:02.0", .driver = "vfio-pci", .group = 1, .capability = msix_id});
    EXPECT_EQ(verdict(host, {"00/02/0"}), "");
    EXPECT_NE(verdict(host, {"00/02/0", "0000:00:02.0"}).find("asked for twice"),
              std::string::npos);
    EXPECT_NE(verdict(host, {"00/03/0"}).find("no PCI device 0000:00:03.0"), std::string::npos);
}

TEST(HostChecks, NamesTheDriverThatHasTheDevice) {
    FakeHost host;
    host.add({.name = "0000:00:02.0", .driver = "e1000e", .group = 1, .capability = msix_id});
    host.add({.name = "0000:00:1c.0", .driver = "pcieport", .group = 2, .header_type = 1});
    host.add({.name = "0000:00:03.0", .driver = "vfio-pci"});
    EXPECT_NE(verdict(host, {"00/02/0"}).find("in use by the host's driver e1000e"),
              std::string::npos);
    EXPECT_NE(verdict(host, {"00/1c/0"}).find("is a bridge"), std::string::npos);
    EXPECT_NE(verdict(host, {"00/03/0"}).find("behind no IOMMU"), std::string::npos);
}

TEST(HostChecks, TakesWhatNobodyUsesAndWhatTheUserSays) {
    FakeHost host;
    host.add({.name = "0000:00:02.0", .driver = "e1000e", .group = 1, .capability = msix_id});
    host.add({.name = "0000:00:02.1", .driver = "pci-stub", .group = 1, .capability = msix_id});
    host.add({.name = "0000:00:03.0", .group = 2, .capability = msix_id});
    EXPECT_EQ(verdict(host, {"00/03/0"}), "");
    EXPECT_EQ(verdict(host, {"00/02/0,bind"}), "");
    EXPECT_EQ(verdict(host, {"00/02/0,bind", "00/02/1"}), "");
    EXPECT_NE(verdict(host, {"00/02/1"}).find("with 0000:00:02.0 (e1000e)"), std::string::npos);
}

TEST(HostChecks, NamesTheOthersOfAnIommuGroup) {
    FakeHost host;
    host.add({.name = "0000:00:02.0", .driver = "vfio-pci", .group = 1, .capability = msix_id});
    host.add({.name = "0000:00:02.1", .driver = "snd_hda_intel", .group = 1});
    host.add({.name = "0000:00:02.2", .driver = "pcieport", .group = 1});
    const std::string complaint = verdict(host, {"00/02/0"});
    EXPECT_NE(complaint.find("group 1 with 0000:00:02.1 (snd_hda_intel)"), std::string::npos);
    EXPECT_EQ(complaint.find("02.2"), std::string::npos) << "a port does no DMA";
}

TEST(HostChecks, DevicesWithIntxAloneShareALineOnlyWithinOneGuest) {
    FakeHost host;
    host.add({.name = "0000:00:02.0",
              .driver = "vfio-pci",
              .group = 1,
              .irq = 33,
              .capability = power_id});
    host.add({.name = "0000:00:03.0",
              .driver = "vfio-pci",
              .group = 2,
              .irq = 33,
              .capability = power_id});
    host.add({.name = "0000:00:04.0", .driver = "igc", .irq = 33, .capability = msix_id});
    EXPECT_NE(verdict(host, {"00/02/0"}).find("shares GSI 20 with 0000:00:03.0 (vfio-pci)"),
              std::string::npos);
    EXPECT_EQ(verdict(host, {"00/02/0", "00/03/0"}), "");
}

/// A host with a device on the line of others, which have nothing but INTx.
class SharedLine : public ::testing::Test {
  protected:
    static constexpr const char* device = "0000:00:02.0";
    void share(const testing::FakeFunction& function) {
        host_.add(function);
        host_.add({.name = "0000:00:03.0",
                   .driver = "uhci",
                   .group = 2,
                   .irq = function.irq,
                   .capability = power_id});
    }
    FakeHost host_;
};

TEST_F(SharedLine, ADeviceWithMessagesIsCheckedWhereItIsMadeToUseIntx) {
    share({.name = device, .driver = "vfio-pci", .group = 1, .irq = 33, .capability = msix_id});
    EXPECT_EQ(verdict(host_, {"00/02/0"}), "");
    const std::string complaint = verdict(host_, {"00/02/0,keep_gsi"});
    EXPECT_NE(complaint.find("is to interrupt by INTx (keep_gsi) and shares GSI 20 with "
                             "0000:00:03.0 (uhci)"),
              std::string::npos)
        << complaint;
    EXPECT_NE(complaint.find("without keep_gsi it uses messages"), std::string::npos);
}

TEST_F(SharedLine, AGsiThatTheKernelHasNotRoutedToIsRefusedByName) {
    share({.name = device, .driver = "vfio-pci", .group = 1, .irq = 33, .capability = msix_id});
    EXPECT_NE(verdict(host_, {"00/02/0,keep_gsi,irq=21"})
                  .find("irq=21: the host's kernel has its INTx on GSI 20, and VFIO takes it from "
                        "there"),
              std::string::npos);
    EXPECT_EQ(verdict(host_, {"00/02/0,irq=21"}), "") << "it interrupts by messages";
    EXPECT_NE(verdict(host_, {"00/02/0,keep_gsi,irq=20"}).find("shares GSI 20"), std::string::npos);
}

TEST_F(SharedLine, WhatFirmwareLeftInAFunctionNobodyEnabledSaysNothing) {
    share({.name = device,
           .driver = "vfio-pci",
           .group = 1,
           .irq = 11,
           .enabled = false,
           .capability = power_id});
    const HostTopology before = topology_of(host_);
    EXPECT_EQ(before.find({.device = 2})->irq, std::nullopt);
    EXPECT_EQ(before.find({.device = 3})->irq, 11U);
    EXPECT_EQ(verdict(host_, {"00/02/0"}), "");
    EXPECT_EQ(verdict(host_, {"00/02/0,irq=20"}), "") << "nobody is known to be there";
}

TEST_F(SharedLine, ALineIsCheckedOnceVfioHasTheDeviceOpen) {
    host_.add({.name = device, .driver = "vfio-pci", .group = 1, .irq = 11, .enabled = false});
    host_.add({.name = "0000:00:03.0", .driver = "uhci", .group = 2, .irq = 33});
    EXPECT_EQ(verdict(host_, {"00/02/0"}), "");
    EXPECT_NE(verdict(host_, {"00/02/0,irq=20"}).find("shares GSI 20"), std::string::npos)
        << "the user knows it";
    const std::string path = std::string("/sys/bus/pci/devices/") + device;
    host_.write(path + "/irq", "33\n");
    host_.write(path + "/enable", "1\n");
    const SlotText slot{.address = HostAddress{.device = 2}};
    const SlotText other{.address = HostAddress{.device = 3}};
    const auto open = check_routed_interrupt(topology_of(host_), slot, {&slot});
    ASSERT_FALSE(open);
    EXPECT_NE(open.error().message.find("shares GSI 20 with 0000:00:03.0 (uhci)"),
              std::string::npos);
    EXPECT_TRUE(check_routed_interrupt(topology_of(host_), slot, {&slot, &other}));
}

TEST_F(SharedLine, OnAHostInPicModeTheIrqIsTheLine) {
    share({.name = device, .driver = "vfio-pci", .group = 1, .irq = 11, .capability = power_id});
    EXPECT_NE(verdict(host_, {"00/02/0"}).find("shares IRQ 11 with 0000:00:03.0"),
              std::string::npos);
}

TEST(HostTopology, TheInputsOfSeveralIoapicsAreToldApart) {
    FakeHost host;
    host.write("/proc/interrupts",
               " 9: 0 IO-APIC 9-fasteoi acpi\n 20: 0 IO-APIC 20-fasteoi uhci\n"
               " 60: 0 IO-APIC 20-fasteoi uhci\n 61: 0 IO-APIC 5-edge gpio\n");
    host.add({.name = "0000:00:02.0", .driver = "uhci", .irq = 20});
    host.add({.name = "0000:00:03.0", .driver = "uhci", .irq = 60});
    host.add({.name = "0000:00:04.0", .driver = "uhci", .irq = 61});
    using Gsis = std::vector<std::optional<unsigned>>;
    const auto gsis = [&] {
        const HostTopology topology = topology_of(host);
        Gsis all;
        for (const HostFunction& function : topology.functions()) {
            all.push_back(function.gsi);
        }
        return all;
    };
    EXPECT_EQ(gsis(), (Gsis{20, 20, 5})) << "with one, inputs are GSIs";
    host.ioapics({0, 24});
    EXPECT_EQ(gsis(), (Gsis{20, 44, std::nullopt})) << "5 may be one of each";
    host.ioapics({0, 24, 32});
    EXPECT_EQ(gsis(), (Gsis{20, std::nullopt, std::nullopt}));
    host.write("/sys/firmware/acpi/tables/APIC", "");
    EXPECT_EQ(gsis(), (Gsis{20, std::nullopt, std::nullopt})) << "an ordinary user cannot read it";
}

TEST_F(SharedLine, InputsOfTheSameNumberOnTwoIoapicsAreTwoLines) {
    host_.ioapics({0, 24});
    host_.write("/proc/interrupts",
                " 20: 0 IR-IO-APIC 20-fasteoi uhci\n 60: 0 IR-IO-APIC 20-fasteoi uhci\n");
    host_.add({.name = device, .driver = "vfio-pci", .group = 1, .irq = 60});
    host_.add({.name = "0000:00:03.0", .driver = "uhci", .group = 2, .irq = 20});
    EXPECT_EQ(verdict(host_, {"00/02/0"}), "");
    host_.ioapics({0, 24, 32});
    EXPECT_EQ(verdict(host_, {"00/02/0"}), "");
    host_.add({.name = "0000:00:04.0", .driver = "uhci", .group = 3, .irq = 60});
    EXPECT_NE(verdict(host_, {"00/02/0"}).find("shares IRQ 60 with 0000:00:04.0 (uhci): they"),
              std::string::npos);
}

TEST(HostTopology, AVirtualFunctionHasItsIdsAndNoPin) {
    FakeHost host;
    host.add({.name = "0000:01:00.0", .driver = "igb", .group = 1, .capability = msix_id});
    host.add({.name = "0000:01:10.0", .group = 2, .capability = msix_id});
    host.link("../0000:01:00.0", "/sys/bus/pci/devices/0000:01:10.0/physfn");
    std::string config = host.read("/sys/bus/pci/devices/0000:01:10.0/config");
    config.replace(0, 4, "\xFF\xFF\xFF\xFF");
    host.write("/sys/bus/pci/devices/0000:01:10.0/config", config);
    const HostTopology topology = topology_of(host);
    const HostFunction* part = topology.find({.bus = 1, .device = 0x10});
    ASSERT_NE(part, nullptr);
    EXPECT_EQ(part->physical, (HostAddress{.bus = 1}));
    EXPECT_EQ(topology.virtual_functions({.bus = 1}).size(), 1U);
    EXPECT_TRUE(topology.virtual_functions(part->address).empty());
    EXPECT_EQ(config_reader(part->config)(0, 4), 0x10D3'8086U);
    EXPECT_EQ(part->interrupt_pin, 0);
    EXPECT_EQ(config_reader(part->config)(pci::config::interrupt_pin, 1), 0U);
}

TEST(SysfsDevice, TakesItsBarsFromTheKernelsFlagsAndItsIdsFromTheFunction) {
    FakeHost host;
    host.add({.name = "0000:01:10.0", .group = 2, .capability = msix_id});
    host.link("../0000:01:00.0", "/sys/bus/pci/devices/0000:01:10.0/physfn");
    host.write("/sys/bus/pci/devices/0000:01:10.0/resource",
               "0x00000000fe404000 0x00000000fe407fff 0x0000000000140204\n"
               "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
               "0x00000000d0000000 0x00000000d0ffffff 0x0000000000042208\n"
               "0x000000000000c000 0x000000000000c01f 0x0000000000040101\n"
               "nonsense\n");
    const HostTopology topology = topology_of(host);
    const auto device = SysfsDevice::open(topology.functions()[0], host.root());
    ASSERT_TRUE(device) << device.error().message;
    EXPECT_EQ((*device)->read_config(0, 4), 0x10D3'8086U);
    EXPECT_EQ((*device)->interrupts(HostInterrupt::intx), 0U);
    EXPECT_EQ((*device)->bar(0).kind, pci::BarKind::memory_64);
    EXPECT_EQ((*device)->bar(0).size, 0x4000U);
    EXPECT_FALSE((*device)->bar(0).prefetchable);
    EXPECT_EQ((*device)->bar(2).kind, pci::BarKind::memory_32);
    EXPECT_TRUE((*device)->bar(2).prefetchable);
    EXPECT_EQ((*device)->bar(3).kind, pci::BarKind::io);
    EXPECT_EQ((*device)->bar(3).size, 0x20U);
    EXPECT_EQ((*device)->bar(4).size, 0U);
}

TEST(HostChecks, APhysicalFunctionWithVirtualOnesStays) {
    FakeHost host;
    host.add({.name = "0000:01:00.0", .driver = "igb", .group = 1, .capability = msix_id});
    host.add({.name = "0000:01:10.0", .driver = "vfio-pci", .group = 2, .capability = msix_id});
    host.link("../0000:01:00.0", "/sys/bus/pci/devices/0000:01:10.0/physfn");
    EXPECT_NE(verdict(host, {"01/00/0,bind"})
                  .find("0000:01:00.0 has virtual functions, which would lose it: 0000:01:10.0 "
                        "(vfio-pci)"),
              std::string::npos);
    EXPECT_EQ(verdict(host, {"01/10/0"}), "");
}

TEST(HostChecks, WithoutInterruptRemappingTheUserHasToNameTheRisk) {
    FakeHost host;
    host.interrupts(false);
    host.add({.name = "0000:00:02.0", .driver = "vfio-pci", .group = 1, .capability = msix_id});
    EXPECT_NE(verdict(host, {"00/02/0"}).find("does not remap interrupts"), std::string::npos);
    EXPECT_EQ(verdict(host, {"00/02/0,unsafe_interrupts"}), "");
    const HostTopology topology = topology_of(host);
    EXPECT_EQ(find_obstacles(topology, topology.functions()[0]),
              std::vector<std::string>{"interrupts are not remapped"});
}

// Precision time measurement.

std::string time_verdict(const std::vector<std::uint8_t>& endpoint,
                         const std::vector<std::uint8_t>& port) {
    const auto source = check_time_measurement(endpoint, port);
    return source ? "" : source.error().message;
}

TEST(TimeMeasurement, AnI225BelowARootPortWithPtmOnHasIt) {
    const SoftwareModel model = make_i225_model(1, 5);
    const auto source = check_time_measurement(model.config, model.port_config);
    ASSERT_TRUE(source) << source.error().message;
    EXPECT_FALSE(source->integrated);
    EXPECT_EQ(source->port.vendor_id, 0x8086);
    EXPECT_EQ(source->port.device_id, 0xA0BC);
    EXPECT_EQ(source->capability, 0x0406U);
    EXPECT_EQ(source->control, 0x0403U);
}

TEST(TimeMeasurement, SaysWhichConditionFails) {
    const SoftwareModel model = make_i225_model(1, 5);
    const auto changed = [](std::vector<std::uint8_t> config, unsigned offset, std::uint8_t value) {
        config[offset] = value;
        return config;
    };
    const auto& config = model.config;
    const auto& port = model.port_config;
    const auto expect = [&](const std::string& text, const std::vector<std::uint8_t>& endpoint,
                            const std::vector<std::uint8_t>& above) {
        EXPECT_NE(time_verdict(endpoint, above).find(text), std::string::npos)
            << text << ": " << time_verdict(endpoint, above);
    };
    expect("not PCI Express", std::vector<std::uint8_t>(256), port);
    expect("no PTM capability", changed(config, 0x1F0, 0), port);
    expect("no PTM requester", changed(config, 0x1F4, 0), port);
    expect("several functions", changed(config, 0x0E, 0x80), port);
    expect("no endpoint", changed(config, 0xA2, 0x52), port);
    expect("not directly below", config, {});
    expect("not directly below", config, changed(port, 0x42, 0x62));
    expect("cannot be a PTM root", config, changed(port, 0x154, 2));
    expect("is not on", config, changed(port, 0x158, 2));
    expect("is not on", config, changed(port, 0x158, 1));
    EXPECT_EQ(time_verdict(changed(config, 0xA2, 0x92), {}), "") << "integrated: no port needed";
}

TEST(ConfigImage, ListsThatGoRoundOrOverlapEnd) {
    std::vector<std::uint8_t> config(256);
    config[0x06] = 0x10;
    config[0x34] = 0x40;
    config[0x40] = 0x09;
    config[0x41] = 0x50;
    config[0x42] = 0xFF;  // a vendor's capability that would reach past everything
    config[0x50] = 0x11;
    config[0x51] = 0x40;
    const ConfigImage image = read_config_image(config_reader(config), 256);
    ASSERT_EQ(image.capabilities.size(), 2U);
    EXPECT_EQ(image.find(0x09)->length, 0x10);
    EXPECT_EQ(image.find(0x11)->length, 12);
}

}  // namespace
}  // namespace cupule::passthrough
