// ACPI devices and memory of the host, on a host made of files.

#include "passthrough/acpi_device.h"

#include <gtest/gtest.h>

#include "testing/fake_host.h"

namespace cupule::passthrough {
namespace {

using testing::FakeHost;

class AcpiDeviceTest : public ::testing::Test {
  protected:
    AcpiDeviceTest() {
        for (const char* part : {"/sys/bus/acpi", "/sys/bus/acpi/devices", "/sys/bus/platform"}) {
            host_.make_directory(part);
        }
        host_.write("/proc/iomem",
                    "00000000-00000fff : Reserved\n"
                    "00001000-7fffffff : System RAM\n"
                    "  01000000-01ffffff : Kernel code\n"
                    "fed00000-fed003ff : HPET 0\n"
                    "  fed00000-fed003ff : PNP0103:00\n"
                    "fed40000-fed44fff : pnp 00:01\n"
                    "  fed40000-fed44fff : MSFT0101:00\n"
                    "    fed40000-fed44fff : MSFT0101:00\n"
                    "fed50000-fed507ff : INTC1055:00\n"
                    "fed50800-fed50fff : INTC1055:01\n");
        add("MSFT0101:00", "MSFT0101", "acpi:MSFT0101:PNP0C31:\n", "1\n");
        add("INTC1055:00", "INTC1055", "acpi:INTC1055:\n", "0\n");
        add("INTC1055:01", "INTC1055", "acpi:INTC1055:\n", "7\n");
        add("PNP0501:00", "PNP0501", "acpi:PNP0501:\n", "0\n");
        node("PNP0501:00", "00:04");
        host_.write(path("PNP0501:00") + "/physical_node/resources",
                    "state = active\nio 0x3f8-0x3ff\nirq 4\nmem disabled\n");
        add("ABCD0001:00", "ABCD0001", "", "");
        node("ABCD0001:00", "00:05");
        host_.write(path("ABCD0001:00") + "/physical_node/resources",
                    "state = active\nmem 0xfed60000-0xfed60fff\nmem 0xfed70000-0xfed7ffff\n");
    }
    static std::string path(const std::string& name) { return "/sys/bus/acpi/devices/" + name; }
    void add(const std::string& name, const std::string& hid, const std::string& modalias,
             const std::string& uid) {
        host_.make_directory(path(name));
        host_.write(path(name) + "/hid", hid + "\n");
        if (!modalias.empty()) {
            host_.write(path(name) + "/modalias", modalias);
        }
        if (!uid.empty()) {
            host_.write(path(name) + "/uid", uid);
        }
    }
    void node(const std::string& name, const std::string& physical) {
        host_.make_directory("/sys/devices/" + physical);
        host_.link("../../../../devices/" + physical, path(name) + "/physical_node");
    }
    auto find(std::string_view hid, std::string_view uid = {}) const {
        return find_acpi_device(hid, uid, host_.root());
    }
    std::string complaint(std::string_view hid, std::string_view uid = {}) const {
        const auto device = find(hid, uid);
        if (!device) {
            return device.error().message;
        }
        const auto map = read_host_memory_map(host_.root());
        const auto checked = check_acpi_device(*device, *map);
        return checked ? "" : checked.error().message;
    }
    bool says(std::string_view hid, std::string_view uid, const std::string& text) const {
        const std::string message = complaint(hid, uid);
        return message.find(text) != std::string::npos ||
               (ADD_FAILURE() << "'" << message << "'", false);
    }

