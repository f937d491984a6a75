#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "event/mutex.h"
#include "hsm/client_process.h"
#include "hypervisor/acrn/acrn_abi.h"
#include "io/io_request.h"

namespace cupule::hsm {

/// The client's page of 16 request slots as the hypervisor sees it. What stands in it is the
/// client's to spoil at any time: it is written, and of it only the answer is read, once.
class ClientPage {
  public:
    virtual ~ClientPage() = default;
    /// Writes a slot, its state last.
    virtual void publish(unsigned vcpu, const acrn_io_request& request) = 0;
    virtual void set_state(unsigned vcpu, std::uint32_t state) = 0;
    virtual std::uint32_t state(unsigned vcpu) const = 0;
    /// The slot's answer: 64 bits of which a port or configuration access uses 32.
    virtual std::uint64_t answer(unsigned vcpu) const = 0;
};

/// The page at `address` of `process`, mapped here where its memory is shared and cannot shrink, or
/// else copied slot by slot (acrn-dm's page is ordinary memory, which no other process can map).
/// EFAULT where there is no writable page.
base::Result<std::unique_ptr<ClientPage>> open_client_page(
    const std::shared_ptr<const ClientProcess>& process, std::uint64_t address);

/// The requests of one VM on their way to the default client and back: FREE, PENDING (no client
/// yet), PROCESSING, COMPLETE, FREE. The state that counts is kept here; the page only shows it.
class RequestSlots {
  public:
    /// Hears how a wait has ended: 0 or a negative errno.
    using AttachDone = std::move_only_function<void(int result)>;

    /// `polling`: vCPUs watch for COMPLETE in the page, nobody need tell them.
    RequestSlots(std::unique_ptr<ClientPage> page, unsigned vcpus, bool polling);

    // The vCPUs' side.

    /// Hands the request to the default client and waits for its answer, however long that takes.
    /// Ones, at once, while abandoned. Any thread.
    void handle(io::IoRequest& request) CUPULE_EXCLUDES(mutex_);
    /// Until `resume` nobody waits in `handle` any more. The slots stay as they are.
    void abandon() CUPULE_EXCLUDES(mutex_);
    void resume() CUPULE_EXCLUDES(mutex_);
    /// All slots FREE, for a VM that is reset. Abandoned.
    void free_all() CUPULE_EXCLUDES(mutex_);

    // The client's side; results are 0 or a negative errno. Any thread.

    int create_client() CUPULE_EXCLUDES(mutex_);
    int destroy_client() CUPULE_EXCLUDES(mutex_);
    /// `done` is called once, from any thread: with 0 when there is a request or `interrupt(id)` is
    /// called, with ENODEV when there is no client or no longer one. `id` is the caller's.
    void attach(std::uint64_t id, AttachDone done) CUPULE_EXCLUDES(mutex_);
    void interrupt(std::uint64_t id) CUPULE_EXCLUDES(mutex_);
    int notify(std::uint32_t vcpu) CUPULE_EXCLUDES(mutex_);
    /// Completes everything the client has.
    void clear() CUPULE_EXCLUDES(mutex_);

  private:
    struct Slot {
        io::IoState state = io::IoState::free;
        std::uint64_t answer = 0;
        /// Answers found in the page before the client's NOTIFY, which is still to come: it says
        /// nothing of the request that is there by then.
        std::uint32_t notifies_owed = 0;
        event::Condition changed;
    };
    struct Waiter {
        std::uint64_t id = 0;
        AttachDone done;
    };
    using Waiters = std::vector<Waiter>;

    void wait_for_answer(unsigned vcpu) CUPULE_REQUIRES(mutex_);
    void complete(unsigned vcpu) CUPULE_REQUIRES(mutex_);
    bool has_request() const CUPULE_REQUIRES(mutex_);
    static void finish(Waiters waiters, int result);

    const std::unique_ptr<ClientPage> page_;
    const unsigned vcpus_;
    const bool polling_;

    /// Guards what follows and the page. A leaf lock.
    event::Mutex mutex_;
    std::array<Slot, hypervisor::acrn::vcpus_max> slots_ CUPULE_GUARDED_BY(mutex_);
    Waiters waiters_ CUPULE_GUARDED_BY(mutex_);
    bool has_client_ CUPULE_GUARDED_BY(mutex_) = false;
    bool abandoned_ CUPULE_GUARDED_BY(mutex_) = true;
};

}  // namespace cupule::hsm
