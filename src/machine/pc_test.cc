#include "machine/pc.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "boot/testing/temporary_file.h"
#include "machine/testing/pc_bench.h"
#include "machine/virtio_endpoint.h"

namespace cupule::machine {
namespace {

using testing::PcBench;

TEST(Pc, BootsAKernelWithTheTablesWhereTheMemoryMapSaysTheyAre) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    EXPECT_EQ(bench.vm().boot_state().rip, mib);
    EXPECT_EQ(bench.vm().boot_state().rax, 0x2BAD'B002U);
    EXPECT_EQ(bench.load<std::uint64_t>(0xF'2400), 0x2052'5450'2044'5352U);  // "RSD PTR "
    EXPECT_EQ(bench.load<std::uint32_t>(0xF'0000), 0x5F50'4D5FU);            // "_MP_"
}

TEST(Pc, MapsItsRamInOneOrTwoPiecesAndTellsTheGuestTheSame) {
    for (const std::uint64_t size : {128 * mib, 2 * gib, 2 * gib + 2 * mib, 64 * gib}) {
        VmOptions options = PcBench::default_options();
        options.memory_size = size;
        PcBench bench(options);
        ASSERT_EQ(bench.error(), "");
        std::vector<std::pair<std::uint64_t, std::uint64_t>> expected{{0, std::min(size, 2 * gib)}};
        if (size > 2 * gib) {
            expected.emplace_back(4 * gib, size - 2 * gib);
        }
        EXPECT_EQ(bench.vm().mappings(), expected);
        // Multiboot information: mmap_length at 44, mmap_addr at 48, entries of 24 bytes.
        const std::uint64_t info = bench.vm().boot_state().rbx;
        const auto length = bench.load<std::uint32_t>(info + 44);
        EXPECT_EQ(length, (size > 2 * gib ? 5U : 4U) * 24U);
        const std::uint64_t last = bench.load<std::uint32_t>(info + 48) + length - 24;
        const bool high = size > 2 * gib;
        EXPECT_EQ(bench.load<std::uint64_t>(last + 4), high ? 4 * gib : 0xE000'0000U);
        EXPECT_EQ(bench.load<std::uint64_t>(last + 12), high ? size - 2 * gib : 0x2000'0000U);
    }
}

TEST(Pc, EachQueueOfADeviceHasALineOfStatistics) {
    VmOptions options = PcBench::default_options();
    options.slots.push_back({.slot = 5, .device = "virtio-rnd", .options = {}});
    options.slots.push_back({.slot = 6, .device = "virtio-net", .options = "loop"});
    PcBench bench(options);
    ASSERT_EQ(bench.error(), "");
    for (const auto detail : {StatisticsDetail::percentiles, StatisticsDetail::histograms}) {
        const std::vector<std::string> lines = bench.pc().statistics(detail);
        ASSERT_EQ(lines.size(), 4U);
        EXPECT_TRUE(lines[0].ends_with("exits to cupule")) << lines[0];
        EXPECT_TRUE(lines[1].starts_with("00:05.0 virtio-rnd queue 0: 0 requests")) << lines[1];
        EXPECT_TRUE(lines[2].starts_with("00:06.0 virtio-net queue 0: 0 requests")) << lines[2];
        EXPECT_TRUE(lines[3].starts_with("00:06.0 virtio-net queue 1: 0 requests")) << lines[3];
    }
}

TEST(Pc, AboutADeviceThatOthersServeItSaysWhoTheyAre) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    VirtioEndpoint endpoint(bench.vm());
    endpoint.served_by = "the kernel (vhost-net)";
    EXPECT_EQ(endpoint.statistics(StatisticsDetail::histograms),
              (std::vector<std::string>{
                  "served by the kernel (vhost-net): nothing of its queues is counted here"}));
}

TEST(Pc, ABalloonIsAskedForAnotherSizeWhileTheGuestRuns) {
    VmOptions options = PcBench::default_options();
    options.slots.push_back({.slot = 6, .device = "virtio-balloon", .options = "inflate=3"});
    PcBench bench(options);
    ASSERT_EQ(bench.error(), "");
    const auto says = [&bench](std::string_view text) {
        return std::ranges::any_of(bench.pc().statistics(), [text](const std::string& line) {
            return line.find(text) != std::string::npos;
        });
    };
    EXPECT_TRUE(says("00:06.0 virtio-balloon asks for 3 MiB, has 0 MiB"));
    const std::uint64_t most = options.memory_size / mib;
    EXPECT_TRUE(bench.pc().inflate(6, most));
    EXPECT_TRUE(says(fmt::format("asks for {} MiB", most)));
    for (const std::uint64_t size : {most + 1, std::uint64_t{1} << 44, ~std::uint64_t{0}}) {
        const auto refused = bench.pc().inflate(6, size);
        ASSERT_FALSE(refused) << size;
        EXPECT_NE(refused.error().message.find("MiB from 0 to"), std::string::npos);
    }
    EXPECT_TRUE(says(fmt::format("asks for {} MiB", most)));
    EXPECT_TRUE(bench.pc().inflate(6, 0));
    EXPECT_TRUE(says("asks for 0 MiB"));
    EXPECT_NE(bench.pc().inflate(1, 5).error().message.find("no device in slot"),
              std::string::npos);
}

TEST(Pc, SixtyFourGibibytesOfRamAreSparse) {
    const auto resident_pages = [] {
        std::ifstream file("/proc/self/statm");
        std::uint64_t size = 0, resident = 0;
        file >> size >> resident;
        return resident;
    };
    const std::uint64_t before = resident_pages();
    VmOptions options = PcBench::default_options();
    options.memory_size = 64 * gib;
    PcBench bench(options);
    ASSERT_EQ(bench.error(), "");
    bench.store<std::uint64_t>(66 * gib - 8, 0x55);
    EXPECT_EQ(bench.load<std::uint64_t>(66 * gib - 8), 0x55U);
    EXPECT_LT(resident_pages() - before, 64 * mib / 4096);
}

/// A read that shows the part is there: at power-on it gives this value under this mask.
struct Presence {
    std::string part;
    io::IoKind kind;
    std::uint64_t address;
    std::uint8_t size;
    std::uint64_t mask;
    std::uint64_t value;
};

TEST(Pc, EveryPlatformPartAnswersAtItsPlace) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    const std::vector<Presence> places{
        {"PIT, counter 0", io::IoKind::port, 0x40, 1, 0, 0},
        {"port 61h: all writable bits off", io::IoKind::port, 0x61, 1, 0x0F, 0},
        {"i8042 data", io::IoKind::port, 0x60, 1, 0, 0},
        {"i8042 status: input buffer empty, system flag", io::IoKind::port, 0x64, 1, 0x3, 0},
        {"RTC data", io::IoKind::port, 0x71, 1, 0x80, 0},
        {"COM1 line status: transmitter empty", io::IoKind::port, 0x3FD, 1, 0xFF, 0x60},
        {"COM2 line status: transmitter empty", io::IoKind::port, 0x2FD, 1, 0xFF, 0x60},
        {"PM1 status", io::IoKind::port, 0x400, 2, 0xFFFF, 0},
        {"PM1 enable", io::IoKind::port, 0x402, 2, 0xFFFF, 0},
        {"SMI command", io::IoKind::port, 0xB2, 1, 0xFF, 0},
        {"reset control", io::IoKind::port, 0xCF9, 1, 0xFF, 0},
        {"CONFIG_ADDRESS", io::IoKind::port, 0xCF8, 4, ~std::uint64_t{0}, 0},
        {"ECAM, host bridge", io::IoKind::mmio, ecam_base, 4, 0xFFFF'FFFF, 0x1275'1275},
        {"ECAM, LPC bridge", io::IoKind::mmio, ecam_base + 0x8000, 4, 0xFFFF'FFFF, 0x7000'8086},
        {"ECAM, nobody", io::IoKind::mmio, ecam_base + 0x1'0000, 4, 0xFFFF'FFFF, 0xFFFF'FFFF},
        {"HPET, vendor and revision", io::IoKind::mmio, hpet_base, 8, 0xFFFF'00FF, 0x8086'0001},
        {"debug exit", io::IoKind::port, 0xF4, 2, 0xFFFF, 0xFFFF},
        {"nobody", io::IoKind::port, 0x500, 4, 0xFFFF'FFFF, 0xFFFF'FFFF},
        {"nobody", io::IoKind::mmio, pci_window_32_base, 8, ~std::uint64_t{0}, ~std::uint64_t{0}},
    };
    bench.run({[&] {
        for (const Presence& place : places) {
            const auto value = bench.vm().access(
                {.kind = place.kind, .size = place.size, .address = place.address});
            EXPECT_EQ(value & place.mask, place.value) << place.part;
        }
        bench.vm().write_port(0x80, 1, 0x5A);
        EXPECT_EQ(bench.vm().read_port(0x80, 1), 0x5AU);
    }});
}

TEST(Pc, TheSciRoseForThePowerButtonAndPm1StatusTellsIt) {
    PcBench bench;
    ASSERT_EQ(bench.error(), "");
    constexpr std::uint16_t power_button = 1 << 8;
    bench.run({[&] {
        bench.vm().write_port(smi_command_port, 1, 0xA0);  // SCI_EN
        bench.vm().write_port(pm1_event_port + 2, 2, power_button);
        EXPECT_FALSE(bench.vm().gsi_level({sci_irq}));
        bench.pc().press_power_button();
        EXPECT_TRUE(bench.vm().gsi_level({sci_irq}));
        EXPECT_EQ(bench.vm().read_port(pm1_event_port, 2), power_button);
        bench.vm().write_port(pm1_event_port, 2, power_button);
        EXPECT_FALSE(bench.vm().gsi_level({sci_irq}));
    }});
}

TEST(Pc, TracesEachRequestWithPartRegisterAndValue) {
    const boot::testing::TemporaryFile file("");
    VmOptions options = PcBench::default_options();
    options.io_trace = file.path();
    {
        PcBench bench(options);
        ASSERT_EQ(bench.error(), "");
        bench.run({[&] {
            bench.vm().write_port(0xCF9, 1, 0x02);
            bench.vm().read_port(pm1_control_port, 2, 1);
            bench.vm().read_memory(ecam_base, 4);
            bench.vm().read_port(0x500, 1);
        }});
    }
    std::ifstream stream(file.path());
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) {
        lines.push_back(line.substr(line.find(' ') + 1));  // without the time
    }
    ASSERT_EQ(lines.size(), 4U);
    EXPECT_TRUE(lines[0].starts_with("vcpu0 port w1 cf9 pci-config ")) << lines[0];
    EXPECT_EQ(lines[1], "vcpu1 port r2 404 acpi-pm PM1_CNT 0x0");
    EXPECT_TRUE(lines[2].starts_with("vcpu0 mmio r4 e0000000 pci-ecam ")) << lines[2];
    EXPECT_EQ(lines[3], "vcpu0 port r1 500 - - 0xff");
}

// Wrong configurations: the message names what is wrong.

std::string error_with(const std::function<void(VmOptions&)>& change) {
    VmOptions options = PcBench::default_options();
    change(options);
    return PcBench(options).error();
}

TEST(PcErrors, ASerialPortOverAnotherPartNamesBoth) {
    const std::string error = error_with([](VmOptions& options) {
        options.serial_ports.push_back({.port = 5, .io_base = 0x3F4, .irq = 5, .backend = {}});
    });
    EXPECT_NE(error.find("com5"), std::string::npos) << error;
    EXPECT_NE(error.find("com1"), std::string::npos) << error;
    const std::string rtc = error_with([](VmOptions& options) {
        options.serial_ports.push_back({.port = 5, .io_base = 0x70, .irq = 5, .backend = {}});
    });
    EXPECT_NE(rtc.find("'rtc'"), std::string::npos) << rtc;
}

TEST(PcErrors, ASerialPortOnAnInterruptThatIsNotThereIsNamed) {
    const std::string error = error_with([](VmOptions& options) {
        options.serial_ports.push_back({.port = 5, .io_base = 0x1000, .irq = 24, .backend = {}});
    });
    EXPECT_EQ(error, "com5: there is no interrupt 24, the last one is 23");
}

TEST(PcErrors, ASecondLpcBridgeNamesTheFirst) {
    EXPECT_EQ(error_with([](VmOptions& options) {
                  options.slots.push_back({.slot = 31, .device = "lpc", .options = {}});
              }),
              "-s 31:0,lpc: there is an LPC bridge already at 1:0");
}

TEST(PcErrors, ASlotOnAnotherBusIsNamed) {
    EXPECT_EQ(
        error_with([](VmOptions& options) {
            options.slots.push_back({.bus = 1, .slot = 3, .device = "hostbridge", .options = {}});
        }),
        "-s 1:3:0,hostbridge: there is only bus 0; name the slot as 3:0");
}

TEST(PcWindows, SeesItsSignedDriversVendorOnDisksAndNotElsewhere) {
    for (const bool windows : {false, true}) {
        VmOptions options = PcBench::default_options();
        options.windows = windows;
        options.slots.push_back({.slot = 3, .device = "virtio-blk", .options = "nodisk"});
        options.slots.push_back({.slot = 4, .device = "virtio-rnd", .options = {}});
        PcBench bench(options);
        ASSERT_EQ(bench.error(), "");
        bench.run({[&] {
            const auto subsystem = [&](std::uint64_t slot) {
                bench.vm().write_port(0xCF8, 4, 0x8000'002C | slot << 11);
                return bench.vm().read_port(0xCFC, 4);
            };
            EXPECT_EQ(subsystem(3), windows ? 0x0002'108EU : 0x0002'1AF4U);
            EXPECT_EQ(subsystem(4), 0x0004'1AF4U);
        }});
    }
}

TEST(PcVirtio, ModernTransitionalAndLegacyDevicesHaveTheirIds) {
    VmOptions options = PcBench::default_options();
    const auto add = [&](std::uint8_t slot, const char* device, const char* words) {
        options.slots.push_back({.slot = slot, .device = device, .options = words});
    };
    add(3, "virtio-rnd", "");
    add(4, "virtio-rnd", "transitional");
    add(5, "virtio-balloon", "inflate=1,legacy,no_reporting");
    add(6, "virtio-console", "file:p=/dev/null,transitional");
    add(7, "virtio-net", "loop,legacy,mac=00:16:3e:00:00:07");
    PcBench bench(options);
    ASSERT_EQ(bench.error(), "");
    bench.run({[&] {
        const auto id = [&](std::uint64_t slot) {
            bench.vm().write_port(0xCF8, 4, 0x8000'0000 | slot << 11);
            return bench.vm().read_port(0xCFC, 4);
        };
        EXPECT_EQ(id(3), 0x1044'1AF4U);
        EXPECT_EQ(id(4), 0x1005'1AF4U);
        EXPECT_EQ(id(5), 0x1002'1AF4U);
        EXPECT_EQ(id(6), 0x1003'1AF4U);
        EXPECT_EQ(id(7), 0x1000'1AF4U);
    }});
}

TEST(PcVirtio, ABalloonOffersNoReportingBesideADeviceThatIsPassedThrough) {
    for (const bool passed : {false, true}) {
        VmOptions options = PcBench::default_options();
        options.slots.push_back({.slot = 3, .device = "virtio-balloon", .options = {}});
        if (passed) {
            options.slots.push_back({.slot = 4, .device = "passthru", .options = "model:i225"});
        }
        PcBench bench(options);
        ASSERT_EQ(bench.error(), "");
        bench.run({[&] {
            const auto config = [&](std::uint64_t offset) {
                bench.vm().write_port(0xCF8, 4, 0x8000'1800 | offset);
                return bench.vm().read_port(0xCFC, 4);
            };
            const std::uint64_t common = config(0x20) & ~0xFULL;  // BAR4
            ASSERT_NE(common, 0U);
            bench.vm().write_memory(common, 4, 0);
            EXPECT_EQ(bench.vm().read_memory(common + 4, 4) & 0x20, passed ? 0U : 0x20U);
        }});
    }
}

TEST(PcErrors, TwoDevicesInOneSlotAreNamed) {
    const std::string error = error_with([](VmOptions& options) {
        options.slots.push_back({.slot = 1, .device = "amd_hostbridge", .options = {}});
    });
    EXPECT_NE(error.find("amd_hostbridge"), std::string::npos) << error;
    EXPECT_NE(error.find("lpc"), std::string::npos) << error;
}

TEST(PcErrors, ALegacyCardThatAnotherProgramServesIsRefused) {
    const std::string error = error_with([](VmOptions& options) {
        options.slots.push_back(
            {.slot = 4, .device = "virtio-net", .options = "vhost-user=/nowhere,legacy"});
    });
    EXPECT_NE(error.find("transitional and legacy are not there with vhost-user="),
              std::string::npos)
        << error;
}

TEST(PcErrors, ADeviceThatDoesNotExistIsNamed) {
    EXPECT_EQ(error_with([](VmOptions& options) {
                  options.slots.push_back({.slot = 4, .device = "virtio-gpu", .options = {}});
              }),
              "-s 4:0,virtio-gpu: this build has no such device");
}

TEST(PcErrors, TooMuchRamIsAnErrorThatNamesTheLimit) {
    const std::string error =
        error_with([](VmOptions& options) { options.memory_size = 255 * gib; });
    EXPECT_NE(error.find("64-bit PCI window at 256 GiB"), std::string::npos) << error;
}

TEST(PcErrors, ATraceFileThatCannotBeWrittenIsNamed) {
    const std::string error =
        error_with([](VmOptions& options) { options.io_trace = "/nonexistent/trace"; });
    EXPECT_NE(error.find("/nonexistent/trace"), std::string::npos) << error;
}

}  // namespace
}  // namespace cupule::machine
