#pragma once

#include <memory>
#include <set>

#include "event/mutex.h"
#include "hypervisor/acrn/hsm_port.h"
#include "hypervisor/acrn/shared_ring.h"
#include "io/doorbell.h"

namespace cupule::hypervisor::acrn {

/// Doorbells of a VM at the HSM (IOEVENTFD). Where the HSM offers asynchronous I/O, the processor
/// that rings goes on at once, without waiting for the Service VM. Any thread.
class AcrnDoorbells {
  public:
    /// `hsm` outlives it; the VM was created.
    explicit AcrnDoorbells(HsmPort& hsm);

    base::Result<void> add(const io::Doorbell& doorbell) CUPULE_EXCLUDES(mutex_);
    void remove(const io::Doorbell& doorbell) CUPULE_EXCLUDES(mutex_);

  private:
    int change(const io::Doorbell& doorbell, std::uint32_t flags);

    HsmPort& hsm_;
    /// The hypervisor's way to the HSM; the HSM keeps it for the VM's life. nullptr: not offered.
    std::unique_ptr<SharedRing> ring_;

    event::Mutex mutex_;
    /// By eventfd.
    std::set<int> asynchronous_ CUPULE_GUARDED_BY(mutex_);
};

}  // namespace cupule::hypervisor::acrn
