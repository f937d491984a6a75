#include "acpi/aml.h"

#include <gtest/gtest.h>

#include <string>

namespace cupule::acpi::aml {
namespace {

Bytes bytes_of(const Term& term) {
    return {term.bytes().begin(), term.bytes().end()};
}

Term filler(std::size_t size) {
    return Term(Bytes(size, 0xA3));
}  // NoopOp

/// The PkgLength that a body of so many bytes gets.
Bytes package_length_of(std::size_t body_size) {
    const Term whole = with_package_length(filler(body_size));
    const Bytes bytes = bytes_of(whole);
    return {bytes.begin(), bytes.end() - static_cast<std::ptrdiff_t>(body_size)};
}

TEST(AmlTest, integers_take_the_shortest_form) {
    EXPECT_EQ(bytes_of(integer(0)), Bytes({0x00}));
    EXPECT_EQ(bytes_of(integer(1)), Bytes({0x01}));
    EXPECT_EQ(bytes_of(integer(2)), Bytes({0x0A, 0x02}));
    EXPECT_EQ(bytes_of(integer(0xFF)), Bytes({0x0A, 0xFF}));
    EXPECT_EQ(bytes_of(integer(0x100)), Bytes({0x0B, 0x00, 0x01}));
    EXPECT_EQ(bytes_of(integer(0xFFFF)), Bytes({0x0B, 0xFF, 0xFF}));
    EXPECT_EQ(bytes_of(integer(0x10000)), Bytes({0x0C, 0x00, 0x00, 0x01, 0x00}));
    EXPECT_EQ(bytes_of(integer(0x1'0000'0000)), Bytes({0x0E, 0, 0, 0, 0, 1, 0, 0, 0}));
    EXPECT_EQ(bytes_of(ones()), Bytes({0xFF}));
}

TEST(AmlTest, paths_have_root_and_parent_prefixes_and_padded_segments) {
    EXPECT_EQ(bytes_of(path("")), Bytes({0x00}));
    EXPECT_EQ(bytes_of(path("\\")), Bytes({'\\', 0x00}));
    EXPECT_EQ(bytes_of(path("CPU")), Bytes({'C', 'P', 'U', '_'}));
    EXPECT_EQ(bytes_of(path("^^LNKA")), Bytes({'^', '^', 'L', 'N', 'K', 'A'}));
    EXPECT_EQ(bytes_of(path("\\_SB.PCI0")),
              Bytes({'\\', 0x2E, '_', 'S', 'B', '_', 'P', 'C', 'I', '0'}));
    EXPECT_EQ(bytes_of(path("A.B2.C")),
              Bytes({0x2F, 3, 'A', '_', '_', '_', 'B', '2', '_', '_', 'C', '_', '_', '_'}));
}

TEST(AmlTest, package_length_counts_itself_and_grows_at_each_boundary) {
    EXPECT_EQ(package_length_of(0), Bytes({0x01}));
    EXPECT_EQ(package_length_of(62), Bytes({0x3F}));                // 63 in one byte
    EXPECT_EQ(package_length_of(63), Bytes({0x41, 0x04}));          // 65 in two
    EXPECT_EQ(package_length_of(4093), Bytes({0x4F, 0xFF}));        // 4095 in two
    EXPECT_EQ(package_length_of(4094), Bytes({0x81, 0x00, 0x01}));  // 4097 in three
    EXPECT_EQ(package_length_of((1 << 20) - 4), Bytes({0x8F, 0xFF, 0xFF}));
    EXPECT_EQ(package_length_of((1 << 20) - 3), Bytes({0xC1, 0x00, 0x00, 0x01}));
}

TEST(AmlTest, plain_package_length_does_not_count_itself) {
    EXPECT_EQ(bytes_of(package_length(63)), Bytes({0x3F}));
    EXPECT_EQ(bytes_of(package_length(64)), Bytes({0x40, 0x04}));
    EXPECT_EQ(bytes_of(package_length(4095)), Bytes({0x4F, 0xFF}));
    EXPECT_EQ(bytes_of(package_length(4096)), Bytes({0x80, 0x00, 0x01}));
    EXPECT_EQ(bytes_of(package_length(package_length_max)), Bytes({0xCF, 0xFF, 0xFF, 0xFF}));
}

TEST(AmlTest, string_ends_with_zero) {
    EXPECT_EQ(bytes_of(string("AB")), Bytes({0x0D, 'A', 'B', 0x00}));
    EXPECT_EQ(bytes_of(string("")), Bytes({0x0D, 0x00}));
}

TEST(AmlTest, buffer_states_its_size) {
    EXPECT_EQ(bytes_of(buffer(Bytes({1, 2, 3}))), Bytes({0x11, 0x06, 0x0A, 0x03, 1, 2, 3}));
    EXPECT_EQ(bytes_of(buffer({})), Bytes({0x11, 0x02, 0x00}));
}

TEST(AmlTest, package_counts_its_elements) {
    EXPECT_EQ(bytes_of(package({integer(5), integer(0), integer(0), integer(0)})),
              Bytes({0x12, 0x07, 0x04, 0x0A, 0x05, 0x00, 0x00, 0x00}));
    EXPECT_EQ(bytes_of(package({})), Bytes({0x12, 0x02, 0x00}));
}

TEST(AmlTest, package_of_more_than_255_elements_is_a_var_package) {
    const std::vector<Term> elements(256, integer(1));
    const Bytes bytes = bytes_of(package(elements));
    EXPECT_EQ(Bytes(bytes.begin(), bytes.begin() + 7),
              Bytes({0x13, 0x45, 0x10, 0x0B, 0x00, 0x01, 0x01}));
    EXPECT_EQ(bytes.size(), 1U + 2U + 3U + 256U);
}

TEST(AmlTest, eisa_ids_match_the_specification) {
    EXPECT_EQ(bytes_of(eisa_id("PNP0A03")), Bytes({0x0C, 0x41, 0xD0, 0x0A, 0x03}));
    EXPECT_EQ(bytes_of(eisa_id("PNP0C0F")), Bytes({0x0C, 0x41, 0xD0, 0x0C, 0x0F}));
}

TEST(AmlTest, uuid_has_its_first_three_groups_little_endian) {
    EXPECT_EQ(bytes_of(to_uuid("33DB4D5B-1FF7-401C-9657-7441C03DD766")),
              Bytes({0x11, 0x13, 0x0A, 0x10, 0x5B, 0x4D, 0xDB, 0x33, 0xF7, 0x1F,
                     0x1C, 0x40, 0x96, 0x57, 0x74, 0x41, 0xC0, 0x3D, 0xD7, 0x66}));
}

TEST(AmlTest, named_objects_nest) {
    const Term tree = scope("\\_SB", device("DEV", name("_UID", integer(1))));
    EXPECT_EQ(bytes_of(tree), Bytes({0x10, 0x13, '\\', '_', 'S', 'B', '_',  // Scope
                                     0x5B, 0x82, 0x0B, 'D', 'E', 'V', '_',  // Device
                                     0x08, '_',  'U',  'I', 'D', 0x01}));   // Name
}

TEST(AmlTest, method_flags_carry_arguments_and_serialization) {
    EXPECT_EQ(bytes_of(method("ABCD", 3, Serialized::no, {})),
              Bytes({0x14, 0x06, 'A', 'B', 'C', 'D', 0x03}));
    EXPECT_EQ(bytes_of(method("ABCD", 7, Serialized::yes, {})),
              Bytes({0x14, 0x06, 'A', 'B', 'C', 'D', 0x0F}));
}

TEST(AmlTest, mutex_and_alias) {
    EXPECT_EQ(bytes_of(mutex("MTX", 2)), Bytes({0x5B, 0x01, 'M', 'T', 'X', '_', 0x02}));
    EXPECT_EQ(bytes_of(alias("A", "B")), Bytes({0x06, 'A', '_', '_', '_', 'B', '_', '_', '_'}));
}

TEST(AmlTest, a_term_can_be_appended_to_itself) {
    Term term = integer(2);
    term += term;
    EXPECT_EQ(bytes_of(term), Bytes({0x0A, 0x02, 0x0A, 0x02}));
}

TEST(AmlDeathTest, wrong_names_and_ids_are_programming_errors) {
    EXPECT_DEATH((void)path("LONGNAME"), "");
    EXPECT_DEATH((void)path("low"), "");
    EXPECT_DEATH((void)path("1ABC"), "");
    EXPECT_DEATH((void)path("A..B"), "");
    EXPECT_DEATH((void)path("A."), "");
    EXPECT_DEATH((void)path("\\^A"), "");
    EXPECT_DEATH((void)eisa_id("PNP"), "");
    EXPECT_DEATH((void)to_uuid("33DB4D5B"), "");
    EXPECT_DEATH((void)package_length(package_length_max + 1), "");
}

}  // namespace
}  // namespace cupule::acpi::aml
