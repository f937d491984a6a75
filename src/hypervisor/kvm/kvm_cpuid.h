#pragma once

#include <cstdint>

#include "hypervisor/kvm/kvm_device.h"

namespace cupule::hypervisor {

/// What is the same for all vCPUs of a VM.
struct VcpuTraits {
    unsigned vcpus = 1;
    /// The largest of the VM.
    std::uint32_t apic_id_max = 0;
    bool tsc_deadline = false;
    /// KVM_HINTS_REALTIME (Linux Documentation/virt/kvm/x86/cpuid.rst): no vCPU is ever preempted
    /// for long, so that a guest may poll before it halts and spin for a lock.
    bool owns_processors = false;
};

/// What one vCPU says of itself: the host's supported CPUID with this vCPU's APIC id, one package
/// of cores of one thread, the TSC-deadline timer, and no nested virtualisation (Intel SDM vol. 2
/// CPUID; AMD APM vol. 3 appendix E).
KvmCpuid make_vcpu_cpuid(const KvmCpuid& supported, std::uint32_t apic_id,
                         const VcpuTraits& traits);

}  // namespace cupule::hypervisor
