#include "acpi/mp_table.h"

#include <gtest/gtest.h>

#include <span>
#include <string>

#include "acpi/example_platform.h"
#include "acpi/table.h"

namespace cupule::acpi {
namespace {

using Bytes = std::vector<std::uint8_t>;

TEST(MpTableTest, pointer_and_configuration_are_valid) {
    const auto table =
        make_mp_table(example_platform(2), {.signature = 0x806E9, .feature_flags = 0x1F8BFBFF});
    ASSERT_TRUE(table.has_value());
    EXPECT_EQ(Bytes(table->begin(), table->begin() + 4), Bytes({'_', 'M', 'P', '_'}));
    EXPECT_EQ(number_at(*table, 4, 4), 0xF0010U);
    EXPECT_EQ(checksum(std::span(*table).first(16)), 0);
    EXPECT_EQ(checksum(std::span(*table).subspan(16)), 0);
    EXPECT_EQ(number_at(*table, 20, 2), table->size() - 16);
    EXPECT_EQ(std::string(table->begin() + 24, table->begin() + 32), "CUPULE  ");
    // 2 processors, 2 buses, 1 I/O APIC, ExtINT, 15 ISA, 64 PCI, 2 local interrupts.
    EXPECT_EQ(number_at(*table, 50, 2), 2U + 2 + 1 + 1 + 15 + 64 + 2);
    EXPECT_EQ(number_at(*table, 52, 4), 0xFEE0'0000U);
}

TEST(MpTableTest, entries_are_as_in_the_specification) {
    PlatformDescription platform = example_platform(2);
    platform.pci.routes = {{.device = 3, .pin = 1, .gsi = 20, .pirq_link = 4}};
    const auto table = make_mp_table(platform, {.signature = 0x806E9, .feature_flags = 0x201});
    ASSERT_TRUE(table.has_value());
    const auto entry = [&table](std::size_t offset, std::size_t size) {
        const auto first = table->begin() + static_cast<std::ptrdiff_t>(offset);
        return Bytes(first, first + static_cast<std::ptrdiff_t>(size));
    };
    EXPECT_EQ(entry(60, 20), Bytes({0, 0, 0x14, 3, 0xE9, 0x06, 0x08, 0, 1, 2, 0, 0,  //
                                    0, 0, 0,    0, 0,    0,    0,    0}));
    EXPECT_EQ(entry(80, 4), Bytes({0, 1, 0x14, 1}));
    EXPECT_EQ(entry(100, 8), Bytes({1, 0, 'P', 'C', 'I', ' ', ' ', ' '}));
    EXPECT_EQ(entry(108, 8), Bytes({1, 1, 'I', 'S', 'A', ' ', ' ', ' '}));
    EXPECT_EQ(entry(116, 8), Bytes({2, 0, 0x11, 1, 0x00, 0x00, 0xC0, 0xFE}));
    EXPECT_EQ(entry(124, 8), Bytes({3, 3, 0, 0, 1, 0, 0, 0}));             // ExtINT on pin 0
    EXPECT_EQ(entry(132, 8), Bytes({3, 0, 0, 0, 1, 0, 0, 2}));             // timer on pin 2
    EXPECT_EQ(entry(140, 8), Bytes({3, 0, 0, 0, 1, 1, 0, 1}));             // IRQ 1
    EXPECT_EQ(entry(132 + 8 * 8, 8), Bytes({3, 0, 0x0D, 0, 1, 9, 0, 9}));  // SCI
    EXPECT_EQ(entry(132 + 15 * 8, 8), Bytes({3, 0, 0x0F, 0, 0, 0x0D, 0, 20}));
    EXPECT_EQ(entry(table->size() - 16, 16),
              Bytes({4, 3, 0, 0, 1, 0, 0xFF, 0, 4, 1, 0, 0, 1, 0, 0xFF, 1}));
}

TEST(MpTableTest, processors_without_an_8_bit_id_are_left_out) {
    PlatformDescription platform = example_platform(1);
    const std::size_t size = make_mp_table(platform)->size();
    platform.processors.push_back({.apic_id = 300, .objects = {}});
    EXPECT_EQ(make_mp_table(platform)->size(), size);
}

TEST(MpTableTest, most_processors_and_routes_fit) {
    EXPECT_TRUE(make_mp_table(example_platform(255)).has_value());
    EXPECT_FALSE(make_mp_table(example_platform(255), {}, mp_table_base, 1024).has_value());
}

}  // namespace
}  // namespace cupule::acpi