    FakeHost host_;
};

TEST_F(AcpiDeviceTest, FindsATpmWithItsMemoryAndOtherIds) {
    const auto tpm = find("MSFT0101");
    ASSERT_TRUE(tpm) << tpm.error().message;
    EXPECT_EQ(tpm->name, "MSFT0101:00");
    EXPECT_EQ(tpm->uid, "1");
    EXPECT_EQ(tpm->compatible, std::vector<std::string>{"PNP0C31"});
    ASSERT_EQ(tpm->memory.size(), 1U);
    EXPECT_EQ(tpm->memory[0].base, 0xFED4'0000U);
    EXPECT_EQ(tpm->memory[0].size, 0x5000U);
    EXPECT_EQ(complaint("MSFT0101"), "");
    EXPECT_EQ(find("PNP0C31")->name, "MSFT0101:00") << "by what it is compatible with";
}

TEST_F(AcpiDeviceTest, ReadsTheResourcesOfPnpDevices) {
    const auto device = find("ABCD0001");
    ASSERT_TRUE(device);
    ASSERT_EQ(device->memory.size(), 2U);
    EXPECT_EQ(device->memory[1].base, 0xFED7'0000U);
    EXPECT_EQ(device->memory[1].size, 0x1'0000U);
    EXPECT_EQ(complaint("ABCD0001"), "");
    const auto serial = find("PNP0501");
    ASSERT_TRUE(serial);
    EXPECT_TRUE(serial->has_ports && serial->has_interrupts);
    EXPECT_TRUE(says("PNP0501", "", "PNP0501:00 has no memory that Linux knows of, but I/O ports"));
}

TEST_F(AcpiDeviceTest, TellsDevicesOfOneIdApart) {
    EXPECT_EQ(find("INTC1055", "7")->name, "INTC1055:01") << "by its _UID";
    EXPECT_EQ(find("INTC1055", "1")->name, "INTC1055:01") << "by its number";
    EXPECT_EQ(find("INTC1055", "0")->name, "INTC1055:00");
    EXPECT_TRUE(says("INTC1055", "", "means 2 ACPI devices"));
    EXPECT_TRUE(says("INTC1055", "", "INTC1055:00 (_UID 0), INTC1055:01 (_UID 7)"));
    EXPECT_TRUE(says("INTC1055", "9", "'INTC1055,9' means 0 ACPI devices"));
    EXPECT_TRUE(says("NONE0001", "", "no ACPI device 'NONE0001'"));
}

TEST_F(AcpiDeviceTest, RefusesWhatSharesAPageAndWhatADriverHas) {
    EXPECT_TRUE(says("INTC1055", "0", "shares a page at 0xfed50000 with INTC1055:01"));
    host_.make_directory("/sys/bus/acpi/drivers");
    host_.make_directory("/sys/bus/acpi/drivers/tpm_crb");
    host_.link("../../drivers/tpm_crb", path("MSFT0101:00") + "/driver");
    host_.link("../../../acpi", path("MSFT0101:00") + "/subsystem");
    EXPECT_TRUE(says("MSFT0101", "",
                     "MSFT0101:00 is in use by the host's driver tpm_crb; `echo MSFT0101:00 > "
                     "/sys/bus/acpi/drivers/tpm_crb/unbind`"));
}

TEST_F(AcpiDeviceTest, SaysWhenTheHostHidesItsAddresses) {
    host_.write("/proc/iomem", "00000000-00000000 : System RAM\n");
    const auto device = find("MSFT0101");
    ASSERT_FALSE(device);
    EXPECT_NE(device.error().message.find("run as root"), std::string::npos);
}

TEST_F(AcpiDeviceTest, RamOfTheHostIsNoDevice) {
    const auto map = read_host_memory_map(host_.root());
    ASSERT_TRUE(map);
    EXPECT_TRUE(check_memory_range(0xFED4'0000, 0x1000, *map));
    EXPECT_TRUE(check_memory_range(0, 0x1000, *map));
    for (const std::uint64_t base : {0x1000ULL, 0x7FFF'FFFFULL, 0x100'0000ULL, 0xFFFULL}) {
        const auto checked = check_memory_range(base, 2, *map);
        ASSERT_FALSE(checked) << base;
        EXPECT_NE(checked.error().message.find("is RAM of the host"), std::string::npos);
    }
    EXPECT_FALSE(check_memory_range(physical_address_end - 1, 2, *map));
    EXPECT_FALSE(check_memory_range(~std::uint64_t{0} - 1, 1, *map));
}

TEST_F(AcpiDeviceTest, MapsWhatTheHostGivesAndSaysWhatItDoesNot) {
    host_.write("/mem", std::string(0x3000, 'm'));
    auto mapping = HostMapping::map(0x1000, 0x1000, host_.root() + "/mem");
    ASSERT_TRUE(mapping) << mapping.error().message;
    mapping->data()[5] = std::byte{'x'};
    EXPECT_EQ(host_.read("/mem")[0x1005], 'x');
    const auto none = HostMapping::map(0, 0x1000, host_.root() + "/none");
    ASSERT_FALSE(none);
    EXPECT_NE(none.error().message.find("CONFIG_DEVMEM"), std::string::npos);
}

}  // namespace
}  // namespace cupule::passthrough
