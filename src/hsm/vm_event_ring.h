#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/file_descriptor.h"
#include "event/mutex.h"
#include "hsm/client_process.h"
#include "hypervisor/acrn/acrn_abi.h"

namespace cupule::hsm {

/// The client's page that its VM's events go into, and the eventfd that says so
/// (SETUP_VM_EVENT_RING, SETUP_VM_EVENT_FD). What the client does to the page harms only itself.
/// Results are 0 or a negative errno. Any thread.
class VmEventRing {
  public:
    /// `process` is the client's, for as long as this lives.
    int set_page(std::shared_ptr<const ClientProcess> process, std::uint64_t address)
        CUPULE_EXCLUDES(mutex_);
    int set_eventfd(int fd, const ClientProcess& caller) CUPULE_EXCLUDES(mutex_);
    /// Into the ring, and the client is woken; nothing without a ring. Where it is full the event
    /// is lost.
    void put(const hypervisor::acrn::VmEvent& event) CUPULE_EXCLUDES(mutex_);

  private:
    event::Mutex mutex_;
    std::shared_ptr<const ClientProcess> process_ CUPULE_GUARDED_BY(mutex_);
    std::uint64_t address_ CUPULE_GUARDED_BY(mutex_) = 0;
    std::uint32_t size_ CUPULE_GUARDED_BY(mutex_) = 0;
    std::uint32_t tail_ CUPULE_GUARDED_BY(mutex_) = 0;
    base::FileDescriptor eventfd_ CUPULE_GUARDED_BY(mutex_);
};

/// The header of a ring for elements of `element_size` at `address`: EFAULT where there is none,
/// EINVAL where it is none.
int check_ring(const ClientProcess& process, std::uint64_t address, std::uint32_t element_size,
               hypervisor::acrn::SharedRingHeader& header);

}  // namespace cupule::hsm
