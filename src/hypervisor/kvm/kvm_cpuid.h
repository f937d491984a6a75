#pragma once

#include <cstdint>

#include "hypervisor/kvm/kvm_device.h"

namespace cupule::hypervisor {

/// What one vCPU says of itself: the host's supported CPUID with this vCPU's APIC id, one package
/// of `vcpus` cores of one thread, the TSC-deadline timer, and no nested virtualisation (Intel SDM
/// vol. 2 CPUID; AMD APM vol. 3 appendix E). `apic_id_max` is the largest id of the VM.
KvmCpuid make_vcpu_cpuid(const KvmCpuid& supported, unsigned vcpus, std::uint32_t apic_id,
                         std::uint32_t apic_id_max, bool tsc_deadline);

}  // namespace cupule::hypervisor
