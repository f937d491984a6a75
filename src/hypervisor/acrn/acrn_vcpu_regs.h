#pragma once

#include "base/error.h"
#include "hypervisor/acrn/acrn_abi.h"
#include "hypervisor/vcpu_state.h"

namespace cupule::hypervisor::acrn {

/// The start of vCPU 0 as SET_VCPU_REGS carries it. The structure has room for the code segment and
/// for selectors only; the error names a `state` whose other segments cannot be said with it.
base::Result<acrn_vcpu_regs> to_acrn(const VcpuState& state);

/// What the hypervisor makes of `regs`: flat data segments in protected and long mode, segments
/// after their selectors in real mode. Reserved fields are the caller's to check. Fails with EINVAL
/// for control registers that no processor takes (Intel SDM vol. 3, 2.5 and 4.1).
base::Result<VcpuState> from_acrn(const acrn_regs& regs);

}  // namespace cupule::hypervisor::acrn
