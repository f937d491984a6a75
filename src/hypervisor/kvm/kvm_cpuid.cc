#include "hypervisor/kvm/kvm_cpuid.h"

#include <asm/kvm_para.h>

#include <algorithm>
#include <bit>

#include "base/field.h"

namespace cupule::hypervisor {
namespace {

template <unsigned Position>
using Flag = base::Bit<std::uint32_t, Position>;
template <unsigned High, unsigned Low>
using Bits = base::Field<std::uint32_t, High, Low>;

struct Leaf1 {
    static constexpr Bits<31, 24> initial_apic_id{};  // EBX
    static constexpr Bits<23, 16> logical_cpus{};     // EBX
    static constexpr Flag<5> vmx{};                   // ECX
    static constexpr Flag<24> tsc_deadline{};         // ECX
    static constexpr Flag<31> hypervisor{};           // ECX
    static constexpr Flag<28> hyper_threading{};      // EDX HTT
};

struct Leaf4 {
    static constexpr Bits<4, 0> cache_type{};   // EAX, 0: no more
    static constexpr Bits<7, 5> cache_level{};  // EAX
    static constexpr Bits<25, 14> sharing{};    // EAX, logical ids sharing the cache - 1
    static constexpr Bits<31, 26> cores{};      // EAX, core ids in the package - 1
};

struct ExtendedLeaf1 {
    static constexpr Flag<1> core_multi_processing{};  // ECX CmpLegacy
    static constexpr Flag<2> svm{};                    // ECX
};

struct ExtendedLeaf8 {
    static constexpr Bits<7, 0> cores{};           // ECX NC, cores - 1
    static constexpr Bits<15, 12> apic_id_size{};  // ECX
};

constexpr std::uint32_t topology_level_smt = 1;
constexpr std::uint32_t topology_level_core = 2;

/// Linux Documentation/virt/kvm/x86/cpuid.rst, KVM_CPUID_FEATURES.
struct KvmFeaturesLeaf {
    static constexpr Flag<0> realtime{};  // EDX KVM_HINTS_REALTIME
};

/// One vCPU among those of its VM.
struct Topology {
    const VcpuTraits& traits;
    std::uint32_t apic_id;
    std::uint32_t id_bits;
};

std::uint32_t byte_of(std::uint32_t value) {
    return std::min(value, std::uint32_t{0xFF});
}

void patch_leaf_1(kvm_cpuid_entry2& entry, const Topology& topology) {
    entry.ebx = Leaf1::initial_apic_id.with(entry.ebx, topology.apic_id & 0xFF);
    entry.ebx = Leaf1::logical_cpus.with(entry.ebx, byte_of(1U << std::min(topology.id_bits, 8U)));
    entry.edx = Leaf1::hyper_threading.with(entry.edx, topology.traits.vcpus > 1);
    entry.ecx = Leaf1::vmx.clear(entry.ecx);
    entry.ecx = Leaf1::hypervisor.set(entry.ecx);
    entry.ecx = Leaf1::tsc_deadline.with(entry.ecx, topology.traits.tsc_deadline);
}

void patch_leaf_4(kvm_cpuid_entry2& entry, const Topology& topology) {
    if (Leaf4::cache_type.of(entry.eax) == 0) {
        return;
    }
    const std::uint32_t ids = (1U << std::min(topology.id_bits, 6U)) - 1;
    const bool last_level = Leaf4::cache_level.of(entry.eax) >= 3;
    entry.eax = Leaf4::cores.with(entry.eax, ids);
    entry.eax = Leaf4::sharing.with(entry.eax, last_level ? ids : 0);
}

/// Leaves 0BH and 1FH: one thread a core, all cores in one package.
void patch_topology_leaf(kvm_cpuid_entry2& entry, const Topology& topology) {
    entry.eax = entry.ebx = entry.ecx = 0;
    entry.edx = topology.apic_id;
    if (entry.index == 0) {
        entry.ebx = 1;
        entry.ecx = topology_level_smt << 8;
    } else if (entry.index == 1) {
        entry.eax = topology.id_bits;
        entry.ebx = topology.traits.vcpus;
        entry.ecx = (topology_level_core << 8) | 1;
    } else {
        entry.ecx = entry.index & 0xFF;
    }
}

void patch_entry(kvm_cpuid_entry2& entry, const Topology& topology) {
    switch (entry.function) {
        case 0x1:
            patch_leaf_1(entry, topology);
            break;
        case 0x4:
            patch_leaf_4(entry, topology);
            break;
        case 0xB:
        case 0x1F:
            patch_topology_leaf(entry, topology);
            break;
        case 0x8000'0001:
            entry.ecx = ExtendedLeaf1::svm.clear(entry.ecx);
            entry.ecx =
                ExtendedLeaf1::core_multi_processing.with(entry.ecx, topology.traits.vcpus > 1);
            break;
        case 0x8000'0008:
            entry.ecx = ExtendedLeaf8::cores.with(entry.ecx, byte_of(topology.traits.vcpus - 1));
            entry.ecx = ExtendedLeaf8::apic_id_size.with(entry.ecx, topology.id_bits);
            break;
        case 0x8000'001E:
            entry.eax = topology.apic_id;
            entry.ebx = topology.apic_id & 0xFF;
            entry.ecx = 0;
            break;
        case KVM_CPUID_FEATURES:
            entry.edx = KvmFeaturesLeaf::realtime.with(entry.edx, topology.traits.owns_processors);
            break;
        default:
            break;
    }
}

}  // namespace

KvmCpuid make_vcpu_cpuid(const KvmCpuid& supported, std::uint32_t apic_id,
                         const VcpuTraits& traits) {
    const Topology topology{
        .traits = traits,
        .apic_id = apic_id,
        .id_bits = static_cast<std::uint32_t>(std::bit_width(traits.apic_id_max))};
    KvmCpuid result = supported;
    for (kvm_cpuid_entry2& entry : result.entries) {
        patch_entry(entry, topology);
    }
    return result;
}

}  // namespace cupule::hypervisor
