#pragma once

#include <cstdint>
#include <memory>

#include "event/mutex.h"
#include "hsm/client_process.h"
#include "hsm/user_vm.h"

namespace cupule::hsm {

/// One open file of /dev/acrn_hsm, and with it one VM: what its ioctls do. Everything a client
/// passes is read once and checked; whatever it does, it harms only its own VM. Any thread.
///
/// Models the upstream driver of Linux (drivers/virt/acrn) and what the hypervisor answers it.
/// Leaves out: devices of the host (ENODEV, EINVAL), virtual devices of the hypervisor (EINVAL),
/// performance states (counts of 0), asynchronous I/O and event rings (ENOTTY, as upstream).
/// Differs on purpose: docs/acrn.md.
class VmSession {
  public:
    explicit VmSession(ServiceParts& service) : service_(service) {}
    ~VmSession() { release(); }

    /// Every ioctl but ATTACH: its value, or a negative errno.
    int call(std::uint32_t request, std::uint64_t argument, const ClientProcess& caller)
        CUPULE_EXCLUDES(mutex_);
    /// ATTACH: `done` is called once (RequestSlots::attach). `id` is unique among what waits.
    void attach(std::uint64_t id, RequestSlots::AttachDone done) CUPULE_EXCLUDES(mutex_);
    /// A signal came for the one who waits as `id`.
    void interrupt(std::uint64_t id) CUPULE_EXCLUDES(mutex_);
    /// The file is closed: the VM ends.
    void release() CUPULE_EXCLUDES(mutex_);

  private:
    std::shared_ptr<UserVm> vm() CUPULE_EXCLUDES(mutex_);
    int create(std::uint64_t argument, const ClientProcess& caller) CUPULE_EXCLUDES(mutex_);
    int destroy(const std::shared_ptr<UserVm>& vm) CUPULE_EXCLUDES(mutex_);

    ServiceParts& service_;
    /// Guards the pointer only; nothing is called with it held.
    event::Mutex mutex_;
    std::shared_ptr<UserVm> vm_ CUPULE_GUARDED_BY(mutex_);
    bool creating_ CUPULE_GUARDED_BY(mutex_) = false;
};

}  // namespace cupule::hsm
