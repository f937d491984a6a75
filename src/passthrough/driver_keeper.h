#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "passthrough/driver_binding.h"
#include "passthrough/host_topology.h"

namespace cupule::passthrough {

/// Gives functions back to their drivers when this process ends, however it ends: a helper process
/// reads their names from a pipe, and when the pipe ends does what `keep_drivers` says. Control
/// thread.
class DriverKeeper {
  public:
    /// `command`: the helper's program, absolute, and its arguments.
    static base::Result<std::unique_ptr<DriverKeeper>> start(
        const std::vector<std::string>& command);
    /// Waits, up to 10 s, until all are given back. The devices are closed before.
    ~DriverKeeper();
    DriverKeeper(const DriverKeeper&) = delete;
    DriverKeeper& operator=(const DriverKeeper&) = delete;

    base::Result<void> add(const HostAddress& address);

  private:
    DriverKeeper(base::FileDescriptor pipe, pid_t helper)
        : pipe_(std::move(pipe)), helper_(helper) {}

    base::FileDescriptor pipe_;
    const pid_t helper_;
};

/// The helper's work: reads addresses, one a line, from `fd` until its end, then gives back those
/// that vfio-pci still has. What could not be given back; empty: nothing.
std::vector<base::Error> keep_drivers(int fd, const DriverBinding& binding,
                                      const std::string& root = {});

}  // namespace cupule::passthrough
