#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "backend/net_port.h"
#include "device/network/net_receiver.h"
#include "device/network/net_transmitter.h"
#include "event/worker.h"

namespace cupule::device {

/// What a pair runs with from DRIVER_OK to reset.
struct NetPairRules {
    NetReceiver::Rules receive{};
    /// Work the guest leaves to us.
    backend::NetOffloads transmit_offloads{};
};

/// A receive and a transmit queue between a driver and a port, on one worker. Calls belong to the
/// device's monitor unless they say otherwise.
class NetPair : private backend::NetPortEvents {
  public:
    /// All outlive the pair. `poll_ns_max` as NetTransmitter; `link_up` is written on the worker.
    NetPair(event::Worker& worker, backend::NetPort& port, std::uint64_t poll_ns_max,
            std::atomic<bool>& link_up);
    ~NetPair() override;

    /// Before the first queue starts and after the last one stopped.
    void open(const NetPairRules& rules, virtio::DeviceEvents& events);
    void close();
    base::Result<void> start_receive(virtio::RunningQueue queue);
    base::Result<void> start_transmit(virtio::RunningQueue queue);
    std::optional<virtio::RunningQueue> stop_receive();
    std::optional<virtio::RunningQueue> stop_transmit();

    // Any thread; in effect once the worker came to it, in the order of the calls.
    void set_filter(const NetFilter& filter);
    void set_attached(bool attached);
    void set_receive_offloads(const backend::NetOffloads& offloads);
    /// To the first pair, for all of them; nullptr: as the back end likes.
    void set_steering(std::shared_ptr<const backend::ReceiveSteering> rules);
    /// The same at once, on the worker: false when the back end refuses.
    bool steer(const backend::ReceiveSteering* rules) { return port_.steer(rules); }

    /// What its queues, receiving and transmitting, have done. Any thread.
    virtio::QueueReport receive_report(std::uint16_t index) const {
        return receiver_.report(index);
    }
    virtio::QueueReport transmit_report(std::uint16_t index) const {
        return transmitter_.report(index);
    }

    /// What the port can do; never changes.
    const backend::NetOffloads& offloads() const { return offloads_; }
    bool can_steer() const { return can_steer_; }

  private:
    // On the worker.
    void frames_came() override { receiver_.run(); }
    void room_came() override { transmitter_.run(); }
    void link_changed(bool up) override;
    void post(event::Callback work);

    event::Worker& worker_;
    backend::NetPort& port_;
    std::atomic<bool>& link_up_;
    backend::NetOffloads offloads_;
    bool can_steer_ = false;
    NetPairRules rules_;
    virtio::DeviceEvents* events_ = nullptr;
    NetReceiver receiver_{worker_, port_};
    NetTransmitter transmitter_;
};

}  // namespace cupule::device
