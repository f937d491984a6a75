// The tables under ACPICA, the code that Linux runs: its disassembler, its compiler and its
// interpreter have to accept every table without an error or a warning.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "acpi/aml_statement.h"
#include "acpi/dsdt.h"
#include "acpi/example_platform.h"
#include "acpi/table_set.h"
#include "acpi/tables.h"

namespace cupule::acpi {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

std::string run(const std::string& command) {
    std::string output;
    FILE* pipe = popen((command + " 2>&1 </dev/null").c_str(), "r");
    std::array<char, 4096> piece{};
    while (const std::size_t size = std::fread(piece.data(), 1, piece.size(), pipe)) {
        output.append(piece.data(), size);
    }
    const int status = pclose(pipe);
    return output + "\nexit status " + std::to_string(status) + "\n";
}

bool is_installed(const std::string& program) {
    return std::system(("command -v " + program + " >/dev/null").c_str()) == 0;
}

std::vector<std::uint8_t> read_file(const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// The lines iasl found worth a remark; they fail no test but are good to see.
std::vector<std::string> remarks(const std::string& output) {
    std::vector<std::string> found;
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("Remark") || line.starts_with("Optimization")) {
            found.push_back(line);
        }
    }
    return found;
}

class AcpicaTest : public testing::Test {
  protected:
    void SetUp() override {
        if (!is_installed("iasl") || !is_installed("acpiexec")) {
            GTEST_SKIP() << "iasl and acpiexec are missing: apt-get install acpica-tools";
        }
        std::string pattern = testing::TempDir() + "cupule_acpi_XXXXXX";
        directory_ = mkdtemp(pattern.data());
    }

    void TearDown() override {
        if (!directory_.empty() && !HasFailure()) {
            std::filesystem::remove_all(directory_);
        }
    }

    std::filesystem::path write(const std::string& name, const std::vector<std::uint8_t>& bytes) {
        const std::filesystem::path file = directory_ / (name + ".dat");
        std::ofstream(file, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()),
                   static_cast<std::streamsize>(bytes.size()));
        return file;
    }

    /// Disassembles a table, compiles the result and gives back what came out.
    std::vector<std::uint8_t> round_trip(const std::string& name,
                                         const std::vector<std::uint8_t>& bytes) {
        const std::filesystem::path file = write(name, bytes);
        const std::string stem = (directory_ / name).string();
        const std::string disassembly = run("iasl -d " + file.string());
        EXPECT_THAT(disassembly, HasSubstr("exit status 0")) << name;
        EXPECT_THAT(disassembly, Not(ContainsRegex("Error|Warning|nvalid"))) << name;
        // -oa: no optimization, for we compare bytes.
        const std::string assembly = run("iasl -oa -we -p " + stem + "_again " + stem + ".dsl");
        EXPECT_THAT(assembly, HasSubstr("exit status 0")) << name;
        EXPECT_THAT(assembly, HasSubstr("0 Errors, 0 Warnings")) << name;
        for (const std::string& line : remarks(assembly)) {
            std::printf("%s: %s\n", name.c_str(), line.c_str());
        }
        return read_file(stem + "_again.aml");
    }

    std::filesystem::path directory_;
};

/// The header without what iasl writes itself: checksum and compiler id.
std::vector<std::uint8_t> comparable(std::vector<std::uint8_t> bytes) {
    if (bytes.size() >= 36) {
        bytes[9] = 0;
        std::fill(bytes.begin() + 28, bytes.begin() + 36, std::uint8_t{0});
    }
    return bytes;
}

TEST_F(AcpicaTest, every_table_survives_disassembly_and_compilation) {
    PlatformDescription platform = example_platform();
    platform.extra_tables.push_back(
        make_ssdt(aml::scope("\\_SB", aml::name("TEST", aml::integer(1)))));
    const auto set = make_table_set(platform);
    ASSERT_TRUE(set.has_value()) << set.error().message;
    for (const PlacedTable& table : set->tables) {
        if (table.name == "RSDP") {
            continue;  // iasl compiles an RSDP but does not disassemble it: see below
        }
        const std::vector<std::uint8_t> again = round_trip(table.name, table.bytes);
        if (table.name == "FACS") {
            EXPECT_EQ(again, table.bytes);
        } else {
            EXPECT_EQ(comparable(again), comparable(table.bytes)) << table.name;
        }
    }
}

TEST_F(AcpicaTest, rsdp_is_what_iasl_makes_of_its_source) {
    std::ofstream(directory_ / "rsdp.asl")
        << "[0008] Signature : \"RSD PTR \"\n[0001] Checksum : 00\n[0006] Oem ID : \"CUPULE\"\n"
        << "[0001] Revision : 02\n[0004] RSDT Address : 000F3000\n[0004] Length : 00000024\n"
        << "[0008] XSDT Address : 00000000000F3100\n[0001] Extended Checksum : 00\n"
        << "[0003] Reserved : 000000\n";
    const std::string stem = (directory_ / "rsdp").string();
    EXPECT_THAT(run("iasl -we -p " + stem + " " + stem + ".asl"), HasSubstr("exit status 0"));
    EXPECT_EQ(make_rsdp(0xF3000, 0xF3100).bytes, read_file(stem + ".aml"));
}

