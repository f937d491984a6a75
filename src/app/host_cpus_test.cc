#include "app/host_cpus.h"

#include <gtest/gtest.h>

namespace cupule::app {
namespace {

constexpr std::string_view cpuinfo =
    "processor\t: 0\nvendor_id\t: X\napicid\t\t: 0\ninitial apicid\t: 0\n\n"
    "processor\t: 1\napicid\t\t: 2\ninitial apicid\t: 2\n\n"
    "processor\t: 2\napicid\t\t: 300\n\n";

void add_lapic(std::vector<std::uint8_t>& madt, std::uint8_t id, std::uint8_t flags) {
    madt.insert(madt.end(), {0, 8, id, id, flags, 0, 0, 0});
}

void add_x2apic(std::vector<std::uint8_t>& madt, std::uint16_t id) {
    madt.insert(madt.end(), {9, 16, 0, 0, static_cast<std::uint8_t>(id & 0xFF),
                             static_cast<std::uint8_t>(id >> 8), 0, 0, 1, 0, 0, 0, 0, 0, 0, 0});
}

std::vector<std::uint8_t> empty_madt() {
    return std::vector<std::uint8_t>(44);
}

TEST(HostCpus, MapsIdsToLinuxsNumbersByCpuinfoAlone) {
    const HostCpus cpus = HostCpus::parse(cpuinfo, {});
    EXPECT_EQ(cpus.known_ids(), "0, 2, 300");
    ASSERT_TRUE(cpus.find(300));
    EXPECT_EQ(cpus.find(300)->host_cpu, 2U);
    EXPECT_FALSE(cpus.find(1));
}

TEST(HostCpus, KnowsOfflineAndX2ApicProcessorsByTheMadt) {
    std::vector<std::uint8_t> madt = empty_madt();
    add_lapic(madt, 0, 1);
    add_lapic(madt, 1, 0);  // neither enabled nor online capable
    add_lapic(madt, 2, 1);
    add_lapic(madt, 4, 2);
    add_x2apic(madt, 300);
    const HostCpus cpus = HostCpus::parse(cpuinfo, madt);
    EXPECT_EQ(cpus.known_ids(), "0, 2, 4, 300");
    EXPECT_EQ(cpus.find(2)->host_cpu, 1U);
    EXPECT_EQ(cpus.find(2)->acrn_pcpu, 1U);
    EXPECT_FALSE(cpus.find(4)->host_cpu);
    EXPECT_EQ(cpus.find(300)->acrn_pcpu, 3U);
}

TEST(HostCpus, LeavesAMadtThatIsCutShortOrOfAnotherMachine) {
    std::vector<std::uint8_t> madt = empty_madt();
    add_lapic(madt, 0, 1);
    madt.insert(madt.end(), {0, 0});
    EXPECT_EQ(HostCpus::parse(cpuinfo, madt).known_ids(), "0, 2, 300");
    madt.resize(44);
    madt.insert(madt.end(), {9, 16, 0});
    EXPECT_EQ(HostCpus::parse(cpuinfo, madt).known_ids(), "0, 2, 300");
    EXPECT_EQ(HostCpus::parse("", {}).known_ids(), "");
}

TEST(HostCpus, FindsAProcessorOnThisHost) {
    EXPECT_FALSE(HostCpus::read().cpus().empty());
}

}  // namespace
}  // namespace cupule::app
