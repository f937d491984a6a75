#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "passthrough/host_topology.h"
#include "passthrough/slot_options.h"

namespace cupule::passthrough {

/// Whether the host can give all of `slots` (those with an address) to one guest. What is checked
/// is worked out from the host alone: the device is there, an endpoint, asked for once, and behind
/// vfio-pci or to be had (`must_bind`); no driver of the host has another device of its IOMMU
/// group; it has no virtual functions; no device outside the guest that has nothing but INTx shares
/// the line of one that is to interrupt by INTx, as far as the kernel has routed them; interrupts
/// are remapped. The error names the devices, and what to do.
base::Result<void> check_host_functions(const HostTopology& host,
                                        const std::vector<const SlotText*>& slots);

/// What of that could not be known of the function of `slot` before VFIO had it open: `host` was
/// read afterwards. All `slots` are the guest's.
base::Result<void> check_routed_interrupt(const HostTopology& host, const SlotText& slot,
                                          const std::vector<const SlotText*>& slots);

/// The same where no kernel of this host routes the function's line: `irq=` has the last word.
base::Result<void> check_shared_line(const HostTopology& host, const SlotText& slot,
                                     const std::vector<const SlotText*>& slots);

/// Whether the guest gets the function's INTx: it has nothing else, or `keep_gsi` says so.
bool uses_intx(const HostFunction& function, const SlotText& slot);

/// Whether vfio-pci has to be given the function first, and may be: nobody uses it (no driver, or
/// pci-stub, which acrn-dm's users bind it to), or the slot says `bind`.
bool must_bind(const HostFunction& function, const SlotText& slot);

/// A physical function does not leave its driver while it has virtual ones, which others may use.
base::Result<void> check_virtual_functions(const HostTopology& host, const HostFunction& function);

/// Why this function cannot be passed through as things are, one reason a line; empty: it can.
std::vector<std::string> find_obstacles(const HostTopology& host, const HostFunction& function);

}  // namespace cupule::passthrough
