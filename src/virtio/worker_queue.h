#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/error.h"
#include "event/poll_window.h"
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
    /// `poll_ns_max`: the longest that `rest` looks for work before it sleeps.
    static base::Result<std::unique_ptr<WorkerQueue>> create(
        event::Worker& worker, RunningQueue queue, DeviceEvents& events, event::Callback kicked,
        QueueMeter* meter = nullptr, std::uint64_t poll_ns_max = 0);

    Queue& queue() { return running_.queue; }
    /// Shows the driver what was pushed; tells the transport, once, when the queue is broken.
    void publish();
    /// Calls `kicked` again once the loop had its turn: there is more to do.
    void again() {
        looking_ = true;
        poller_->start();
    }
    /// The ring has been emptied, and `found`: there was something in it. Looks on while that has
    /// paid lately; then asks the driver to notify.
    void rest(bool found);
    /// Ends it. Chains the owner still has are its to abandon, before.
    RunningQueue take();

  private:
    WorkerQueue(event::Worker& worker, RunningQueue queue, DeviceEvents& events,
                event::Callback kicked, QueueMeter* meter, std::uint64_t poll_ns_max)
        : worker_(worker),
          running_(std::move(queue)),
          events_(events),
          kicked_(std::move(kicked)),
          clock_(worker.loop().clock()),
          meter_(meter),
          window_(poll_ns_max) {}
    void ready();
    bool look();

    event::Worker& worker_;
    RunningQueue running_;
    DeviceEvents& events_;
    event::Callback kicked_;
    const event::Clock& clock_;
    std::unique_ptr<event::FdWatch> watch_;
    std::unique_ptr<event::Poller> poller_;
    QueueMeter* meter_;
    event::PollWindow window_;
    std::uint64_t found_last_ns_ = 0;
    /// 0: awake.
    std::uint64_t asleep_since_ns_ = 0;
    bool looking_ = false;
    bool broken_told_ = false;
};

}  // namespace cupule::virtio
