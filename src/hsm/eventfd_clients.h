#pragma once

#include <linux/acrn.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "base/file_descriptor.h"
#include "event/mutex.h"
#include "hsm/client_process.h"
#include "hypervisor/vm.h"
#include "io/io_request.h"

namespace cupule::hsm {

/// The eventfds of one VM: writes that only wake somebody (the I/O client that owns their ranges)
/// and interrupts that an eventfd alone injects. Both go to the hypervisor, so that neither visits
/// this process; what it cannot tell apart is told apart here. Results are 0 or a negative errno.
/// Any thread.
class EventfdClients {
  public:
    /// `vm` outlives this.
    explicit EventfdClients(hypervisor::Vm& vm) : vm_(vm) {}
    ~EventfdClients();
    EventfdClients(const EventfdClients&) = delete;
    EventfdClients& operator=(const EventfdClients&) = delete;

    /// IOEVENTFD, with `caller`'s descriptor numbers.
    int change_doorbell(const acrn_ioeventfd& change, const ClientProcess& caller)
        CUPULE_EXCLUDES(mutex_);
    /// IRQFD.
    int change_interrupt(const acrn_irqfd& change, const ClientProcess& caller)
        CUPULE_EXCLUDES(mutex_);

    /// Completes a request that lies in a doorbell's range: a write rings where it matches and is
    /// swallowed where not, a read is 0. False where no range has it.
    bool handle(io::IoRequest& request) CUPULE_EXCLUDES(mutex_);

  private:
    /// An open eventfd of the client. `id` is the kernel's, the same for all its descriptors.
    struct Eventfd {
        base::FileDescriptor descriptor{};
        std::uint64_t id = 0;
    };
    struct Bell {
        Eventfd eventfd{};
        io::Doorbell doorbell{};
        bool in_hypervisor = false;
    };

    static base::Result<Eventfd> open_eventfd(int fd, const ClientProcess& caller);
    int add_doorbell(const acrn_ioeventfd& change, Eventfd eventfd) CUPULE_REQUIRES(mutex_);
    void remove_doorbell(std::uint64_t id) CUPULE_REQUIRES(mutex_);
    int add_interrupt(const acrn_irqfd& change, Eventfd eventfd) CUPULE_REQUIRES(mutex_);
    void remove_interrupt(std::uint64_t id) CUPULE_REQUIRES(mutex_);

    hypervisor::Vm& vm_;
    /// Guards the tables; the hypervisor is called with it held. A leaf lock.
    event::Mutex mutex_;
    std::vector<Bell> bells_ CUPULE_GUARDED_BY(mutex_);
    std::vector<Eventfd> interrupts_ CUPULE_GUARDED_BY(mutex_);
};

}  // namespace cupule::hsm
