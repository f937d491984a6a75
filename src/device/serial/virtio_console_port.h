#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "backend/byte_channel.h"
#include "event/worker.h"
#include "virtio/worker_queue.h"

namespace cupule::device {

/// One port of a virtio console: two queues and a channel. On the worker's thread.
class VirtioConsolePort : private backend::ByteChannelEvents {
  public:
    /// Hears when the host's side comes or goes.
    class Listener {
      public:
        virtual ~Listener() = default;
        virtual void host_side_changed(VirtioConsolePort& port) = 0;
    };

    VirtioConsolePort(event::Worker& worker, backend::ByteChannel& channel, Listener& listener);
    ~VirtioConsolePort() override;

    base::Result<void> start_input(virtio::RunningQueue queue, virtio::DeviceEvents& events);
    base::Result<void> start_output(virtio::RunningQueue queue, virtio::DeviceEvents& events);
    std::optional<virtio::RunningQueue> stop_input();
    std::optional<virtio::RunningQueue> stop_output();
    /// Whether a program of the guest has the port open: only then input is read.
    void set_guest_open(bool open);
    bool host_open() const { return channel_.connected(); }
    /// What its queues have done. Any thread.
    virtio::QueueReport input_report(std::uint16_t index) const {
        return input_meter_.report(index);
    }
    virtio::QueueReport output_report(std::uint16_t index) const {
        return output_meter_.report(index);
    }

  private:
    void readable() override { pump_input(); }
    void writable() override { pump_output(); }
    void connection_changed(bool connected) override;
    void pump_input();
    void pump_output();
    /// Gives up to a turn's bytes of the chain to the channel. False: it takes no more now.
    bool send(const virtio::Chain& chain, std::uint64_t& budget);

    event::Worker& worker_;
    backend::ByteChannel& channel_;
    Listener& listener_;
    bool guest_open_ = false;
    virtio::QueueMeter input_meter_;
    virtio::QueueMeter output_meter_;
    std::unique_ptr<virtio::WorkerQueue> input_;
    std::unique_ptr<virtio::WorkerQueue> output_;
    /// An input buffer that nothing has come for.
    virtio::Chain waiting_;
    /// An output request that is under way, and how much of it has gone.
    virtio::Chain sending_;
    std::uint64_t sent_ = 0;
};

}  // namespace cupule::device
