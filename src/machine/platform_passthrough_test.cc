// ACPI devices and memory of the host in a guest: where they are mapped, and what ACPI says.

#include "machine/platform_passthrough.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <numeric>

#include "acpi/dsdt.h"
#include "hypervisor/fake/fake_vm.h"
#include "machine/address_map.h"
#include "testing/fake_host.h"

namespace cupule::machine {
namespace {

using cupule::testing::FakeHost;

constexpr std::uint64_t tpm_base = 0xFED4'0000;

/// The host's table, with an event log.
std::string tpm_table(std::uint8_t method) {
    std::string bytes(76, '\0');
    bytes.replace(0, 4, "TPM2");
    bytes[4] = 76;
    bytes[8] = 4;
    bytes[40] = 0x40;
    bytes[42] = '\xD4';
    bytes[43] = '\xFE';
    bytes[48] = static_cast<char>(method);
    bytes[64] = 1;  // the log's size and address
    bytes[70] = 2;
    const int sum = std::accumulate(bytes.begin(), bytes.end(), 0);
    bytes[9] = static_cast<char>(-sum);
    return bytes;
}

class PlatformPassthroughTest : public ::testing::Test {
  protected:
    PlatformPassthroughTest() {
        for (const char* part :
             {"/sys/bus/acpi", "/sys/bus/acpi/devices", "/sys/bus/acpi/devices/MSFT0101:00",
              "/sys/bus/acpi/devices/ABCD0001:00", "/sys/firmware", "/sys/firmware/acpi",
              "/sys/firmware/acpi/tables"}) {
            host_.make_directory(part);
        }
        host_.write("/proc/iomem",
                    "00001000-7fffffff : System RAM\n"
                    "c0000000-c00000ff : ABCD0001:00\n"
                    "fed40000-fed40fff : MSFT0101:00\n");
        host_.write("/sys/bus/acpi/devices/MSFT0101:00/hid", "MSFT0101\n");
        host_.write("/sys/bus/acpi/devices/ABCD0001:00/hid", "ABCD0001\n");
        host_.write("/sys/bus/acpi/devices/ABCD0001:00/uid", "5\n");
        host_.write("/sys/firmware/acpi/tables/TPM2", tpm_table(7));
        host_.write("/mem", "");
        EXPECT_EQ(truncate((host_.root() + "/mem").c_str(), off_t{1} << 32), 0);
        options_.memory_size = memory_size_min;
    }
    auto create() {
        return PlatformPassthrough::create(
            options_, vm_, {.root = host_.root(), .memory_path = host_.root() + "/mem"});
    }
    std::string complaint() {
        const auto made = create();
        return made ? "" : made.error().message;
    }
    using Mappings = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

    FakeHost host_;
    hypervisor::FakeVm vm_{{.name = "platform", .vcpus = 1}};
    VmOptions options_;
};

TEST_F(PlatformPassthroughTest, ATpmKeepsItsAddressAndComesWithItsTable) {
    options_.acpi_passthrough = {{.hid = "MSFT0101", .uid = {}}};
    {
        const auto made = create();
        ASSERT_TRUE(made) << made.error().message;
        EXPECT_EQ(vm_.mappings(), (Mappings{{tpm_base, 0x1000}}));
        ASSERT_EQ((*made)->tables().size(), 1U);
        ASSERT_EQ((*made)->contributions().size(), 1U);
        const auto contributions = (*made)->contributions();
        const auto bytes = contributions[0].aml.bytes();
        const std::string aml(bytes.begin(), bytes.end());
        EXPECT_NE(aml.find("PT00"), std::string::npos);
        EXPECT_NE(aml.find("MSFT0101"), std::string::npos);
        // Memory32Fixed (ACPI 6.5, 6.4.3.4): read-write, base, size.
        EXPECT_NE(aml.find(std::string("\x86\x09\x00\x01\x00\x00\xD4\xFE\x00\x10\x00\x00", 12)),
                  std::string::npos);
    }
    EXPECT_TRUE(vm_.mappings().empty()) << "given back at the end";
}

TEST_F(PlatformPassthroughTest, TheTpmsTableLosesTheHostsLogAndStaysWhole) {
    const std::string text = tpm_table(7);
    const auto table = make_passed_tpm_table({text.begin(), text.end()});
    ASSERT_TRUE(table);
    EXPECT_EQ(table->bytes.size(), 64U);
    EXPECT_EQ(table->bytes[4], 64);
    EXPECT_EQ(table->bytes[48], 7);
    EXPECT_EQ(std::accumulate(table->bytes.begin(), table->bytes.end(), 0U) & 0xFF, 0U);
    const std::string method_8 = tpm_table(8);
    EXPECT_FALSE(make_passed_tpm_table({method_8.begin(), method_8.end()}));
    std::string damaged = text;
    damaged[20] = 1;
    EXPECT_FALSE(make_passed_tpm_table({damaged.begin(), damaged.end()}));
    EXPECT_FALSE(make_passed_tpm_table({}));
}

TEST_F(PlatformPassthroughTest, WhereTheGuestHasSomethingElseTheDeviceMoves) {
    options_.acpi_passthrough = {{.hid = "ABCD0001", .uid = "5"}};
    const auto made = create();
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(vm_.mappings(), (Mappings{{platform_window_base, 0x1000}}));
    EXPECT_TRUE((*made)->tables().empty());
}

TEST_F(PlatformPassthroughTest, RangesStandOneBehindTheOtherFromTheWindowsStart) {
    options_.mmio_passthrough = {{.base = 0xFE00'0010, .size = 0x1000},
                                 {.base = 0xFE10'0000, .size = 0x800}};
    host_.write("/mem", "");
    EXPECT_EQ(truncate((host_.root() + "/mem").c_str(), off_t{1} << 32), 0);
    const auto made = create();
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(vm_.mappings(),
              (Mappings{{platform_window_base, 0x2000}, {platform_window_base + 0x2000, 0x1000}}));
    EXPECT_EQ((*made)->reserved().size(), 2U);
    EXPECT_EQ((*made)->reserved()[0].base, platform_window_base);
    EXPECT_EQ((*made)->reserved()[0].size, 0x2000U);
}

TEST_F(PlatformPassthroughTest, NamesTheOptionAndTheReason) {
    const auto says = [&](const std::string& text) {
        const std::string message = complaint();
        EXPECT_NE(message.find(text), std::string::npos) << message;
    };
    options_.mmio_passthrough = {{.base = 0x1000, .size = 0x1000}};
    says("--mmiodev_pt 1000,1000: [0x1000, 0x2000) is RAM of the host");
    options_.mmio_passthrough = {{.base = 0x8000'0000, .size = 0x1000'0000}};
    says("bytes do not fit: the guest has [0xf0000000, 0xfe000000)");
    options_.mmio_passthrough.clear();
    options_.acpi_passthrough = {{.hid = "MSFT0101", .uid = {}}, {.hid = "MSFT0101", .uid = {}}};
    says("--acpidev_pt MSFT0101: MSFT0101:00 is asked for twice");
    options_.acpi_passthrough = {{.hid = "MSFT0101", .uid = {}}};
    host_.write("/sys/firmware/acpi/tables/TPM2", tpm_table(2));
    says("method 2 of its TPM2 table");
    host_.write("/sys/firmware/acpi/tables/TPM2", "");
    says("no TPM2 table");
    EXPECT_TRUE(vm_.mappings().empty());
}

}  // namespace
}  // namespace cupule::machine
