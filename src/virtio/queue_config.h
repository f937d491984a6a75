#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <variant>

#include "memory/guest_memory.h"
#include "virtio/chain_builder.h"
#include "virtio/queue.h"

namespace cupule::virtio {

enum class QueueArea : std::uint8_t { descriptors, driver, device };

/// What a driver writes about a queue before it runs (Virtio 1.3, 4.1.4.3). Consumed when the
/// device starts: what runs then is a Queue, which these setters cannot reach. Belongs to the
/// transport; with its monitor held.
class QueueConfig {
  public:
    explicit QueueConfig(QueueLimits limits)
        : limits_(limits), geometry_{.size = limits.size_max} {}

    const QueueLimits& limits() const { return limits_; }
    std::uint16_t size() const { return geometry_.size; }
    memory::GuestAddress area(QueueArea area) const;
    const QueueGeometry& geometry() const { return geometry_; }
    bool enabled() const { return enabled_; }

    /// Takes a size of 1 up to the offered one. False, and the old size stays, for others and once
    /// enabled. Whether it suits the ring format is known, and checked, at activation.
    [[nodiscard]] bool set_size(std::uint16_t size);
    /// Any address is taken until the queue is enabled; activation checks it.
    [[nodiscard]] bool set_area(QueueArea area, memory::GuestAddress address);
    /// From here on the driver cannot change it; only a reset of queue or device does (2.6.1).
    void enable() { enabled_ = true; }
    /// Where to go on instead of at the start: for restored queues and vhost-user.
    void set_position(QueuePosition position) { position_ = position; }

    /// Checks everything and makes the running queue, or says what is wrong. `features` are those
    /// negotiated. The memory must outlive the queue and all its chains. The three areas must each
    /// lie in one piece of RAM, split rings aligned to 16, 2 and 4 bytes (2.7) and packed ones to
    /// 16, 4 and 4 (2.8). Areas that overlap harm only the guest.
    std::expected<Queue, QueueFault> activate(const memory::GuestMemory& memory,
                                              std::uint64_t features) &&;

  private:
    QueueFault check(const memory::GuestMemory& memory, bool packed, RingAreas& areas) const;

    QueueLimits limits_;
    QueueGeometry geometry_;
    QueuePosition position_;
    bool enabled_ = false;
};

/// One queue as a transport's registers show it, in its two phases: while it is configured writes
/// go to a QueueConfig; while it runs there is nothing to write to, and reads show the geometry it
/// runs with.
class QueueRegisters {
  public:
    explicit QueueRegisters(QueueLimits limits) : phase_(QueueConfig(limits)), limits_(limits) {}

    std::uint16_t size() const { return geometry().size; }
    memory::GuestAddress area(QueueArea which) const;
    bool enabled() const { return running() || std::get<QueueConfig>(phase_).enabled(); }
    bool running() const { return std::holds_alternative<QueueGeometry>(phase_); }
    const QueueGeometry& geometry() const;

    /// As QueueConfig; false while the queue runs.
    [[nodiscard]] bool set_size(std::uint16_t size);
    [[nodiscard]] bool set_area(QueueArea which, memory::GuestAddress address);
    /// False while it runs already.
    [[nodiscard]] bool enable();

    /// Starts an enabled queue that does not run yet. On a fault it stays in its first phase.
    std::expected<Queue, QueueFault> activate(const memory::GuestMemory& memory,
                                              std::uint64_t features, QueuePosition position = {});
    /// Device reset or queue reset: back to what is offered. The Queue must be back and destroyed.
    void reset() { phase_ = QueueConfig(limits_); }

  private:
    std::variant<QueueConfig, QueueGeometry> phase_;
    QueueLimits limits_;
};

}  // namespace cupule::virtio
