#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/error.h"
#include "event/event_loop.h"
#include "event/worker.h"
#include "virtio/device.h"
#include "virtio/queue_meter.h"

namespace cupule::virtio {

/// What a device does with its requests. Called on the worker's thread.
class RequestHandler {
  public:
    virtual ~RequestHandler() = default;
    /// Serves a request wholly; returns how many bytes of its writable half it wrote, from the
    /// start. May wait for the host, never for a monitor.
    virtual std::uint32_t serve(const Chain& chain) = 0;
    /// Nanoseconds until the next request may be taken; 0: now. Asked before each one.
    virtual std::uint64_t delay_ns() { return 0; }
};

/// Runs one queue on a worker: takes requests one after another, hands them back in batches, sleeps
/// in between. The queue lives on the worker from `start` to `stop`; nothing else touches it.
/// `start` and `stop` belong to the device's monitor, which the worker never takes.
class QueueServer {
  public:
    /// All outlive this.
    QueueServer(event::Worker& worker, RequestHandler& handler)
        : worker_(worker), handler_(handler) {}
    ~QueueServer();
    QueueServer(const QueueServer&) = delete;
    QueueServer& operator=(const QueueServer&) = delete;

    [[nodiscard]] base::Result<void> start(RunningQueue queue, DeviceEvents& events);
    /// The queue, with no request under way: waits for the one being served. Empty when none ran.
    [[nodiscard]] std::optional<RunningQueue> stop();
    bool running() const { return started_; }
    /// What it has served so far. Any thread.
    QueueReport report(std::uint16_t index) const { return meter_.report(index); }

  private:
    // Only on the worker.
    void kicked();
    void serve_batch();

    event::Worker& worker_;
    RequestHandler& handler_;
    QueueMeter meter_;
    bool started_ = false;
    std::optional<RunningQueue> queue_;
    DeviceEvents* events_ = nullptr;
    std::unique_ptr<event::FdWatch> watch_;
    std::unique_ptr<event::Timer> pause_;
    bool broken_told_ = false;
    bool woke_itself_ = false;
};

}  // namespace cupule::virtio
