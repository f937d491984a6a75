// Doorbells in, interrupts out.

#include <sys/epoll.h>

#include "virtio/features.h"
#include "virtio/pci_transport.h"

namespace cupule::virtio {

void PciTransport::ring_in(Slot& slot) {
    if (!slot.registers.running()) {
        return;
    }
    update_doorbell(slot);
    update_route(slot);
    // What the driver made available before nobody has been told of.
    base::signal_eventfd(slot.kick.get());
}

void PciTransport::ring_out(Slot& slot) {
    if (slot.doorbell) {
        powers_.wiring->remove_doorbell(*slot.doorbell);
        slot.doorbell.reset();
    }
    if (slot.routed) {
        powers_.wiring->unroute(slot.call.get());
        slot.routed = false;
        slot.call_watch->set_events(EPOLLIN);
    }
    base::drain_eventfd(slot.kick.get());
    base::drain_eventfd(slot.call.get());
    slot.fault = QueueFault::none;
}

void PciTransport::update_doorbell(Slot& slot) {
    if (slot.doorbell) {
        powers_.wiring->remove_doorbell(*slot.doorbell);
        slot.doorbell.reset();
    }
    if (powers_.wiring == nullptr || !active_ || !slot.registers.running()) {
        return;
    }
    const auto doorbell = doorbell_of(slot);
    if (doorbell && powers_.wiring->add_doorbell(*doorbell)) {
        slot.doorbell = doorbell;
    }
}

std::optional<io::Doorbell> PciTransport::doorbell_of(const Slot& slot) const {
    const std::uint64_t index = index_of(slot);
    if (legacy_driver()) {
        if (!legacy_at_) {
            return std::nullopt;
        }
        return io::Doorbell{.kind = io::IoKind::port,
                            .address = *legacy_at_ + pci_layout::legacy::queue_notify,
                            .size = 2,
                            .match = index,
                            .eventfd = slot.kick.get()};
    }
    if (!structures_at_) {
        return std::nullopt;
    }
    const bool with_data = device_state_.negotiated(feature::notification_data);
    const std::uint64_t place = pci_layout::notify_multiplier * index;
    return io::Doorbell{.kind = io::IoKind::mmio,
                        .address = *structures_at_ + pci_layout::notify_offset + place,
                        .size = static_cast<std::uint8_t>(with_data ? 4 : 2),
                        .match = std::nullopt,
                        .eventfd = slot.kick.get()};
}

void PciTransport::update_route(Slot& slot) {
    if (powers_.wiring == nullptr) {
        return;
    }
    const bool wanted = active_ && slot.registers.running() && slot.vector < messages_.size() &&
                        messages_[slot.vector].has_value();
    if (wanted && powers_.wiring->route(slot.call.get(), *messages_[slot.vector])) {
        if (!slot.routed) {
            slot.call_watch->set_events(0);
        }
        slot.routed = true;
        return;
    }
    if (slot.routed) {
        // A refused route is gone too.
        powers_.wiring->unroute(slot.call.get());
        slot.routed = false;
        slot.call_watch->set_events(EPOLLIN);
    }
}

void PciTransport::bar_moved(unsigned bar, std::optional<std::uint64_t> address) {
    (bar == pci_layout::legacy_bar ? legacy_at_ : structures_at_) = address;
    for (const auto& slot : slots_) {
        update_doorbell(*slot);
    }
}

void PciTransport::vector_changed(unsigned vector, std::optional<irq::MsiMessage> message) {
    messages_[vector] = message;
    for (const auto& slot : slots_) {
        if (slot->vector == vector) {
            update_route(*slot);
        }
    }
}

void PciTransport::interrupt_queue(Slot& slot) {
    if (!active_) {
        return;  // the signal of a queue that has been reset since
    }
    if (msix_enabled()) {
        msix_->notify(slot.vector);  // none: nothing is sent (4.1.5.1.2)
        return;
    }
    state_.isr = pci_layout::isr_queue.set(state_.isr);
    interrupt_by_isr();
}

void PciTransport::interrupt_config() {
    if (msix_enabled()) {
        msix_->notify(state_.config_vector);
        return;
    }
    state_.isr = pci_layout::isr_config.set(state_.isr);
    interrupt_by_isr();
}

void PciTransport::interrupt_by_isr() {
    if (msi_) {
        msi_->notify(0);
    }
    update_intx();
}

void PciTransport::hear_news() {
    base::drain_eventfd(news_.get());
    if (!active_) {
        return;
    }
    for (std::size_t index = 0; index < slots_.size(); ++index) {
        const QueueFault fault = slots_[index]->fault.exchange(QueueFault::none);
        if (fault != QueueFault::none) {
            report_fault(index, fault);
        }
    }
    if (config_news_.exchange(false)) {
        ++state_.generation;
        interrupt_config();
    }
}

void PciTransport::config_changed() {
    config_news_ = true;
    base::signal_eventfd(news_.get());
}

void PciTransport::queue_broken(std::uint16_t index, QueueFault fault) {
    slots_[index]->fault = fault;
    base::signal_eventfd(news_.get());
}

}  // namespace cupule::virtio
