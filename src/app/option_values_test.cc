#include "app/option_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cupule::app {
namespace {

using testing::ElementsAre;

constexpr std::uint64_t mib = 1U << 20;

TEST(OptionValues, ReadsMemorySizesWithUnitsRadixesAndWithout) {
    const std::pair<std::string_view, std::uint64_t> good[] = {
        {"256M", 256 * mib},   {"256m", 256 * mib},      {"512", 512 * mib},
        {"1G", 1024 * mib},    {"2g", 2048 * mib},       {"131072K", 128 * mib},
        {"0x200M", 512 * mib}, {"01000M", 512 * mib},    {"512MB", 512 * mib},
        {"1GiB", 1024 * mib},  {"254G", memory_size_max}};
    for (const auto& [text, bytes] : good) {
        const auto size = parse_memory_size(text);
        ASSERT_TRUE(size) << text << ": " << size.error().message;
        EXPECT_EQ(*size, bytes) << text;
    }
}

TEST(OptionValues, RefusesMemorySizesWithTheReason) {
    const std::pair<std::string_view, std::string_view> bad[] = {
        {"", "a number and one of K, M, G are needed, such as 512M"},
        {"M", "a number and one of K, M, G are needed, such as 512M"},
        {"-1G", "a number and one of K, M, G are needed, such as 512M"},
        {"127M", "too little: 128M to 254G are allowed"},
        {"0", "too little: 128M to 254G are allowed"},
        {"255G", "too much: 128M to 254G are allowed"},
        {"99999999999999999999G", "too much: 128M to 254G are allowed"},
        {"17592186044417G", "too much: 128M to 254G are allowed"},
        {"129M", "no multiple of 2M: 128M and 130M are the nearest"},
        {"512b", "'b' is no unit: K, M or G, or no unit for megabytes"},
        {"1024Mfoo", "'Mfoo' is no unit: K, M or G, or no unit for megabytes"}};
    for (const auto& [text, message] : bad) {
        const auto size = parse_memory_size(text);
        ASSERT_FALSE(size) << text;
        EXPECT_EQ(size.error().message, message) << text;
    }
}

TEST(OptionValues, ReadsEveryFormOfASlot) {
    struct Case {
        std::string_view text;
        int bus, slot, function;
        bool boot;
        std::string_view device, options;
    };
    const Case cases[] = {
        {"0:0,hostbridge", 0, 0, 0, false, "hostbridge", ""},
        {"31,igd-lpc", 0, 31, 0, false, "igd-lpc", ""},
        {"1:2:3,uart,vuart_idx:1", 1, 2, 3, false, "uart", "vuart_idx:1"},
        {"5/7,virtio-net,tap=t0,mac=00:16:3e:0:0:1", 0, 5, 7, false, "virtio-net",
         "tap=t0,mac=00:16:3e:0:0:1"},
        {"0.8.1,virtio-blk,b,/disk,nocache", 0, 8, 1, true, "virtio-blk", "/disk,nocache"},
        {"9,virtio-blk,b", 0, 9, 0, true, "virtio-blk", ""},
        {"9,virtio-blk,bdisk", 0, 9, 0, false, "virtio-blk", "bdisk"},
    };
    for (const Case& c : cases) {
        const auto slot = parse_slot(c.text);
        ASSERT_TRUE(slot) << c.text << ": " << slot.error().message;
        EXPECT_EQ(slot->bus, c.bus) << c.text;
        EXPECT_EQ(slot->slot, c.slot) << c.text;
        EXPECT_EQ(slot->function, c.function) << c.text;
        EXPECT_EQ(slot->boot, c.boot) << c.text;
        EXPECT_EQ(slot->device, c.device) << c.text;
        EXPECT_EQ(slot->options, c.options) << c.text;
    }
}

TEST(OptionValues, RefusesSlotsOutOfRangeAndMalformed) {
    for (const std::string_view text :
         {"32,lpc", "0:8,lpc", "256:0:0,lpc", "a,lpc", "0x1,lpc", "1:0", "1:0,", "1:0:0:0,lpc", "",
          ",lpc", "1:,lpc", "-1,lpc", "1:0,,x"}) {
        EXPECT_FALSE(parse_slot(text)) << text;
    }
    EXPECT_EQ(parse_slot("1:8,lpc").error().message,
              "function: 8 is out of range: 0 to 7 are allowed");
}

TEST(OptionValues, PutsSerialPortsWhereAcrnDmHasThem) {
    struct Case {
        std::string_view text;
        int port, io_base, irq;
        std::string_view backend;
    };
    const Case cases[] = {
        {"com1,stdio", 1, 0x3F8, 4, "stdio"},
        {"COM2", 2, 0x2F8, 3, ""},
        {"com3,tcp:4000", 3, 0x3E8, 6, "tcp:4000"},
        {"com4,/dev/ttyS3,115200", 4, 0x2E8, 7, "/dev/ttyS3,115200"},
        {"com5", 5, 0x9000, 10, ""},
        {"com5,/dev/pts/1", 5, 0x9000, 10, "/dev/pts/1"},
        {"com5,stdio,0x8000", 5, 0x8000, 10, "stdio"},
        {"com5,stdio,,11", 5, 0x9000, 11, "stdio"},
        {"com5,,36864,5", 5, 0x9000, 5, ""},
    };
    for (const Case& c : cases) {
        const auto serial = parse_serial(c.text);
        ASSERT_TRUE(serial) << c.text << ": " << serial.error().message;
        EXPECT_EQ(serial->port, c.port) << c.text;
        EXPECT_EQ(serial->io_base, c.io_base) << c.text;
        EXPECT_EQ(serial->irq, c.irq) << c.text;
        EXPECT_EQ(serial->backend, c.backend) << c.text;
    }
    for (const std::string_view text :
         {"com6", "com0", "com", "", "rs232", "com5,stdio,0x3,10", "com5,stdio,0x9001",
          "com5,stdio,0x9000,99", "com5,stdio,0x9000,10,x", "com5,stdio,port"}) {
        EXPECT_FALSE(parse_serial(text)) << text;
    }
}

TEST(OptionValues, ReadsLapicIdsAndDropsRepeatedOnes) {
    EXPECT_THAT(*parse_lapic_ids("0,2,1"), ElementsAre(0U, 2U, 1U));
    EXPECT_THAT(*parse_lapic_ids("3,3"), ElementsAre(3U));
    EXPECT_THAT(*parse_lapic_ids("300"), ElementsAre(300U));
    for (const std::string_view text : {"", "0,", "0, 1", "0-3", "1,x", "1,2x"}) {
        EXPECT_FALSE(parse_lapic_ids(text)) << text;
    }
}

TEST(OptionValues, ReadsTheInterruptMonitorsFourNumbers) {
    const auto monitor = parse_interrupt_monitor("10000,10,1,100");
    ASSERT_TRUE(monitor);
    EXPECT_EQ(monitor->threshold_per_s, 10000U);
    EXPECT_EQ(monitor->period_s, 10U);
    EXPECT_EQ(monitor->delay_ms, 1U);
    EXPECT_EQ(monitor->duration_ms, 100U);
    for (const std::string_view text : {"10000,10,1", "10000,10,1,0", "a,b,c,d", "1,2,3,4,5", ""}) {
        EXPECT_FALSE(parse_interrupt_monitor(text)) << text;
    }
}

TEST(OptionValues, ReadsFirmwareInOneFileOrTwo) {
    const auto one = parse_firmware("w,/OVMF.fd");
    ASSERT_TRUE(one);
    EXPECT_TRUE(one->write_back);
    EXPECT_EQ(one->image, "/OVMF.fd");
    const auto two = parse_firmware("code=/c.fd,vars=/v.fd");
    ASSERT_TRUE(two);
    EXPECT_FALSE(two->write_back);
    EXPECT_EQ(two->code, "/c.fd");
    EXPECT_EQ(two->variables, "/v.fd");
    for (const std::string_view text :
         {"", "w,", "code=/c", "vars=/v", "/a,/b", "/a,code=/c,vars=/v"}) {
        EXPECT_FALSE(parse_firmware(text)) << text;
    }
}

TEST(OptionValues, ReadsHexadecimalRanges) {
    const auto range = parse_mmio_range("0xfed40000,5000");
    ASSERT_TRUE(range);
    EXPECT_EQ(range->base, 0xFED40000U);
    EXPECT_EQ(range->size, 0x5000U);
    for (const std::string_view text :
         {"", "1000", "1000,", "x,y", "1000,0", "ffffffffffffffff,2"}) {
        EXPECT_FALSE(parse_mmio_range(text)) << text;
    }
}

TEST(OptionValues, ReadsLoggerSettingsOnTopOfTheDefaults) {
    const auto logger = parse_logger("kmsg,level=3;disk,level=5", {});
    ASSERT_TRUE(logger);
    EXPECT_EQ(logger->console, base::LogLevel::notice);
    EXPECT_EQ(logger->kmsg, base::LogLevel::notice);
    EXPECT_EQ(logger->disk, base::LogLevel::debug);
    for (const std::string_view text :
         {"consol,level=3", "console", "console,level=0", "console,level=6", "console,3"}) {
        EXPECT_FALSE(parse_logger(text, {})) << text;
    }
    EXPECT_EQ(parse_logger("consol,level=3", {}).error().message,
              "'consol' is no logger: console, kmsg and disk exist; did you mean 'console'?");
}

TEST(OptionValues, ReadsLogLevelsByNameAndNumber) {
    EXPECT_EQ(*parse_log_level("error"), base::LogLevel::error);
    EXPECT_EQ(*parse_log_level("5"), base::LogLevel::debug);
    EXPECT_FALSE(parse_log_level("0"));
    EXPECT_FALSE(parse_log_level(""));
}

TEST(OptionValues, ChecksTheGrammarOfWhatThisBuildLacks) {
    EXPECT_TRUE(parse_software_sram("L2,vcpu=0,1,size=4K;L3,vcpu=all,size=2M"));
    EXPECT_FALSE(parse_software_sram("L4,vcpu=0,size=4K"));
    EXPECT_FALSE(parse_software_sram("L2,size=4K"));
    EXPECT_EQ(*parse_tpm_socket("sock_path=/run/swtpm"), "/run/swtpm");
    EXPECT_FALSE(parse_tpm_socket("/run/swtpm"));
    EXPECT_TRUE(parse_acpi_device("MSFT0101,1"));
    EXPECT_FALSE(parse_acpi_device("TPM"));
}

}  // namespace
}  // namespace cupule::app
