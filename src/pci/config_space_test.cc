#include "pci/config_space.h"

#include <gtest/gtest.h>

#include <array>
#include <random>

#include "snapshot/snapshot.h"

namespace cupule::pci {
namespace {

TEST(ConfigSpace, AWriteChangesWritableBitsOnly) {
    ConfigSpace space(256);
    space.define<std::uint32_t>(0x40, 0xAAAA'AAAA, {.writable = 0x00FF'0000});
    EXPECT_TRUE(space.write(0x40, 4, 0x5555'5555));
    EXPECT_EQ(space.read(0x40, 4), 0xAA55'AAAAU);
}

TEST(ConfigSpace, AByteWriteLeavesTheOtherLanes) {
    ConfigSpace space(256);
    space.define<std::uint32_t>(0x40, 0x1122'3344, {.writable = 0xFFFF'FFFF});
    space.write(0x42, 1, 0xAB);
    EXPECT_EQ(space.read(0x40, 4), 0x11AB'3344U);
    space.write(0x40, 2, 0xCDEF);
    EXPECT_EQ(space.read(0x40, 4), 0x11AB'CDEFU);
}

TEST(ConfigSpace, OnesClearWriteOneToClearBits) {
    ConfigSpace space(256);
    space.define<std::uint16_t>(0x06, 0, {.write_1_to_clear = 0xF900});
    space.set<std::uint16_t>(0x06, 0x8110);
    space.write(0x06, 2, 0x8010);
    EXPECT_EQ(space.read(0x06, 2), 0x0110U);
}

TEST(ConfigSpace, UnnaturalAccessesReadOnesAndWriteNothing) {
    ConfigSpace space(256);
    space.define<std::uint32_t>(0x40, 0, {.writable = 0xFFFF'FFFF});
    space.define<std::uint32_t>(0x44, 0, {.writable = 0xFFFF'FFFF});
    EXPECT_EQ(space.read(0x41, 2), 0xFFFFU);
    EXPECT_EQ(space.read(0x42, 4), 0xFFFF'FFFFU);
    EXPECT_EQ(space.read(0x40, 8), ~0ULL);
    EXPECT_FALSE(space.write(0x41, 2, 0x1111));
    EXPECT_FALSE(space.write(0x42, 4, 0x1111));
    EXPECT_FALSE(space.write(0x40, 8, 0x1111));
    EXPECT_FALSE(space.write(0x40, 3, 0x1111));
    EXPECT_EQ(space.read(0x40, 4), 0U);
}

TEST(ConfigSpace, ConventionalSpacesEndAt256WithOnes) {
    ConfigSpace space(256);
    EXPECT_EQ(space.read(0x100, 4), 0xFFFF'FFFFU);
    EXPECT_EQ(space.read(0xFFFC, 4), 0xFFFF'FFFFU);
    EXPECT_EQ(space.read(~0ULL, 1), 0xFFU);
    EXPECT_FALSE(space.write(~0ULL, 1, 0));
}

TEST(ConfigSpace, ExpressSpacesReadZeroWhereNothingIs) {
    ConfigSpace space(4096);
    EXPECT_EQ(space.read(0x100, 4), 0U);
    EXPECT_EQ(space.read(0xFFC, 4), 0U);
    EXPECT_EQ(space.read(0x1000, 4), 0xFFFF'FFFFU);
}

TEST(ConfigSpace, CapabilitiesAreLinkedInTheOrderTheyAreAdded) {
    ConfigSpace space(256);
    EXPECT_EQ(space.read(config::status, 2) & Status::capabilities_list.mask, 0U);
    EXPECT_EQ(space.add_capability(0x01, 8), 0x40);
    EXPECT_EQ(space.add_capability(0x05, 0x0A), 0x48);
    EXPECT_EQ(space.add_capability(0x11, 12), 0x54);
    EXPECT_EQ(space.read(config::capabilities, 1), 0x40U);
    EXPECT_EQ(space.read(0x40, 2), 0x4801U);
    EXPECT_EQ(space.read(0x48, 2), 0x5405U);
    EXPECT_EQ(space.read(0x54, 2), 0x0011U);
    EXPECT_NE(space.read(config::status, 2) & Status::capabilities_list.mask, 0U);
}

TEST(ConfigSpace, CapabilitiesGoRoundReservedRegisters) {
    ConfigSpace space(256);
    space.reserve(0x44, 1);
    EXPECT_EQ(space.add_capability(0x01, 8), 0x48);
    EXPECT_EQ(space.add_capability(0x09, 4), 0x40);
}

TEST(ConfigSpace, ACapabilityMayBringItsContentsAndMasks) {
    ConfigSpace space(256);
    constexpr std::array<std::uint8_t, 4> body = {0x10, 0x20, 0x30, 0x40};
    constexpr std::array<std::uint8_t, 4> writable = {0, 0xFF, 0, 0x0F};
    const auto at = space.add_capability(capability::vendor_specific, body, writable);
    for (unsigned i = 2; i < 6; ++i) {
        space.write(at + i, 1, 0xFF);
    }
    EXPECT_EQ(space.read(at + 2U, 2), 0xFF10U);
    EXPECT_EQ(space.read(at + 4U, 2), 0x4F30U);
}

TEST(ConfigSpace, ExtendedCapabilitiesStartAt100AndAreLinked) {
    ConfigSpace space(4096);
    EXPECT_EQ(space.add_extended_capability(0x1F, 1, 12), 0x100);
    EXPECT_EQ(space.add_extended_capability(0x0D, 2, 8), 0x10C);
    EXPECT_EQ(space.read(0x100, 4), 0x10C1'001FU);
    EXPECT_EQ(space.read(0x10C, 4), 0x0002'000DU);
}

TEST(ConfigSpaceDeathTest, OverlappingCapabilitiesAreOurFault) {
    ConfigSpace space(256);
    space.add_capability(0x01, 8, 0x50);
    EXPECT_DEATH(space.add_capability(0x05, 8, 0x54), "is_free");
    EXPECT_DEATH(space.add_capability(0x05, 0x200), "offset");
    EXPECT_DEATH(space.add_extended_capability(0x1F, 1, 8), "size_");
}

TEST(ConfigSpace, RandomWritesNeverChangeAFixedBit) {
    ConfigSpace space(4096);
    space.define<std::uint32_t>(0x00, 0x1234'5678);
    space.define<std::uint16_t>(0x04, 0, {.writable = 0x0547});
    space.define<std::uint32_t>(0x10, 0x0C, {.writable = 0xFFFF'C000});
    space.add_extended_capability(0x1F, 1, 12);
    std::mt19937_64 random(7);
    for (int i = 0; i < 100'000; ++i) {
        space.write(random() % 0x1100, 1U << (random() % 4), random());
        ASSERT_EQ(space.read(0x00, 4), 0x1234'5678U);
        ASSERT_EQ(space.read(0x04, 2) & 0xFAB8U, 0U);
        ASSERT_EQ(space.read(0x10, 4) & 0x3FFFU, 0x0CU);
        ASSERT_EQ(space.read(0x100, 4), 0x0001'001FU);
    }
    space.reset();
    EXPECT_EQ(space.read(0x10, 4), 0x0CU);
}

TEST(ConfigSpace, ARestoredSpaceKeepsItsIdentity) {
    ConfigSpace space(256);
    space.define<std::uint32_t>(0x00, 0x1234'5678);
    space.define<std::uint16_t>(0x04, 0, {.writable = 0x0007});
    snapshot::Saver saver;
    space.visit(saver);
    snapshot::Tree tree = saver.take();
    for (std::uint8_t& byte : tree.at("config")) {
        byte = 0xFF;
    }
    snapshot::Restorer restorer(tree);
    space.visit(restorer);
    EXPECT_EQ(space.read(0x00, 4), 0x1234'5678U);
    EXPECT_EQ(space.read(0x04, 2), 0x0007U);
}

}  // namespace
}  // namespace cupule::pci
