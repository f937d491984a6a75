#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "event/event_loop.h"
#include "memory/guest_memory.h"
#include "virtio/device.h"
#include "virtio/error_bell.h"

namespace cupule::virtio {

/// What the kernel's end works with; all of it outlives that.
struct VhostPowers {
    const memory::GuestMemory& memory;
    /// Where its complaints are heard.
    event::EventLoop& loop;
    /// The device's.
    event::Monitor& monitor;
};

/// The kernel's end of a virtio device (vhost, linux/vhost.h): its thread serves the rings, split
/// ones only, without a visit to this process. With the device's monitor held. The kernel checks
/// what the driver writes; what it finds wrong is a fault of the queue.
class VhostKernel {
  public:
    /// Opens `path` (/dev/vhost-net) and shows it the guest's memory. The error names the path and
    /// the module to load.
    static base::Result<std::unique_ptr<VhostKernel>> open(const std::string& path,
                                                           const VhostPowers& powers);
    VhostKernel(const VhostKernel&) = delete;
    VhostKernel& operator=(const VhostKernel&) = delete;
    virtual ~VhostKernel() = default;

    /// Feature bits that the kernel has and a driver may be offered.
    std::uint64_t features() const { return features_; }
    /// For the requests of a type of device. Stays owned here.
    int fd() const { return file_.get(); }

    /// DRIVER_OK: what was negotiated, of which the kernel hears its part.
    base::Result<void> set_features(std::uint64_t negotiated);
    /// Describes a ring. The kernel takes it up once the back end is set, by the caller. `events`
    /// hears of errors until the ring is stopped.
    base::Result<void> start_ring(unsigned ring, const RunningQueue& queue, DeviceEvents& events);
    /// Ends a ring whose back end is gone. `queue` is then where the kernel left off.
    void stop_ring(unsigned ring, RunningQueue& queue);

  private:
    VhostKernel(base::FileDescriptor file, const VhostPowers& powers)
        : file_(std::move(file)), powers_(powers) {}
    base::Result<void> set_up();
    void* host_address(memory::GuestAddress address, std::uint64_t bytes) const;

    base::FileDescriptor file_;
    const VhostPowers powers_;
    /// Of the rings that run.
    std::map<unsigned, std::unique_ptr<ErrorBell>> error_bells_;
    std::uint64_t features_ = 0;
    std::uint64_t negotiated_ = 0;
};

}  // namespace cupule::virtio
