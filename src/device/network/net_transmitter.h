#pragma once

#include <memory>
#include <optional>

#include "backend/net_port.h"
#include "base/log.h"
#include "event/worker.h"
#include "virtio/worker_queue.h"

namespace cupule::device {

/// Moves frames from a transmit queue into a port, straight from the driver's buffers. On the
/// worker's thread.
class NetTransmitter {
  public:
    static constexpr std::size_t segments_max = 128;

    /// `poll_ns_max`: the longest look for frames before sleeping, in nanoseconds; 0: none.
    NetTransmitter(event::Worker& worker, backend::NetPort& port, std::uint64_t poll_ns_max)
        : worker_(worker), port_(port), poll_ns_max_(poll_ns_max) {}

    /// `offloads`: what the driver negotiated to leave to us; `header_bytes` as NetReceiver::Rules.
    base::Result<void> start(virtio::RunningQueue queue, virtio::DeviceEvents& events,
                             const backend::NetOffloads& offloads, std::size_t header_bytes);
    std::optional<virtio::RunningQueue> stop();
    /// Frames, or room in the port, may be there.
    void run();
    /// Any thread.
    virtio::QueueReport report(std::uint16_t index) const { return meter_.report(index); }

  private:
    backend::NetPort::Sent send(const virtio::Chain& chain);
    /// Whether the header asks for what was negotiated and fits its frame.
    bool acceptable(const backend::NetHeader& header, std::uint64_t frame_bytes) const;

    event::Worker& worker_;
    backend::NetPort& port_;
    const std::uint64_t poll_ns_max_;
    std::unique_ptr<virtio::WorkerQueue> queue_;
    virtio::QueueMeter meter_;
    backend::NetOffloads offloads_;
    std::size_t header_bytes_ = sizeof(backend::NetHeader);
    /// The frame that the port had no room for.
    virtio::Chain stuck_;
    base::GuestFault bad_frame_{"virtio-net", "a frame too short or too long to send"};
    base::GuestFault bad_header_{"virtio-net", "a header asks for what was not negotiated"};
};

}  // namespace cupule::device
