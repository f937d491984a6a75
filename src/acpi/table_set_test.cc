#include "acpi/table_set.h"

#include <gtest/gtest.h>

#include "acpi/example_platform.h"
#include "acpi/tables.h"

namespace cupule::acpi {
namespace {

using Bytes = std::vector<std::uint8_t>;

TEST(TableSetTest, tables_lie_in_the_bios_area_without_overlap) {
    const auto set = make_table_set(example_platform(16));
    ASSERT_TRUE(set.has_value());
    std::uint64_t end = tables_base;
    for (const PlacedTable& table : set->tables) {
        EXPECT_GE(table.address, end) << table.name;
        EXPECT_EQ(table.address % 16, 0U) << table.name;
        end = table.address + table.bytes.size();
    }
    EXPECT_LE(end, tables_end);
    EXPECT_EQ(set->rsdp_address(), 0xF2400U);
    EXPECT_EQ(set->tables.front().name, "RSDP");
    EXPECT_EQ(set->find("FACS")->address % 64, 0U);
}

TEST(TableSetTest, pointers_lead_to_their_tables) {
    PlatformDescription platform = example_platform();
    platform.extra_tables.push_back(make_ssdt(aml::name("\\TEST", aml::integer(1))));
    const auto set = make_table_set(platform);
    ASSERT_TRUE(set.has_value());
    const Bytes& rsdp = set->find("RSDP")->bytes;
    EXPECT_EQ(number_at(rsdp, 16, 4), set->find("RSDT")->address);
    EXPECT_EQ(number_at(rsdp, 24, 8), set->find("XSDT")->address);
    const Bytes& fadt = set->find("FACP")->bytes;
    EXPECT_EQ(number_at(fadt, 36, 4), set->find("FACS")->address);
    EXPECT_EQ(number_at(fadt, 40, 4), set->find("DSDT")->address);
    std::size_t i = 0;
    for (const char* name : {"FACP", "APIC", "HPET", "MCFG", "SSDT"}) {
        const std::uint32_t address = set->find(name)->address;
        EXPECT_EQ(number_at(set->find("RSDT")->bytes, 36 + 4 * i, 4), address) << name;
        EXPECT_EQ(number_at(set->find("XSDT")->bytes, 36 + 8 * i, 8), address) << name;
        ++i;
    }
}

TEST(TableSetTest, absent_devices_have_no_table) {
    PlatformDescription platform = example_platform();
    platform.hpet.reset();
    platform.pci.ecam.reset();
    const auto set = make_table_set(platform);
    ASSERT_TRUE(set.has_value());
    EXPECT_EQ(set->find("HPET"), nullptr);
    EXPECT_EQ(set->find("MCFG"), nullptr);
}

TEST(TableSetTest, too_much_aml_is_an_error_with_sizes) {
    PlatformDescription platform = example_platform();
    platform.contributions.push_back({AmlPlace::root, aml::Term(Bytes(0x10000, 0xA3))});
    const auto set = make_table_set(platform);
    ASSERT_FALSE(set.has_value());
    EXPECT_NE(set.error().message.find("have room for 56320"), std::string::npos)
        << set.error().message;
}

}  // namespace
}  // namespace cupule::acpi
