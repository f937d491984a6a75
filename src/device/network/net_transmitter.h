#pragma once

#include <array>
#include <cstddef>
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
    /// Sends what was taken, up to the first frame that the port has no room for. How many.
    std::size_t send_taken();
    backend::NetPort::Sent send(const virtio::Chain& chain);
    /// A legacy driver's header, with zeroes for what it lacks; false when the frame is shorter.
    bool read_short_header(virtio::ChainReader& reader, backend::NetHeader& header) const;
    /// Whether the header asks for what was negotiated and fits its frame.
    bool acceptable(const backend::NetHeader& header, std::uint64_t frame_bytes) const;

    event::Worker& worker_;
    backend::NetPort& port_;
    const std::uint64_t poll_ns_max_;
    std::unique_ptr<virtio::WorkerQueue> queue_;
    virtio::QueueMeter meter_;
    backend::NetOffloads offloads_;
    std::size_t header_bytes_ = sizeof(backend::NetHeader);
    /// Frames taken at once, of which those from `next_` to `end_` are not sent yet.
    std::array<virtio::Chain, 32> taken_;
    std::size_t next_ = 0;
    std::size_t end_ = 0;
    base::GuestFault bad_frame_{"virtio-net", "a frame too short or too long to send"};
    base::GuestFault bad_header_{"virtio-net", "a header asks for what was not negotiated"};
};

}  // namespace cupule::device
