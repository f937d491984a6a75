#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/error.h"
#include "event/worker.h"
#include "virtio/device.h"

namespace cupule::virtio {

/// A queue that lives on a worker and whose chains end when something else happens: a frame comes,
/// a terminal takes bytes. (Requests that end at once: QueueServer.) The owner pops and pushes.
/// All calls on the worker's thread, which also destroys it.
class WorkerQueue {
  public:
    /// `kicked` runs on the worker when the driver notifies, and after `again`. It may be called
    /// without news. `meter`, which outlives this, counts bells and interrupts where it is given.
    static base::Result<std::unique_ptr<WorkerQueue>> create(event::Worker& worker,
                                                             RunningQueue queue,
                                                             DeviceEvents& events,
                                                             event::Callback kicked,
                                                             QueueMeter* meter = nullptr);

    Queue& queue() { return running_.queue; }
    /// Shows the driver what was pushed; tells the transport, once, when the queue is broken.
    void publish();
    /// Calls `kicked` again once the loop had its turn: there is more to do.
    void again() {
        own_kick_ = true;
        base::signal_eventfd(running_.kick_fd);
    }
    /// Ends it. Chains the owner still has are its to abandon, before.
    RunningQueue take();

  private:
    WorkerQueue(RunningQueue queue, DeviceEvents& events, event::Callback kicked, QueueMeter* meter)
        : running_(std::move(queue)), events_(events), kicked_(std::move(kicked)), meter_(meter) {}
    void ready();

    RunningQueue running_;
    DeviceEvents& events_;
    event::Callback kicked_;
    std::unique_ptr<event::FdWatch> watch_;
    QueueMeter* meter_;
    bool own_kick_ = false;
    bool broken_told_ = false;
};

}  // namespace cupule::virtio
