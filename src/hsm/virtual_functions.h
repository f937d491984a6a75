#pragma once

#include <linux/acrn.h>

#include <memory>

#include "hsm/vm_functions.h"

namespace cupule::hsm {

/// A function that the hypervisor itself has for CREATE_VDEV: a PCI Express root port (8086:9d14)
/// with precision time measurement on, for a device behind it that measures time. nullptr: there
/// is no function of these ids, or not with these arguments.
std::unique_ptr<VmFunction> make_virtual_function(const acrn_vdev& device);

}  // namespace cupule::hsm