/// Runs the AML debugger's commands over the DSDT and returns what it says, noise included.
class InterpreterTest : public AcpicaTest {
  protected:
    std::string execute(const PlatformDescription& platform, const std::string& commands) {
        const std::filesystem::path dsdt = write("DSDT", make_dsdt(platform).bytes);
        const std::string output = run("acpiexec -b '" + commands + "' " + dsdt.string());
        EXPECT_THAT(output, HasSubstr("AML tables successfully acquired and loaded"));
        EXPECT_THAT(output,
                    Not(ContainsRegex("ACPI (Error|Warning|BIOS|Exception)|Firmware|failed")));
        return output;
    }
};

TEST_F(InterpreterTest, name_space_and_predefined_objects_are_sound) {
    const std::string output = execute(example_platform(), "Integrity;Test predefined");
    EXPECT_THAT(output, HasSubstr("_SB.PCI0._PRT                   returned AE_OK"));
    EXPECT_THAT(output, Not(ContainsRegex("returned AE_[A-NP-Z]")));
}

TEST_F(InterpreterTest, routing_follows_the_interrupt_model) {
    PlatformDescription platform = example_platform();
    platform.pci.routes = {{.device = 3, .pin = 1, .gsi = 20, .pirq_link = 4}};
    const std::string pic = execute(platform, "evaluate \\_SB.PCI0._PRT");
    EXPECT_THAT(pic, HasSubstr("000000000003FFFF"));
    EXPECT_THAT(pic, HasSubstr("LNKE"));
    const std::string apic = execute(platform, "evaluate \\_PIC 1;evaluate \\_SB.PCI0._PRT");
    EXPECT_THAT(apic, HasSubstr("[Integer] = 0000000000000014"));
    EXPECT_THAT(apic, Not(HasSubstr("LNKE")));
}

TEST_F(InterpreterTest, the_bus_check_event_notifies_the_host_bridge) {
    EXPECT_THAT(execute(example_platform(), "evaluate \\_GPE._E0A"),
                ContainsRegex("PCI0.*Bus Check|Bus Check.*PCI0"));
}

TEST_F(InterpreterTest, link_routes_to_the_irq_it_is_set_to) {
    const std::string set = "evaluate \\_SB.PCI0.LPC.LNKH._SRS (23 00 08 18 79 00);";
    const std::string ask = "evaluate \\_SB.PCI0.LPC.LNKH._CRS;evaluate \\_SB.PCI0.LPC.LNKH._STA;";
    const std::string enabled = execute(example_platform(), set + ask);
    EXPECT_THAT(enabled, HasSubstr("23 00 08 18 79 00"));
    EXPECT_THAT(enabled, HasSubstr("[Integer] = 000000000000000B"));
    const std::string disabled =
        execute(example_platform(), set + "evaluate \\_SB.PCI0.LPC.LNKH._DIS;" + ask);
    EXPECT_THAT(disabled, HasSubstr("23 00 00 18 79 00"));
    EXPECT_THAT(disabled, HasSubstr("[Integer] = 0000000000000009"));
}

TEST_F(InterpreterTest, osc_grants_the_capability_structure_and_says_what_it_masks) {
    const std::string osc = "evaluate \\_SB.PCI0._OSC ";
    const std::string uuid = "(5B 4D DB 33 F7 1F 1C 40 96 57 74 41 C0 3D D7 66) ";
    const auto answer = [&](const std::string& arguments) {
        return execute(example_platform(), osc + arguments);
    };
    EXPECT_THAT(answer(uuid + "1 3 (00 00 00 00 1F 00 00 00 10 00 00 00)"),
                HasSubstr("0000: 00 00 00 00 1F 00 00 00 10 00 00 00"));
    EXPECT_THAT(answer(uuid + "1 3 (01 00 00 00 1F 00 00 00 1F 00 00 00)"),
                HasSubstr("0000: 11 00 00 00 1F 00 00 00 10 00 00 00"));
    EXPECT_THAT(answer(uuid + "2 3 (00 00 00 00 1F 00 00 00 10 00 00 00)"),
                HasSubstr("0000: 08 00 00 00 1F 00 00 00 10 00 00 00"));
    EXPECT_THAT(answer("(00) 1 3 (00 00 00 00 1F 00 00 00 10 00 00 00)"),
                HasSubstr("0000: 04 00 00 00 1F 00 00 00 10 00 00 00"));
}

}  // namespace
}  // namespace cupule::acpi
