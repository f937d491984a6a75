#include "hypervisor/kvm/kvm_cpuid.h"

#include <asm/kvm_para.h>
#include <gtest/gtest.h>

namespace cupule::hypervisor {
namespace {

/// EDX of KVM's leaf of features and hints as a guest sees it, where the host says `host_hints`.
std::uint32_t hints(std::uint32_t host_hints, bool owns_processors) {
    kvm_cpuid_entry2 entry{};
    entry.function = KVM_CPUID_FEATURES;
    entry.eax = 0x1234;
    entry.edx = host_hints;
    const KvmCpuid made =
        make_vcpu_cpuid({.entries = {entry}}, 0, {.owns_processors = owns_processors});
    EXPECT_EQ(made.entries.at(0).eax, 0x1234U) << "the features are the host's";
    return made.entries.at(0).edx;
}

TEST(KvmCpuid, SaysThatNobodyElseHasTheProcessorsOnlyWhereThatIsSo) {
    constexpr std::uint32_t realtime = 1U << KVM_HINTS_REALTIME;
    EXPECT_EQ(hints(0, true), realtime);
    EXPECT_EQ(hints(0, false), 0U);
    EXPECT_EQ(hints(0xFFFF'FFFF, false), 0xFFFF'FFFF & ~realtime);
}

TEST(KvmCpuid, EachProcessorHasItsOwnIdAndAllTheSameTopology) {
    kvm_cpuid_entry2 leaf_1{};
    leaf_1.function = 1;
    kvm_cpuid_entry2 topology{};
    topology.function = 0xB;
    topology.index = 1;
    const KvmCpuid made = make_vcpu_cpuid({.entries = {leaf_1, topology}}, 6,
                                          {.vcpus = 4, .apic_id_max = 6, .tsc_deadline = true});
    EXPECT_EQ(made.entries.at(0).ebx >> 24, 6U);
    EXPECT_EQ(made.entries.at(0).ebx >> 16 & 0xFF, 8U) << "ids of three bits";
    EXPECT_NE(made.entries.at(0).ecx & 1U << 24, 0U) << "the TSC deadline timer";
    EXPECT_EQ(made.entries.at(1).eax, 3U);
    EXPECT_EQ(made.entries.at(1).ebx, 4U);
    EXPECT_EQ(made.entries.at(1).edx, 6U);
}

}  // namespace
}  // namespace cupule::hypervisor
