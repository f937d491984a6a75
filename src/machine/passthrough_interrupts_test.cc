#include "machine/passthrough_interrupts.h"

#include <gtest/gtest.h>

namespace cupule::machine {
namespace {

constexpr std::string_view listing =
    "           CPU0       CPU1       \n"
    "  1:          0         42  IR-IO-APIC    1-edge      i8042\n"
    " 27:       1000         30  IR-PCI-MSIX-0000:03:00.0    0-edge      "
    "vfio-msix[0](0000:03:00.0)\n"
    " 28:          7          0  IR-PCI-MSIX-0000:03:00.0    1-edge      "
    "vfio-msix[1](0000:03:00.0)\n"
    " 29:          9          9  IR-PCI-MSI-0000:04:00.0    0-edge      vfio-msi[0](0000:04:00.0)\n"
    " 30:          5          5  IR-PCI-MSI-0000:03:00.0    0-edge      eth0\n"
    "NMI:          1          1   Non-maskable interrupts vfio-(0000:03:00.0)\n";

TEST(PassthroughInterrupts, AreThoseThatVfioHasForTheFunctionsSummedOverProcessors) {
    const auto counts = count_vfio_interrupts(listing, {"0000:03:00.0", "0000:05:00.0"});
    ASSERT_EQ(counts.size(), 2U);
    EXPECT_EQ(counts[0].source, 27U);
    EXPECT_EQ(counts[0].count, 1030U);
    EXPECT_EQ(counts[1].source, 28U);
    EXPECT_EQ(counts[1].count, 7U);
}

TEST(PassthroughInterrupts, AListingCutAnywhereIsReadAsFarAsItGoes) {
    for (std::size_t size = 0; size <= listing.size(); ++size) {
        EXPECT_LE(count_vfio_interrupts(listing.substr(0, size), {"0000:03:00.0"}).size(), 2U);
    }
    EXPECT_TRUE(count_vfio_interrupts(listing, {}).empty());
}

}  // namespace
}  // namespace cupule::machine
