#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/net_port.h"
#include "backend/tap_queues.h"
#include "base/error.h"
#include "base/file_descriptor.h"
#include "event/event_loop.h"

namespace cupule::backend {

/// Opens `queues` queues of the tap or macvtap interface `name`, each with NetHeader in front of
/// frames. A tap that does not exist is made (CAP_NET_ADMIN), switched on, and goes with its last
/// descriptor.
base::Result<std::vector<base::FileDescriptor>> open_tap(const std::string& name, unsigned queues);

/// The address that frames of a macvtap interface carry; empty for other interfaces, where a guest
/// may have any.
std::optional<std::array<std::uint8_t, 6>> macvtap_address(const std::string& name);

/// A queue of a tap: what does not move frames. Any thread, one at a time.
class TapQueue {
  public:
    /// Asks the kernel what it can do, and has it leave nothing to the guest yet.
    static base::Result<TapQueue> create(std::shared_ptr<TapQueues> queues, std::size_t number);

    int fd() const { return queues_->fd(number_); }
    /// What the kernel takes and gives, as NetPort has it.
    const NetOffloads& offloads() const { return offloads_; }
    /// Of the header in front of frames, at first sizeof(NetHeader); for all queues of the tap.
    base::Result<void> set_header_bytes(std::size_t bytes);
    /// For all queues of the tap.
    void set_receive_offloads(const NetOffloads& offloads);
    /// Whether it is attached then: the one queue of a tap always is.
    bool set_attached(bool attached) { return queues_->set_attached(number_, attached); }
    bool attached() const { return queues_->attached(number_); }
    /// As NetPort has it.
    bool can_steer() const { return queues_->can_steer(); }
    bool steer(const ReceiveSteering* rules) { return queues_->steer(rules); }

  private:
    TapQueue(std::shared_ptr<TapQueues> queues, std::size_t number)
        : queues_(std::move(queues)), number_(number) {}

    std::shared_ptr<TapQueues> queues_;
    std::size_t number_;
    NetOffloads offloads_{
        .checksum = true, .tso4 = true, .tso6 = true, .tso_ecn = true, .uso = false};
};

/// A queue of a tap as a port. On the thread of `loop`; loop and monitor outlive it.
base::Result<std::unique_ptr<NetPort>> make_tap_port(TapQueue queue, event::EventLoop& loop,
                                                     event::Monitor& monitor);

}  // namespace cupule::backend
