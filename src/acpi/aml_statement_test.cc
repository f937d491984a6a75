#include "acpi/aml_statement.h"

#include <gtest/gtest.h>

#include "acpi/aml_field.h"

namespace cupule::acpi::aml {
namespace {

Bytes bytes_of(const Term& term) {
    return {term.bytes().begin(), term.bytes().end()};
}

TEST(AmlStatementTest, arguments_and_locals_are_single_bytes) {
    EXPECT_EQ(bytes_of(arg(0)), Bytes({0x68}));
    EXPECT_EQ(bytes_of(arg(6)), Bytes({0x6E}));
    EXPECT_EQ(bytes_of(local(0)), Bytes({0x60}));
    EXPECT_EQ(bytes_of(local(7)), Bytes({0x67}));
}

TEST(AmlStatementTest, operators_end_with_their_target) {
    EXPECT_EQ(bytes_of(store(integer(1), path("FLAG"))), Bytes({0x70, 0x01, 'F', 'L', 'A', 'G'}));
    EXPECT_EQ(bytes_of(bit_and(arg(0), integer(1))), Bytes({0x7B, 0x68, 0x01, 0x00}));
    EXPECT_EQ(bytes_of(bit_or(arg(0), arg(1), local(0))), Bytes({0x7D, 0x68, 0x69, 0x60}));
    EXPECT_EQ(bytes_of(bit_xor(arg(0), arg(1), local(0))), Bytes({0x7F, 0x68, 0x69, 0x60}));
    EXPECT_EQ(bytes_of(bit_not(arg(0), local(0))), Bytes({0x80, 0x68, 0x60}));
    EXPECT_EQ(bytes_of(add(arg(0), arg(1), local(0))), Bytes({0x72, 0x68, 0x69, 0x60}));
    EXPECT_EQ(bytes_of(subtract(arg(0), arg(1), local(0))), Bytes({0x74, 0x68, 0x69, 0x60}));
    EXPECT_EQ(bytes_of(shift_left(arg(0), arg(1), local(0))), Bytes({0x79, 0x68, 0x69, 0x60}));
    EXPECT_EQ(bytes_of(shift_right(arg(0), arg(1), local(0))), Bytes({0x7A, 0x68, 0x69, 0x60}));
    EXPECT_EQ(bytes_of(find_set_left_bit(arg(0), local(0))), Bytes({0x81, 0x68, 0x60}));
    EXPECT_EQ(bytes_of(find_set_right_bit(arg(0), local(0))), Bytes({0x82, 0x68, 0x60}));
    EXPECT_EQ(bytes_of(index_of(arg(0), integer(1))), Bytes({0x88, 0x68, 0x01, 0x00}));
    EXPECT_EQ(bytes_of(increment(local(0))), Bytes({0x75, 0x60}));
    EXPECT_EQ(bytes_of(decrement(local(0))), Bytes({0x76, 0x60}));
    EXPECT_EQ(bytes_of(dereference(arg(0))), Bytes({0x83, 0x68}));
    EXPECT_EQ(bytes_of(size_of(arg(0))), Bytes({0x87, 0x68}));
}

TEST(AmlStatementTest, comparisons_without_an_opcode_are_negated_opposites) {
    EXPECT_EQ(bytes_of(equal(arg(0), arg(1))), Bytes({0x93, 0x68, 0x69}));
    EXPECT_EQ(bytes_of(greater(arg(0), arg(1))), Bytes({0x94, 0x68, 0x69}));
    EXPECT_EQ(bytes_of(less(arg(0), arg(1))), Bytes({0x95, 0x68, 0x69}));
    EXPECT_EQ(bytes_of(not_equal(arg(0), arg(1))), Bytes({0x92, 0x93, 0x68, 0x69}));
    EXPECT_EQ(bytes_of(less_equal(arg(0), arg(1))), Bytes({0x92, 0x94, 0x68, 0x69}));
    EXPECT_EQ(bytes_of(greater_equal(arg(0), arg(1))), Bytes({0x92, 0x95, 0x68, 0x69}));
    EXPECT_EQ(bytes_of(logical_and(arg(0), arg(1))), Bytes({0x90, 0x68, 0x69}));
    EXPECT_EQ(bytes_of(logical_or(arg(0), arg(1))), Bytes({0x91, 0x68, 0x69}));
}

TEST(AmlStatementTest, buffer_fields_name_an_offset) {
    EXPECT_EQ(bytes_of(create_dword_field(arg(3), 0, "CDW1")),
              Bytes({0x8A, 0x6B, 0x00, 'C', 'D', 'W', '1'}));
    EXPECT_EQ(bytes_of(create_word_field(arg(0), 1, "W")),
              Bytes({0x8B, 0x68, 0x01, 'W', '_', '_', '_'}));
    EXPECT_EQ(bytes_of(create_byte_field(arg(0), 2, "B")),
              Bytes({0x8C, 0x68, 0x0A, 0x02, 'B', '_', '_', '_'}));
    EXPECT_EQ(bytes_of(create_qword_field(arg(0), 8, "Q")),
              Bytes({0x8F, 0x68, 0x0A, 0x08, 'Q', '_', '_', '_'}));
}

TEST(AmlStatementTest, control_flow_has_package_lengths) {
    EXPECT_EQ(bytes_of(if_true(arg(0), return_value(integer(1)))),
              Bytes({0xA0, 0x04, 0x68, 0xA4, 0x01}));
    EXPECT_EQ(bytes_of(otherwise(return_value(integer(0)))), Bytes({0xA1, 0x03, 0xA4, 0x00}));
    EXPECT_EQ(bytes_of(while_true(integer(1), break_loop())), Bytes({0xA2, 0x03, 0x01, 0xA5}));
}

TEST(AmlStatementTest, calls_notifications_and_waiting) {
    EXPECT_EQ(bytes_of(call("FUNC", {arg(0), integer(1)})),
              Bytes({'F', 'U', 'N', 'C', 0x68, 0x01}));
    EXPECT_EQ(bytes_of(notify("DEV", integer(0x80))),
              Bytes({0x86, 'D', 'E', 'V', '_', 0x0A, 0x80}));
    EXPECT_EQ(bytes_of(acquire("MTX")), Bytes({0x5B, 0x23, 'M', 'T', 'X', '_', 0xFF, 0xFF}));
    EXPECT_EQ(bytes_of(release("MTX")), Bytes({0x5B, 0x27, 'M', 'T', 'X', '_'}));
    EXPECT_EQ(bytes_of(sleep_ms(10)), Bytes({0x5B, 0x22, 0x0A, 0x0A}));
}

TEST(AmlFieldTest, operation_region_names_space_offset_and_length) {
    EXPECT_EQ(bytes_of(operation_region("PIRQ", RegionSpace::pci_config, 0x60, 0x10)),
              Bytes({0x5B, 0x80, 'P', 'I', 'R', 'Q', 0x02, 0x0A, 0x60, 0x0A, 0x10}));
}

TEST(AmlFieldTest, offsets_become_skipped_bits) {
    const Term term = field("REGS", FieldAccess::byte, FieldLock::lock, FieldUpdate::write_as_zeros,
                            {field_bits("A", 8), at_offset(1), field_bits("B", 4), skip_bits(4),
                             at_offset(16), field_bits("C", 64)});
    EXPECT_EQ(bytes_of(term), Bytes({0x5B, 0x81,        0x1B, 'R', 'E',  'G',  'S',
                                     0x51, 'A',         '_',  '_', '_',  0x08,  // byte 0
                                     'B',  '_',         '_',  '_', 0x04,  // low half of byte 1
                                     0x00, 0x04,                          // high half
                                     0x00, 0x40 | 0x00, 0x07,             // 112 bits up to byte 16
                                     'C',  '_',         '_',  '_', 0x40, 0x04}));
}

TEST(AmlFieldDeathTest, offsets_do_not_go_backwards) {
    EXPECT_DEATH((void)field("R", FieldAccess::byte, FieldLock::no_lock, FieldUpdate::preserve,
                             {field_bits("A", 16), at_offset(1)}),
                 "");
}

}  // namespace
}  // namespace cupule::acpi::aml
