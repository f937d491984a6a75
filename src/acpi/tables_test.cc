#include "acpi/tables.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "acpi/dsdt.h"
#include "acpi/example_platform.h"

namespace cupule::acpi {
namespace {

using Bytes = std::vector<std::uint8_t>;

unsigned sum_of(const Bytes& bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), 0U) & 0xFF;
}

Bytes slice(const Bytes& bytes, std::size_t offset, std::size_t size) {
    return {bytes.begin() + static_cast<std::ptrdiff_t>(offset),
            bytes.begin() + static_cast<std::ptrdiff_t>(offset + size)};
}

/// A generic address of system I/O space.
Bytes io_address(unsigned port, std::uint8_t bits, std::uint8_t access) {
    return {1,
            bits,
            0,
            access,
            static_cast<std::uint8_t>(port),
            static_cast<std::uint8_t>(port >> 8),
            0,
            0,
            0,
            0,
            0,
            0};
}

TEST(TableTest, checksum_makes_the_sum_zero) {
    EXPECT_EQ(checksum(Bytes({0x01, 0x02})), 0xFD);
    EXPECT_EQ(checksum(Bytes({})), 0x00);
    EXPECT_EQ(checksum(Bytes({0xFF, 0x01})), 0x00);
}

TEST(TableTest, header_has_length_checksum_and_oem) {
    TableWriter writer("TEST", 3);
    writer.u32(0x1234'5678);
    const Bytes bytes = std::move(writer).finish();
    EXPECT_EQ(bytes.size(), 40U);
    EXPECT_EQ(number_at(bytes, 4, 4), 40U);
    EXPECT_EQ(sum_of(bytes), 0U);
    EXPECT_EQ(bytes[8], 3);
    EXPECT_EQ(slice(bytes, 10, 6), Bytes({'C', 'U', 'P', 'U', 'L', 'E'}));
    EXPECT_EQ(number_at(bytes, 36, 4), 0x1234'5678U);
}

TEST(TableDeathTest, numbers_must_fit_their_field) {
    EXPECT_DEATH(TableWriter().u8(256), "");
    EXPECT_DEATH(TableWriter().text("TOO LONG", 4), "");
}

TEST(TablesTest, rsdp_has_both_checksums) {
    const Bytes rsdp = make_rsdp(0xF3000, 0xF3100).bytes;
    ASSERT_EQ(rsdp.size(), 36U);
    EXPECT_EQ(sum_of(slice(rsdp, 0, 20)), 0U);
    EXPECT_EQ(sum_of(rsdp), 0U);
    EXPECT_EQ(rsdp[15], 2);
    EXPECT_EQ(number_at(rsdp, 16, 4), 0xF3000U);
    EXPECT_EQ(number_at(rsdp, 24, 8), 0xF3100U);
}

TEST(TablesTest, every_table_sums_to_zero) {
    const PlatformDescription platform = example_platform();
    for (const Table& table :
         {make_rsdt({}), make_xsdt({}), make_fadt(platform, 0xF2440, 0xF2480), make_madt(platform),
          make_hpet(*platform.hpet), make_mcfg(*platform.pci.ecam), make_dsdt(platform)}) {
        EXPECT_EQ(sum_of(table.bytes), 0U) << table.name;
        EXPECT_EQ(number_at(table.bytes, 4, 4), table.bytes.size()) << table.name;
        EXPECT_EQ(std::string(table.bytes.begin(), table.bytes.begin() + 4), table.name);
    }
}

TEST(TablesTest, fadt_describes_the_fixed_hardware) {
    const Bytes fadt = make_fadt(example_platform(), 0xF2440, 0xF2480).bytes;
    ASSERT_EQ(fadt.size(), 276U);
    EXPECT_EQ(number_at(fadt, 36, 4), 0xF2440U);  // FACS
    EXPECT_EQ(number_at(fadt, 40, 4), 0xF2480U);  // DSDT
    EXPECT_EQ(number_at(fadt, 46, 2), 9U);        // SCI
    EXPECT_EQ(number_at(fadt, 48, 4), 0U);        // no SMI
    EXPECT_EQ(number_at(fadt, 56, 4), 0x400U);
    EXPECT_EQ(number_at(fadt, 64, 4), 0x404U);
    EXPECT_EQ(number_at(fadt, 76, 4), 0x408U);
    EXPECT_EQ(slice(fadt, 88, 8), Bytes({4, 2, 0, 4, 8, 0, 0, 0}));  // block lengths
    EXPECT_EQ(fadt[108], 0x32);                                      // century
    EXPECT_EQ(number_at(fadt, 109, 2), 0b1'0111U);  // legacy, 8042, no VGA, no ASPM
    EXPECT_EQ(number_at(fadt, 112, 4), 0x565U);
    EXPECT_EQ(slice(fadt, 116, 12), io_address(0xCF9, 8, 1));
    EXPECT_EQ(fadt[128], 0x0E);
    EXPECT_EQ(number_at(fadt, 132, 8), 0U);  // X_FIRMWARE_CTRL stays zero beside FIRMWARE_CTRL
    EXPECT_EQ(number_at(fadt, 140, 8), 0xF2480U);
}

TEST(TablesTest, fadt_extended_blocks_agree_with_the_short_ones) {
    const Bytes fadt = make_fadt(example_platform(), 0xF2440, 0xF2480).bytes;
    EXPECT_EQ(slice(fadt, 148, 12), io_address(0x400, 32, 2));
    EXPECT_EQ(slice(fadt, 172, 12), io_address(0x404, 16, 2));
    EXPECT_EQ(slice(fadt, 208, 12), io_address(0x408, 32, 3));
    EXPECT_EQ(slice(fadt, 220, 12), io_address(0x420, 64, 1));
}

TEST(TablesTest, fadt_leaves_out_what_does_not_exist) {
    PlatformDescription platform;
    platform.power.timer_port.reset();
    platform.legacy.rtc = false;
    platform.legacy.i8042_keyboard = false;
    platform.legacy.i8042_mouse = false;
    const Bytes fadt = make_fadt(platform, 0, 0).bytes;
    EXPECT_EQ(fadt[91], 0);                          // timer length
    EXPECT_EQ(fadt[108], 0);                         // century
    EXPECT_EQ(number_at(fadt, 109, 2), 0b11'0100U);  // no RTC, no ASPM, no VGA
    EXPECT_EQ(number_at(fadt, 112, 4) & 0x100, 0U);
    EXPECT_EQ(slice(fadt, 208, 24), Bytes(24, 0));
}

TEST(TablesTest, facs_is_64_bytes_of_version_2) {
    const Bytes facs = make_facs().bytes;
    ASSERT_EQ(facs.size(), 64U);
    EXPECT_EQ(number_at(facs, 4, 4), 64U);
    EXPECT_EQ(facs[32], 2);
}

TEST(TablesTest, madt_lists_processors_io_apics_overrides_and_nmi) {
    PlatformDescription platform;
    platform.processors = {{.apic_id = 0, .objects = {}}, {.apic_id = 6, .objects = {}}};
    const Bytes madt = make_madt(platform).bytes;
    EXPECT_EQ(slice(madt, 36, 8), Bytes({0x00, 0x00, 0xE0, 0xFE, 1, 0, 0, 0}));
    EXPECT_EQ(slice(madt, 44, madt.size() - 44),
              Bytes({0, 8,  0,    0, 1,    0,    0,    0,                    // local APIC
                     0, 8,  1,    6, 1,    0,    0,    0,                    // local APIC
                     1, 12, 0,    0, 0x00, 0x00, 0xC0, 0xFE, 0,    0, 0, 0,  // I/O APIC
                     2, 10, 0,    0, 2,    0,    0,    0,    0,    0,        // IRQ 0 is GSI 2
                     2, 10, 0,    9, 9,    0,    0,    0,    0x0D, 0,  // SCI: level, active high
                     4, 6,  0xFF, 0, 0,    1}));                       // NMI on LINT1
}

TEST(TablesTest, madt_uses_x2apic_entries_above_254) {
    PlatformDescription platform;
    platform.processors = {{.apic_id = 254, .objects = {}}, {.apic_id = 255, .objects = {}}};
    const Bytes madt = make_madt(platform).bytes;
    EXPECT_EQ(slice(madt, 44, 24), Bytes({0, 8,  0, 254, 1,   0, 0, 0,  //
                                          9, 16, 0, 0,   255, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}));
    EXPECT_EQ(slice(madt, madt.size() - 12, 12),
              Bytes({10, 12, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0}));
}

TEST(TablesTest, sci_flags_follow_the_description) {
    PlatformDescription platform;
    platform.sci = {.gsi = 11, .trigger = Trigger::edge, .polarity = Polarity::active_low};
    const Bytes madt = make_madt(platform).bytes;
    EXPECT_EQ(slice(madt, 66, 10), Bytes({2, 10, 0, 11, 11, 0, 0, 0, 0x07, 0}));
}

TEST(TablesTest, hpet_and_mcfg_point_at_their_memory) {
    const Bytes hpet = make_hpet({}).bytes;
    ASSERT_EQ(hpet.size(), 56U);
    EXPECT_EQ(number_at(hpet, 44, 8), 0xFED0'0000U);
    const Bytes mcfg = make_mcfg({}).bytes;
    ASSERT_EQ(mcfg.size(), 60U);
    EXPECT_EQ(number_at(mcfg, 44, 8), 0xE000'0000U);
    EXPECT_EQ(slice(mcfg, 52, 4), Bytes({0, 0, 0, 255}));
}

TEST(TablesTest, contributed_aml_stands_in_the_dsdt) {
    PlatformDescription platform = example_platform();
    const aml::Term term = aml::device("XTRA", aml::name("_ADR", aml::integer(0x50000)));
    const std::size_t before = make_dsdt(platform).bytes.size();
    for (const AmlPlace place :
         {AmlPlace::root, AmlPlace::system_bus, AmlPlace::pci_host, AmlPlace::lpc_bridge}) {
        platform.contributions.push_back({place, term});
    }
    EXPECT_GE(make_dsdt(platform).bytes.size(), before + 4 * term.size());
}

TEST(TablesTest, processor_paths_are_hexadecimal) {
    EXPECT_EQ(processor_path(0), "\\_SB.C000");
    EXPECT_EQ(processor_path(0x1AB), "\\_SB.C1AB");
}

}  // namespace
}  // namespace cupule::acpi
