#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/error.h"
#include "event/mutex.h"
#include "event/thread_pool.h"
#include "memory/guest_memory.h"
#include "passthrough/dma_domain.h"

namespace cupule::passthrough {

/// All RAM of a guest in the domain of its devices. The host clears and pins every page for that,
/// which a thread does while the machine is made and the guest already runs; a device that wants to
/// master the bus waits for it.
class DomainMapping {
  public:
    /// Nothing is mapped yet. Both outlive this.
    DomainMapping(DmaDomain& domain, const memory::GuestMemory& memory)
        : domain_(domain), memory_(memory) {}
    /// As `end`.
    ~DomainMapping();
    DomainMapping(const DomainMapping&) = delete;
    DomainMapping& operator=(const DomainMapping&) = delete;

    /// Begins to map; nothing happens where that was begun or is done. From now on until `end` the
    /// pages of RAM are kept: those that the host has pinned are what the guest has. While nobody
    /// discards RAM. Control thread.
    void begin() CUPULE_EXCLUDES(mutex_);
    /// Why mapping has failed, as far as is known by now; does not wait. Any thread.
    base::Result<void> check() CUPULE_EXCLUDES(mutex_);
    /// Waits until all RAM is in the domain: then a device may reach it. An error: it never will.
    /// Any thread, also with a monitor held: mapping takes none.
    base::Result<void> wait() CUPULE_EXCLUDES(mutex_);
    /// Takes RAM out of the domain. What is still to be mapped is left, but for the piece that is
    /// under way. Nobody waits, and no device masters the bus. Control thread.
    base::Result<void> end() CUPULE_EXCLUDES(mutex_);

  private:
    enum class Phase : std::uint8_t { unmapped, mapping, mapped, failed };

    DmaDomain& domain_;
    const memory::GuestMemory& memory_;
    memory::GuestMemory::KeptPages pages_;
    std::atomic<bool> stopping_ = false;
    /// Guards how far it is. A leaf lock.
    event::Mutex mutex_;
    event::Condition changed_;
    Phase phase_ CUPULE_GUARDED_BY(mutex_) = Phase::unmapped;
    std::optional<base::Error> failure_ CUPULE_GUARDED_BY(mutex_);
    /// Ends first: it uses all the others.
    std::unique_ptr<event::ThreadPool> thread_;
};

}  // namespace cupule::passthrough
