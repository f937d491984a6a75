#pragma once

#include "io/doorbell.h"
#include "irq/interrupt.h"

namespace cupule::virtio {

/// What a hypervisor can do for a transport without visiting the device model: doorbells that
/// signal an eventfd, and eventfds that send a message. Each may be refused; the transport then
/// does it itself. The machine adapts its hypervisor to this. Called with the device's monitor
/// held.
class EventWiring {
  public:
    virtual ~EventWiring() = default;
    /// False when refused. The address is a guest's choice and may lie anywhere.
    [[nodiscard]] virtual bool add_doorbell(const io::Doorbell& doorbell) = 0;
    /// Exactly what was added.
    virtual void remove_doorbell(const io::Doorbell& doorbell) = 0;
    /// Each signal of `eventfd`, one that is pending included, sends `message` from now on; a
    /// second call replaces the message. False when refused: then nothing is routed.
    [[nodiscard]] virtual bool route(int eventfd, const irq::MsiMessage& message) = 0;
    /// Signals collect in the eventfd again.
    virtual void unroute(int eventfd) = 0;
};

}  // namespace cupule::virtio
