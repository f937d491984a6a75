#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "backend/receive_steering.h"
#include "base/error.h"
#include "base/file_descriptor.h"
#include "event/mutex.h"

namespace cupule::backend {

/// The queues of one tap among each other: which of them the kernel gives frames, and by what rule
/// it chooses one. Any thread.
class TapQueues {
  public:
    /// As they were opened, all attached. Tries whether the kernel takes a rule of ours; a single
    /// queue needs none.
    explicit TapQueues(std::vector<base::FileDescriptor> queues);
    /// A tap that stays goes back to the kernel's rule.
    ~TapQueues();
    TapQueues(const TapQueues&) = delete;
    TapQueues& operator=(const TapQueues&) = delete;

    int fd(std::size_t number) const { return queues_[number].get(); }
    bool attached(std::size_t number) const;
    /// Whether it is attached then: the one queue of a tap always is.
    bool set_attached(std::size_t number, bool attached);

    bool can_steer() const { return can_steer_; }
    /// Attaches the queues that the rules name and has frames come in by them; nullptr: by the
    /// kernel's own rule. False when the kernel refuses: then the rule there was holds.
    bool steer(const ReceiveSteering* rules);

    /// The kernel did not take a choice of offloads; said once.
    void offloads_refused(int code);

  private:
    std::optional<std::size_t> place_of(std::size_t number) const CUPULE_REQUIRES(mutex_);
    bool change(std::size_t number, bool attached) CUPULE_REQUIRES(mutex_);
    bool attach(std::size_t number) CUPULE_REQUIRES(mutex_);
    base::Result<void> install(const ReceiveSteering& rules) CUPULE_REQUIRES(mutex_);
    /// -1: none.
    bool set_program(int program) const;

    const std::vector<base::FileDescriptor> queues_;
    bool can_steer_ = false;
    /// Guards what follows, and the kernel's part of it.
    mutable event::Mutex mutex_;
    /// Attached queues as the kernel counts them: one that comes is the last, and the last takes
    /// the place of one that goes (drivers/net/tun.c of Linux).
    std::vector<std::size_t> order_ CUPULE_GUARDED_BY(mutex_);
    std::optional<ReceiveSteering> rules_ CUPULE_GUARDED_BY(mutex_);
    /// Once is enough: guests may ask again and again.
    bool refusal_told_ CUPULE_GUARDED_BY(mutex_) = false;
    bool offloads_told_ CUPULE_GUARDED_BY(mutex_) = false;
};

}  // namespace cupule::backend
