#include "acpi/aml_resource.h"

#include <gtest/gtest.h>

#include <array>

namespace cupule::acpi::aml {
namespace {

TEST(AmlResourceTest, template_is_a_buffer_that_ends_with_the_end_tag) {
    const Term term = resource_template({irq_no_flags(1 << 4)});
    EXPECT_EQ(Bytes(term.bytes().begin(), term.bytes().end()),
              Bytes({0x11, 0x08, 0x0A, 0x05, 0x22, 0x10, 0x00, 0x79, 0x00}));
}

TEST(AmlResourceTest, ports) {
    EXPECT_EQ(io_ports(0x3F8, 0x3F8, 1, 8).bytes,
              Bytes({0x47, 0x01, 0xF8, 0x03, 0xF8, 0x03, 0x01, 0x08}));
    EXPECT_EQ(fixed_io_ports(0x60, 1).bytes, Bytes({0x4B, 0x60, 0x00, 0x01}));
}

TEST(AmlResourceTest, irq_flags) {
    EXPECT_EQ(irq(Trigger::level, Polarity::active_low, Sharing::shared, 0xDEF8).bytes,
              Bytes({0x23, 0xF8, 0xDE, 0x18}));
    EXPECT_EQ(irq(Trigger::edge, Polarity::active_high, Sharing::exclusive, 0x0010).bytes,
              Bytes({0x23, 0x10, 0x00, 0x01}));
}

TEST(AmlResourceTest, extended_interrupts) {
    EXPECT_EQ(
        interrupt(Trigger::level, Polarity::active_low, Sharing::shared, std::array{16U, 0x1234U})
            .bytes,
        Bytes({0x89, 0x0A, 0x00, 0x0D, 0x02, 0x10, 0, 0, 0, 0x34, 0x12, 0, 0}));
    EXPECT_EQ(
        interrupt(Trigger::edge, Polarity::active_high, Sharing::exclusive, std::array{40U}).bytes,
        Bytes({0x89, 0x06, 0x00, 0x03, 0x01, 0x28, 0, 0, 0}));
}

TEST(AmlResourceTest, dma_channels) {
    EXPECT_EQ(dma(DmaType::compatibility, false, DmaTransfer::bits_8, 1 << 2).bytes,
              Bytes({0x2A, 0x04, 0x00}));
    EXPECT_EQ(dma(DmaType::type_f, true, DmaTransfer::bits_16, 1 << 5).bytes,
              Bytes({0x2A, 0x20, 0x66}));
}

TEST(AmlResourceTest, fixed_memory) {
    EXPECT_EQ(memory32_fixed(MemoryAccess::read_write, 0xFED0'0000, 0x400).bytes,
              Bytes({0x86, 0x09, 0x00, 0x01, 0x00, 0x00, 0xD0, 0xFE, 0x00, 0x04, 0x00, 0x00}));
}

TEST(AmlResourceTest, word_bus_numbers) {
    const AddressSpace buses{.kind = AddressKind::bus_number, .minimum = 0, .maximum = 255};
    EXPECT_EQ(word_address_space(buses).bytes,
              Bytes({0x88, 0x0D, 0x00, 0x02, 0x0C, 0x00, 0x00, 0x00, 0x00, 0x00, 0xFF, 0x00, 0x00,
                     0x00, 0x00, 0x01}));
}

TEST(AmlResourceTest, dword_memory_of_a_consumer) {
    const AddressSpace memory{.usage = AddressUsage::consumer,
                              .decode = Decode::subtractive,
                              .type_flags = memory_read_write,
                              .minimum = 0x8000'0000,
                              .maximum = 0xDFFF'FFFF};
    EXPECT_EQ(dword_address_space(memory).bytes,
              Bytes({0x87, 0x17, 0x00, 0x00, 0x0F, 0x01, 0, 0, 0, 0, 0, 0, 0,
                     0x80, 0xFF, 0xFF, 0xFF, 0xDF, 0,    0, 0, 0, 0, 0, 0, 0x60}));
}

TEST(AmlResourceTest, qword_memory) {
    const AddressSpace memory{.type_flags = memory_read_write | memory_cacheable,
                              .minimum = 0x40'0000'0000,
                              .maximum = 0x7F'FFFF'FFFF};
    const Bytes bytes = qword_address_space(memory).bytes;
    EXPECT_EQ(bytes.size(), 46U);
    EXPECT_EQ(Bytes(bytes.begin(), bytes.begin() + 6), Bytes({0x8A, 0x2B, 0x00, 0x00, 0x0C, 0x03}));
    EXPECT_EQ(Bytes(bytes.end() - 8, bytes.end()), Bytes({0, 0, 0, 0, 0x40, 0, 0, 0}));
}

TEST(AmlResourceDeathTest, numbers_must_fit_their_descriptor) {
    EXPECT_DEATH((void)word_address_space({.minimum = 0, .maximum = 0xFFFF}),
                 "");  // length 0x10000
    EXPECT_DEATH((void)dword_address_space({.minimum = 0, .maximum = 0x1'0000'0000}), "");
    EXPECT_DEATH((void)word_address_space({.minimum = 2, .maximum = 1}), "");
    EXPECT_DEATH((void)fixed_io_ports(0x400, 1), "");
}

}  // namespace
}  // namespace cupule::acpi::aml
