#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "snapshot/device.h"
#include "virtio/chain_builder.h"
#include "virtio/device_state.h"
#include "virtio/queue.h"
#include "virtio/queue_meter.h"

namespace cupule::virtio {

/// What a device is, whatever bus it sits on.
struct DeviceId {
    const char* name = "";        // "virtio-blk": for logs
    std::uint16_t type = 0;       // Virtio 1.3, section 5
    std::uint32_t pci_class = 0;  // 24 bits: class, subclass, programming interface
};

/// A queue with its two bells. The descriptors stay the transport's, open until the queue is back.
struct RunningQueue {
    std::uint16_t index = 0;
    Queue queue;
    /// An eventfd that becomes readable when the driver notifies.
    int kick_fd = -1;
    /// An eventfd whose signal interrupts the driver for this queue.
    int call_fd = -1;

    /// Shows the driver what was pushed and interrupts it if it wants that; whether it did.
    bool publish() {
        if (!queue.publish()) {
            return false;
        }
        base::signal_eventfd(call_fd);
        return true;
    }
};

/// The way up from a running device. Any thread; returns at once (the transport posts).
class DeviceEvents {
  public:
    virtual ~DeviceEvents() = default;
    /// The configuration area changed: a new generation and an interrupt (2.5).
    virtual void config_changed() = 0;
    /// A queue is broken. The transport logs it once and sets DEVICE_NEEDS_RESET.
    virtual void queue_broken(std::uint16_t index, QueueFault fault) = 0;
};

/// A virtio device of any type, free of transport: PCI, vhost-user and others drive it through this
/// and own everything that has a register. All calls with the device's monitor held.
///
/// Life: (negotiate) - activate - [stop_queue - start_queue]* - deactivate - reset, round and
/// round. While active, each queue belongs to whichever worker the device gave it to; nothing else
/// touches it.
class Device : public snapshot::Device {
  public:
    virtual DeviceId id() const = 0;
    /// Feature bits of the device type and of the rings it can serve (feature::ring_engine).
    virtual std::uint64_t features() const = 0;
    virtual std::span<const FeatureDependency> feature_dependencies() const { return {}; }
    /// One entry a queue, in the order of their indices; the number never changes.
    virtual std::span<const QueueLimits> queues() const = 0;

    /// The device-specific configuration area: `size` bytes (1, 2, 4, 8) little-endian at `offset`;
    /// zeros past its end (4.1.4.6), where writes are dropped.
    virtual std::uint64_t read_config(std::uint64_t offset, unsigned size) = 0;
    virtual void write_config(std::uint64_t offset, unsigned size, std::uint64_t value) = 0;

    /// DRIVER_OK: takes the enabled queues, which may be fewer than `queues`. `events` stays valid
    /// until `deactivate` returns. On failure (of the host) the device keeps none, and the
    /// transport asks the driver for a reset.
    [[nodiscard]] virtual base::Result<void> activate(std::uint64_t negotiated,
                                                      std::vector<RunningQueue> queues,
                                                      DeviceEvents& events) = 0;
    /// Stops: workers have let go, host I/O under way has ended or can no longer touch guest
    /// memory, and all queues come back. The one path for reset, pause, snapshot and removal;
    /// bounded in time. `activate` may follow with the same queues and features (the driver
    /// switched bus mastering off and on), so what can be finished is finished and handed back
    /// first; chains that cannot are abandoned.
    [[nodiscard]] virtual std::vector<RunningQueue> deactivate() = 0;

    /// What its queues have done so far, for people. Any thread.
    virtual std::vector<QueueReport> report() const { return {}; }

    /// VIRTIO_F_RING_RESET (2.6.1): the same for one queue while the others run. Empty when the
    /// queue was not running. A queue that cannot start (the host failed) is not kept; the
    /// transport says why.
    [[nodiscard]] virtual std::optional<RunningQueue> stop_queue(std::uint16_t index) = 0;
    [[nodiscard]] virtual base::Result<void> start_queue(RunningQueue queue) = 0;
};

}  // namespace cupule::virtio
