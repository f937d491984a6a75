#include "base/field.h"

#include <gtest/gtest.h>

namespace cupule::base {
namespace {

struct ControlWord {
    static constexpr Field<std::uint8_t, 7, 6> select_counter{};  // SC
    static constexpr Bit<std::uint8_t, 0> bcd{};                  // BCD
};

TEST(Field, TakesAndPutsItsBitsOnly) {
    EXPECT_EQ(ControlWord::select_counter.of(0xBF), 2);
    EXPECT_EQ(ControlWord::select_counter.with(0x3F, 3), 0xFF);
    EXPECT_EQ(ControlWord::select_counter.with(0x00, 7), 0xC0);
    EXPECT_TRUE(ControlWord::bcd.of(1));
    EXPECT_EQ(ControlWord::bcd.clear(0xFF), 0xFE);
    EXPECT_EQ((Field<std::uint32_t, 31, 0>::mask), 0xFFFF'FFFFU);
    EXPECT_EQ((Field<std::uint64_t, 63, 63>::mask), 0x8000'0000'0000'0000U);
}

TEST(WriteRule, KeepsReadOnlyTakesWritableClearsOnOne) {
    constexpr WriteRule<std::uint16_t> rule{.writable = 0x00FF, .write_1_to_clear = 0xF000};
    EXPECT_EQ(rule.apply(0xFF00, 0x1234), 0xEF34);
    EXPECT_EQ(rule.apply(0x0F00, 0x0000), 0x0F00);
}

}  // namespace
}  // namespace cupule::base
