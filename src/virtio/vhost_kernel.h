#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "memory/guest_memory.h"
#include "virtio/device.h"

namespace cupule::virtio {

/// The kernel's end of a virtio device (vhost, linux/vhost.h): its thread serves the rings, split
/// ones only, without a visit to this process. With the device's monitor held. The kernel checks
/// what the driver writes; a ring it gives up on stays silent.
class VhostKernel {
  public:
    /// Opens `path` (/dev/vhost-net) and shows it the guest's memory, which outlives this. The
    /// error names the path and the module to load.
    static base::Result<std::unique_ptr<VhostKernel>> open(const std::string& path,
                                                           const memory::GuestMemory& memory);
    VhostKernel(const VhostKernel&) = delete;
    VhostKernel& operator=(const VhostKernel&) = delete;
    virtual ~VhostKernel() = default;

    /// Feature bits that the kernel has and a driver may be offered.
    std::uint64_t features() const { return features_; }
    /// For the requests of a type of device. Stays owned here.
    int fd() const { return file_.get(); }

    /// DRIVER_OK: what was negotiated, of which the kernel hears its part.
    base::Result<void> set_features(std::uint64_t negotiated);
    /// Describes a ring. The kernel takes it up once the back end is set, by the caller.
    base::Result<void> start_ring(unsigned ring, const RunningQueue& queue);
    /// Ends a ring whose back end is gone. `queue` is then where the kernel left off.
    void stop_ring(unsigned ring, RunningQueue& queue);

  private:
    VhostKernel(base::FileDescriptor file, const memory::GuestMemory& memory)
        : file_(std::move(file)), memory_(memory) {}
    base::Result<void> set_up();
    void* host_address(memory::GuestAddress address, std::uint64_t bytes) const;

    base::FileDescriptor file_;
    const memory::GuestMemory& memory_;
    std::uint64_t features_ = 0;
    std::uint64_t negotiated_ = 0;
};

}  // namespace cupule::virtio
