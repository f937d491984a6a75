#include "machine/memory_layout.h"

#include <gtest/gtest.h>

#include "machine/address_map.h"

namespace cupule::machine {
namespace {

using boot::E820Entry;
using boot::E820Type;

std::vector<E820Entry> entries_of(const MemoryLayout& layout) {
    return {layout.e820.entries().begin(), layout.e820.entries().end()};
}

const E820Entry conventional{0, 0xA'0000, E820Type::ram};
const E820Entry tables{0xF'0000, 0x1'0000, E820Type::reserved};
const E820Entry below_4g{0xE000'0000, 0x2000'0000, E820Type::reserved};

TEST(MemoryLayout, ASmallGuestHasAllItsRamBelowThePciHole) {
    const auto layout = make_memory_layout(128 * mib, memory::HugePages::never);
    ASSERT_TRUE(layout.has_value());
    ASSERT_EQ(layout->ram.pieces.size(), 1U);
    EXPECT_EQ(layout->ram.pieces[0].size, 128 * mib);
    EXPECT_EQ(layout->high_ram_end, high_ram_base);
    EXPECT_EQ(
        entries_of(*layout),
        (std::vector<E820Entry>{conventional, tables, {mib, 127 * mib, E820Type::ram}, below_4g}));
}

TEST(MemoryLayout, TwoGibibytesFillLowRamAndNothingIsAbove) {
    const auto layout = make_memory_layout(2 * gib, memory::HugePages::never);
    ASSERT_TRUE(layout.has_value());
    ASSERT_EQ(layout->ram.pieces.size(), 1U);
    EXPECT_EQ(layout->low_ram_end, 0x8000'0000U);
    EXPECT_EQ(layout->high_ram_end, high_ram_base);
    EXPECT_EQ(layout->e820.ram_size(), 2 * gib - (mib - conventional_ram_end));
}

TEST(MemoryLayout, WhatExceedsTwoGibibytesLiesFromFourOn) {
    const auto layout = make_memory_layout(2 * gib + 2 * mib, memory::HugePages::never);
    ASSERT_TRUE(layout.has_value());
    ASSERT_EQ(layout->ram.pieces.size(), 2U);
    EXPECT_EQ(layout->ram.pieces[1].base.value, 4 * gib);
    EXPECT_EQ(layout->ram.pieces[1].size, 2 * mib);
    EXPECT_EQ(entries_of(*layout).back(), (E820Entry{4 * gib, 2 * mib, E820Type::ram}));
}

TEST(MemoryLayout, RamMayReachThe64BitPciWindowAndNoFurther) {
    const auto most = make_memory_layout(254 * gib, memory::HugePages::never);
    ASSERT_TRUE(most.has_value());
    EXPECT_EQ(most->high_ram_end, pci_window_64_base);
    const auto more = make_memory_layout(254 * gib + 2 * mib, memory::HugePages::never);
    ASSERT_FALSE(more.has_value());
    EXPECT_EQ(more.error().message,
              "260098 MiB of guest memory reach into the 64-bit PCI window at 256 GiB");
}

}  // namespace
}  // namespace cupule::machine
