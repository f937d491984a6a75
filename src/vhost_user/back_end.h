#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/log.h"
#include "event/event_loop.h"
#include "event/mutex.h"
#include "vhost_user/connection.h"
#include "vhost_user/inflight_area.h"
#include "vhost_user/memory_table.h"
#include "virtio/device.h"
#include "virtio/queue_config.h"

namespace cupule::vhost_user {

/// What a back end is made from; all of it outlives the back end.
struct BackEndPowers {
    virtio::Device& device;
    event::EventLoop& loop;
    /// The device's.
    event::Monitor& monitor;
    /// Features of the device that front ends do themselves.
    std::uint64_t hidden_features = 0;
    /// How many of the device's queues a front end may use, from the first one on.
    std::uint16_t queues = 1;
    /// How many of them front ends count as one: two of a network card's, which are a pair.
    std::uint16_t queues_in_one = 1;
    /// Whether front ends ask for the configuration space.
    bool has_config = true;
};

/// The back end of vhost-user for one front end: serves its rings with a virtio device of ours.
///
/// Models: MQ, REPLY_ACK, BACKEND_REQ (news of the configuration), CONFIG, INFLIGHT_SHMFD,
/// RESET_DEVICE, RING_RESET; rings that start, stop and change their descriptors one by one;
/// RAM that is replaced while rings run.
/// Leaves out: migration (dirty log, postcopy), IOMMU, rings without a kick descriptor (polling),
/// in-band notifications, memory slots, STATUS.
///
/// What a front end says is checked before anything is done; what makes no sense ends the
/// connection with one line in the log. Made, used and destroyed with the monitor held; its events
/// come on the loop.
class BackEnd : private virtio::DeviceEvents {
  public:
    /// `ended` is called once, on the loop with the monitor held, when the connection is over; the
    /// owner destroys the back end later, not inside the call.
    static base::Result<std::unique_ptr<BackEnd>> create(const BackEndPowers& powers,
                                                         base::FileDescriptor socket,
                                                         event::Callback ended);
    /// Stops the device and resets it.
    ~BackEnd() override;
    BackEnd(const BackEnd&) = delete;
    BackEnd& operator=(const BackEnd&) = delete;

  private:
    struct Ring {
        std::uint16_t size = 0;
        std::optional<VringAddress> address{};
        virtio::QueuePosition position{};
        base::FileDescriptor kick{};
        /// Always open while the ring runs: its number is what the worker signals, and what it
        /// stands for may be replaced.
        base::FileDescriptor call{};
        base::FileDescriptor error{};
        std::unique_ptr<SplitInflight> log{};
        std::unique_ptr<PackedInflight> packed_log{};
        bool enabled = false;
        bool running = false;
        /// The area's record is no longer that of an earlier process.
        bool recovered = false;
        /// Set by a worker, taken by `hear_news`.
        std::atomic<virtio::QueueFault> fault{virtio::QueueFault::none};
    };

    BackEnd(const BackEndPowers& powers, base::FileDescriptor socket, event::Callback ended);
    base::Result<void> watch();
    void readable();
    void end(const base::Error& error, base::LogLevel level);

    // back_end_requests.cc
    base::Result<void> handle(Message message);
    base::Result<void> answer_if_wanted(const Message& request, bool failed);
    base::Result<void> dispatch(Message& message);
    base::Result<void> dispatch_ring(Message& message);
    base::Result<void> dispatch_ring_file(Message& message);
    template <class T>
    base::Result<void> reply(const Message& request, const T& payload);
    base::Result<void> set_features(std::uint64_t features);
    base::Result<void> set_protocol_features(std::uint64_t features);
    base::Result<void> set_memory(const Message& message);
    base::Result<void> give_config(const Message& message);
    base::Result<void> take_config(const Message& message);
    base::Result<void> give_inflight(const Message& message);
    base::Result<void> take_inflight(Message& message);
    base::Result<void> set_number(Ring& ring, std::uint32_t number);
    base::Result<void> set_position(Ring& ring, std::uint32_t number);
    base::Result<void> set_enabled(Ring& ring, std::uint32_t number);
    base::Result<void> give_position(Ring& ring, const Message& message);
    base::Result<Ring*> ring_at(std::uint64_t index);
    bool negotiated(std::uint64_t protocol) const { return (protocol_features_ & protocol) != 0; }

    // back_end.cc: rings and the device
    base::Result<void> start_if_ready(Ring& ring);
    base::Result<virtio::RunningQueue> make_queue(Ring& ring);
    base::Result<void> keep_log(Ring& ring, virtio::QueueConfig& config,
                                std::vector<std::uint16_t>& again);
    std::vector<virtio::PackedRing::Descriptors> keep_packed_log(Ring& ring,
                                                                 virtio::QueueConfig& config);
    void stop_ring(Ring& ring);
    void put_back(virtio::RunningQueue queue);
    void stop_device();
    void reset_device();
    base::Result<void> start_rings();
    std::uint16_t index_of(const Ring& ring) const;
    std::uint64_t offered() const;
    std::uint64_t protocol_offered() const;
    bool packed() const;
    void hear_news();
    void tell_config_change();
    // DeviceEvents: any thread.
    void config_changed() override;
    void queue_broken(std::uint16_t index, virtio::QueueFault fault) override;

    const BackEndPowers powers_;
    Connection connection_;
    std::optional<Connection> back_channel_;
    event::Callback ended_;
    std::unique_ptr<event::FdWatch> watch_;
    base::FileDescriptor news_;
    std::unique_ptr<event::FdWatch> news_watch_;
    std::atomic<bool> config_news_{false};

    std::uint64_t features_ = 0;
    std::uint64_t protocol_features_ = 0;
    bool features_set_ = false;
    /// The device has been activated with what is negotiated.
    bool active_ = false;
    std::unique_ptr<MemoryTable> table_;
    std::unique_ptr<InflightArea> inflight_;
    std::vector<std::unique_ptr<Ring>> rings_;
    base::GuestFault broken_ring_;
};

}  // namespace cupule::vhost_user
