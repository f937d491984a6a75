#include "hypervisor/acrn/acrn_doorbells.h"

#include <utility>

#include "base/log.h"

namespace cupule::hypervisor::acrn {

AcrnDoorbells::AcrnDoorbells(HsmPort& hsm) : hsm_(hsm) {
    auto ring = SharedRing::create(sizeof(std::uint64_t));
    // ENOTTY of a kernel that is not ACRN's own: every doorbell waits for its upcall then.
    if (ring && hsm_.call(ioctl_setup_asyncio, (*ring)->address()) >= 0) {
        ring_ = std::move(*ring);
    }
}

int AcrnDoorbells::change(const io::Doorbell& doorbell, std::uint32_t flags) {
    acrn_ioeventfd event{};
    event.fd = static_cast<std::uint32_t>(doorbell.eventfd);
    event.flags = flags;
    event.flags |= doorbell.kind == io::IoKind::port ? ACRN_IOEVENTFD_FLAG_PIO : 0U;
    event.flags |= doorbell.match ? ACRN_IOEVENTFD_FLAG_DATAMATCH : 0U;
    event.addr = doorbell.address;
    event.len = doorbell.size;
    event.data = doorbell.match.value_or(0);
    return hsm_.call(ACRN_IOCTL_IOEVENTFD, reinterpret_cast<std::uintptr_t>(&event));
}

base::Result<void> AcrnDoorbells::add(const io::Doorbell& doorbell) {
    // The hypervisor has room for some asynchronous ones, and none for address 0.
    if (ring_ && doorbell.address != 0 && change(doorbell, ioeventfd_flag_asyncio) >= 0) {
        event::MutexLock lock(mutex_);
        asynchronous_.insert(doorbell.eventfd);
        return {};
    }
    if (const int result = change(doorbell, 0); result < 0) {
        return base::fail_errno(-result, "the HSM refuses a doorbell at {:#x}", doorbell.address);
    }
    return {};
}

void AcrnDoorbells::remove(const io::Doorbell& doorbell) {
    std::uint32_t flags = ACRN_IOEVENTFD_FLAG_DEASSIGN;
    {
        event::MutexLock lock(mutex_);
        flags |= asynchronous_.erase(doorbell.eventfd) != 0 ? ioeventfd_flag_asyncio : 0U;
    }
    if (const int result = change(doorbell, flags); result < 0) {
        base::log_warning("the HSM does not give up the doorbell at {:#x}: {}", doorbell.address,
                          base::errno_text(-result));
    }
}

}  // namespace cupule::hypervisor::acrn
