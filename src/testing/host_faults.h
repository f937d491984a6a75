#pragma once

#include <functional>
#include <string>

namespace cupule::testing {

/// Makes calls to the host go wrong. A program linked with `cupule_host_faults` calls the host by
/// way of this (the linker's --wrap), our code and GoogleTest alike; nothing changes until a plan
/// is started. What a call can do wrong is what Linux does: EMFILE for open; EIO, EINTR and half
/// the bytes for read; the table is in host_faults.cc. Calls on eventfds never fail. Of io_uring
/// the set-up, each submission and the end of each request count as calls.
struct FaultPlan {
    /// Which call goes wrong, counted from 1 over the calls of all threads; 0: none.
    unsigned number = 0;
    /// In which of its ways.
    unsigned way = 0;
    /// Every later call of the same name goes wrong too. Not for what passes, like EINTR.
    bool lasting = false;
};

struct FaultRecord {
    /// How many calls there were that could have gone wrong.
    unsigned calls = 0;
    /// Whether one did; its name, how it went, and how many ways it has.
    bool fired = false;
    std::string call{};
    std::string way{};
    unsigned ways = 0;
    bool may_last = false;
};

/// One plan at a time, for all threads.
void start_host_faults(const FaultPlan& plan);
/// The host is well again; what happened until then. May be called when nothing was started.
FaultRecord stop_host_faults();

/// While it lives, the host is well to the calling thread: for what a test does itself. One at a
/// time.
class WellHost {
  public:
    WellHost();
    ~WellHost();
    WellHost(const WellHost&) = delete;
    WellHost& operator=(const WellHost&) = delete;
};

/// What ioctl does in the place of the kernel, where the host has no such device: returns as ioctl
/// does. Empty: the kernel answers. Between two runs.
void answer_ioctls(std::function<int(unsigned long request, void* argument)> answer);

/// Runs `scenario` for each call that it makes between `start_host_faults` with the plan it is
/// given and its return, and for each way that call can go wrong, passing and lasting; ends when
/// no call is left. A failed expectation is reported with the call's name, a descriptor that a
/// scenario leaves open is a failure, and so is one that makes over `calls_max` calls. Returns how
/// many runs met their fault.
unsigned walk_host_faults(unsigned calls_max,
                          const std::function<void(const FaultPlan&)>& scenario);

/// Open file descriptors of this process.
unsigned open_descriptors();

}  // namespace cupule::testing
