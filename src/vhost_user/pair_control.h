#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/error.h"
#include "event/event_loop.h"
#include "virtio/device.h"

namespace cupule::vhost_user {

/// The control queue of a network card whose other queues a back end has: it takes one command, how
/// many pairs the driver uses (Virtio 1.3, 5.1.6.5.6), and refuses all others. On the loop with the
/// monitor held, as every call.
class PairControl {
  public:
    using SetPairs = std::function<void(std::uint16_t pairs)>;

    /// `set_pairs` hears of 1 to `pairs_max`. All outlives this.
    static base::Result<std::unique_ptr<PairControl>> create(
        virtio::RunningQueue queue, std::uint16_t pairs_max, event::EventLoop& loop,
        event::Monitor& monitor, virtio::DeviceEvents& events, SetPairs set_pairs);
    /// Ends it.
    virtio::RunningQueue take();

  private:
    PairControl(virtio::RunningQueue queue, std::uint16_t pairs_max, virtio::DeviceEvents& events,
                SetPairs set_pairs)
        : running_(std::move(queue)),
          pairs_max_(pairs_max),
          events_(events),
          set_pairs_(std::move(set_pairs)) {}
    void kicked();
    bool execute(const virtio::Chain& chain);

    virtio::RunningQueue running_;
    const std::uint16_t pairs_max_;
    virtio::DeviceEvents& events_;
    SetPairs set_pairs_;
    std::unique_ptr<event::FdWatch> watch_;
    bool broken_told_ = false;
};

}  // namespace cupule::vhost_user
