// What `cupule passthrough list` prints, on a host made of files: the whole text.

#include "passthrough/host_list.h"

#include <gtest/gtest.h>

#include <string>

#include "passthrough/software_models.h"
#include "testing/fake_host.h"

namespace cupule::passthrough {
namespace {

using testing::FakeHost;

std::string list(const FakeHost& host) {
    const auto topology = HostTopology::read(host.root());
    EXPECT_TRUE(topology);
    return list_functions(*topology, DriverBinding(host.root()));
}

TEST(HostList, EveryEndpointHasALineWithItsIdsDriverGroupAndInterrupts) {
    FakeHost host;
    host.add({.name = "0000:00:1c.0", .driver = "pcieport", .group = 2, .header_type = 1});
    host.add({.name = "0000:00:02.0", .driver = "e1000e", .group = 1, .capability = 0x11});
    host.add({.name = "0000:00:03.0", .driver = "uhci", .group = 3, .irq = 33, .capability = 0x01});
    host.add({.name = "0000:00:04.0", .driver = "ahci", .group = 4, .irq = 33, .capability = 0x05});
    host.add({.name = "0000:00:1f.0"});
    EXPECT_EQ(list(host),
              "0000:00:02.0 8086:10d3 class 020000 driver e1000e group 1 MSI-X\n"
              "0000:00:03.0 8086:10d3 class 020000 driver uhci group 3 INTx GSI 20\n"
              "0000:00:04.0 8086:10d3 class 020000 driver ahci group 4 MSI or INTx GSI 20\n"
              "0000:00:1f.0 8086:10d3 class 020000 driver none no group INTx (line not known "
              "before a driver enables it)\n"
              "    not as it is: behind no IOMMU\n");
}

TEST(HostList, WhatCanHaveThePrecisionTimeOfItsPortIsMarked) {
    FakeHost host;
    const SoftwareModel model = make_i225_model(1, 5);
    const std::string port = "0000:00:1c.0";
    host.add({.name = port, .driver = "pcieport", .group = 2, .header_type = 1});
    host.add({.name = "0000:01:00.0",
              .driver = "igc",
              .group = 7,
              .capability = 0x11,
              .bus = "pci0000:00/" + port});
    const auto give_config = [&](const std::string& name, const std::vector<std::uint8_t>& config) {
        host.write("/sys/bus/pci/devices/" + name + "/config", {config.begin(), config.end()});
    };
    give_config(port, model.port_config);
    give_config("0000:01:00.0", model.config);
    EXPECT_EQ(list(host), "0000:01:00.0 8086:10d3 class 020000 driver igc group 7 MSI-X, PTM\n");
}

TEST(HostList, WhatKeepsAFunctionFromAGuestStandsUnderIt) {
    FakeHost host;
    host.add_driver("vfio-pci");
    host.interrupts(false);
    host.add({.name = "0000:01:00.0", .driver = "igb", .group = 1, .capability = 0x11});
    host.add({.name = "0000:01:10.0", .driver = "igbvf", .group = 1, .capability = 0x11});
    host.link("../0000:01:00.0", "/sys/bus/pci/devices/0000:01:10.0/physfn");
    host.add({.name = "0000:02:00.0", .driver = "uhci", .group = 2, .irq = 33, .capability = 1});
    host.add({.name = "0000:02:01.0", .driver = "uhci", .group = 3, .irq = 33, .capability = 1});
    const auto topology = HostTopology::read(host.root());
    ASSERT_TRUE(topology);
    const DriverBinding binding(host.root(), [&](const std::string& path, const std::string& text) {
        return host.kernel(path, text);
    });
    ASSERT_TRUE(binding.bind(*topology->find({.bus = 2, .device = 1})));
    EXPECT_EQ(list(host),
              "0000:01:00.0 8086:10d3 class 020000 driver igb group 1 MSI-X\n"
              "    not as it is: 0000:01:00.0 shares IOMMU group 1 with 0000:01:10.0 (igbvf): they "
              "could reach each other's memory, so all of them go to the guest or stay idle; "
              "`cupule passthrough bind` each, or leave 0000:01:00.0 on the host\n"
              "    not as it is: 0000:01:00.0 has virtual functions, which would lose it: "
              "0000:01:10.0 (igbvf); hand those over, or take them away first: `echo 0 "
              ">/sys/bus/pci/devices/0000:01:00.0/sriov_numvfs`\n"
              "    not as it is: interrupts are not remapped\n"
              "0000:01:10.0 8086:10d3 class 020000 driver igbvf group 1 MSI-X\n"
              "    a virtual function of 0000:01:00.0\n"
              "    not as it is: 0000:01:10.0 shares IOMMU group 1 with 0000:01:00.0 (igb): they "
              "could reach each other's memory, so all of them go to the guest or stay idle; "
              "`cupule passthrough bind` each, or leave 0000:01:10.0 on the host\n"
              "    not as it is: interrupts are not remapped\n"
              "0000:02:00.0 8086:10d3 class 020000 driver uhci group 2 INTx GSI 20\n"
              "    not as it is: 0000:02:00.0 has only INTx and shares GSI 20 with 0000:02:01.0 "
              "(vfio-pci): they go to the same guest together, or all stay on the host\n"
              "    not as it is: interrupts are not remapped\n"
              "0000:02:01.0 8086:10d3 class 020000 driver vfio-pci group 3 INTx GSI 20\n"
              "    taken from uhci; `cupule passthrough unbind 0000:02:01.0` gives it back\n"
              "    not as it is: 0000:02:01.0 has only INTx and shares GSI 20 with 0000:02:00.0 "
              "(uhci): they go to the same guest together, or all stay on the host\n"
              "    not as it is: interrupts are not remapped\n");
}

}  // namespace
}  // namespace cupule::passthrough
