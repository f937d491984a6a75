#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "backend/net_port.h"
#include "device/network/net_filter.h"
#include "event/worker.h"
#include "virtio/worker_queue.h"

namespace cupule::device {

/// Moves frames from a port into a receive queue. Where the driver gave room for the longest frame,
/// the port writes straight into its buffers; else the frame is looked at first and waits here for
/// buffers. On the worker's thread.
class NetReceiver {
  public:
    struct Rules {
        /// VIRTIO_NET_F_MRG_RXBUF: a frame may take several buffers.
        bool merge = false;
        /// Of the driver's header: sizeof(NetHeader), or less, for a legacy driver's lacks the end.
        std::size_t header_bytes = sizeof(backend::NetHeader);
        /// The longest frame with its NetHeader that the driver expects.
        std::size_t frame_bytes_max = 0;
    };

    NetReceiver(event::Worker& worker, backend::NetPort& port) : worker_(worker), port_(port) {}

    base::Result<void> start(virtio::RunningQueue queue, virtio::DeviceEvents& events,
                             const Rules& rules);
    std::optional<virtio::RunningQueue> stop();
    void set_filter(std::shared_ptr<const NetFilter> filter) { filter_ = std::move(filter); }
    /// Frames or buffers may be there.
    void run();
    /// Any thread.
    virtio::QueueReport report(std::uint16_t index) const { return meter_.report(index); }

  private:
    enum class Step : std::uint8_t { moved, no_frame, no_buffer };
    Step move_frame();
    /// The usual case: no buffer is held, and the next one has room for any frame. Without a value
    /// the buffer is held instead, and nothing was moved.
    std::optional<Step> move_to_next_buffer();
    Step receive_straight(std::span<const iovec> to);
    /// A frame to `waiting_`: false when there is none.
    bool fetch();
    /// Takes buffers until the longest frame fits. False: one came that nothing fits into and was
    /// handed back, which is a step of its own, as a driver may make such buffers without end.
    bool hold_buffers();
    /// False when the buffer was handed back.
    bool hold(virtio::Chain chain);
    /// The held buffers as one list of at least `bytes`; empty when they are too small, or it would
    /// be too long.
    std::span<const iovec> list_buffers(std::size_t bytes);
    bool passes(std::span<const std::uint8_t> frame) const;
    /// Gives back the buffers that hold a frame of `bytes`, as the port counts them.
    void deliver(std::size_t bytes);
    /// What the driver's header lacks of the port's.
    std::size_t cut_bytes() const { return sizeof(backend::NetHeader) - rules_.header_bytes; }
    void give_back_first(std::uint32_t written);
    /// Into the header at the start of a frame's first buffer: how many buffers the frame takes.
    static void write_buffers(const virtio::Chain& chain, std::uint16_t buffers);

    event::Worker& worker_;
    backend::NetPort& port_;
    std::unique_ptr<virtio::WorkerQueue> queue_;
    virtio::QueueMeter meter_;
    Rules rules_;
    std::shared_ptr<const NetFilter> filter_;
    /// Buffers taken and not yet used, in order: at most the queue's size.
    std::deque<virtio::Chain> held_;
    std::uint64_t held_bytes_ = 0;
    std::vector<iovec> list_;
    /// Where the end of a NetHeader goes that the driver's header lacks.
    std::array<std::uint8_t, sizeof(backend::NetHeader)> cut_{};
    /// A frame that has no buffers yet: the first `waiting_bytes_`.
    std::vector<std::uint8_t> waiting_ = std::vector<std::uint8_t>(backend::net_frame_bytes_max);
    std::size_t waiting_bytes_ = 0;
};

}  // namespace cupule::device
