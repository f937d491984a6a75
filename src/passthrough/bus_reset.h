#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "base/error.h"
#include "event/mutex.h"
#include "passthrough/host_topology.h"
#include "passthrough/vfio_kernel.h"

namespace cupule::passthrough {

/// The functions that a reset of one function's bus or slot resets.
struct BusReset {
    struct Member {
        HostAddress address{};
        /// The IOMMU group's number; with VFIO's newer interface what its I/O address space has the
        /// function as.
        std::uint32_t owner = 0;
    };
    std::vector<Member> members{};
};

/// What VFIO says of the function behind `device` (Linux include/uapi/linux/vfio.h,
/// VFIO_DEVICE_GET_PCI_HOT_RESET_INFO). The error is that the host cannot reset its bus.
base::Result<BusReset> read_bus_reset(VfioKernel& kernel, int device);

/// Resets them all (VFIO_DEVICE_PCI_HOT_RESET). `groups`: descriptors of all their IOMMU groups;
/// with VFIO's newer interface none, as the kernel knows whose they are.
base::Result<void> reset_bus(VfioKernel& kernel, int device, std::span<const int> groups);

/// The bus resets of one guest: functions that share one are reset once, when the first of them
/// asks, and the others when they ask find it done. Any thread.
class BusResets {
  public:
    /// The function asks to be reset. True: another's reset has done it since it last asked.
    bool take_done(const HostAddress& function) CUPULE_EXCLUDES(mutex_);
    /// It asked, and nothing can be done before all functions of its bus are in the guest.
    void postpone(const HostAddress& function) CUPULE_EXCLUDES(mutex_);
    /// `function` was reset, and with it all of `bus`.
    void note(const HostAddress& function, const BusReset& bus) CUPULE_EXCLUDES(mutex_);
    /// It is closed.
    void forget(const HostAddress& function) CUPULE_EXCLUDES(mutex_);

  private:
    event::Mutex mutex_;
    std::set<HostAddress> done_ CUPULE_GUARDED_BY(mutex_);
    std::set<HostAddress> waiting_ CUPULE_GUARDED_BY(mutex_);
};

}  // namespace cupule::passthrough
