#pragma once

#include <linux/acrn.h>

#include <memory>

#include "hsm/shared_memory.h"
#include "hsm/vm_functions.h"
#include "hypervisor/vm.h"

namespace cupule::hsm {

/// What functions of the hypervisor are made from; all outlives them.
struct VirtualFunctionParts {
    hypervisor::Vm& vm;
    std::uint16_t vm_id = 0;
    /// nullptr: none.
    const SharedMemories* shared_memories = nullptr;
};

/// A function that the hypervisor itself has for CREATE_VDEV: a PCI Express root port (8086:9d14)
/// with precision time measurement on, for a device behind it that measures time; memory shared
/// between VMs (1af4:1110) of a name and size that the service has. `monitor` is to be its own.
/// nullptr: there is no function of these ids, or not with these arguments.
std::unique_ptr<VmFunction> make_virtual_function(const acrn_vdev& device,
                                                  const VirtualFunctionParts& parts,
                                                  event::Monitor& monitor);

}  // namespace cupule::hsm
