#pragma once

#include <cstdint>
#include <memory>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "event/event_loop.h"
#include "virtio/device.h"

namespace cupule::virtio {

/// How whoever serves a ring elsewhere (the kernel's vhost, a vhost-user back end) says that it
/// found the ring broken: an eventfd, whose signal becomes a fault of the queue. Lives while that
/// queue runs. With the device's monitor held.
class ErrorBell {
  public:
    /// All of it outlives the bell.
    static base::Result<std::unique_ptr<ErrorBell>> create(std::uint16_t queue,
                                                           DeviceEvents& events,
                                                           event::EventLoop& loop,
                                                           event::Monitor& monitor);
    /// What the other one signals. Stays owned here.
    int fd() const { return bell_.get(); }

  private:
    base::FileDescriptor bell_;
    std::unique_ptr<event::FdWatch> watch_;
};

}  // namespace cupule::virtio
