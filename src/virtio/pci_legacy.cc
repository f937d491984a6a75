// The legacy interface in an I/O BAR (Virtio 1.3, 4.1.4.10; rings: 2.7.2).

#include "base/bits.h"
#include "virtio/features.h"
#include "virtio/pci_transport.h"
#include "virtio/ring_layout.h"

namespace cupule::virtio {

using namespace pci_layout;

std::uint64_t PciTransport::legacy_device_offset() const {
    return msix_enabled() ? legacy::device_with_msix : legacy::device;
}

std::uint64_t PciTransport::read_legacy(std::uint64_t offset, unsigned size) {
    if (offset >= legacy_device_offset()) {
        return read_device(offset - legacy_device_offset(), size);
    }
    return legacy_register(offset) & base::ones(size);
}

std::uint64_t PciTransport::legacy_register(std::uint64_t offset) {
    const Slot* const slot = selected();
    switch (offset) {
        case legacy::device_features:
            return device_state_.device_feature_word(0);
        case legacy::driver_features:
            return device_state_.driver_features() & 0xFFFF'FFFF;
        case legacy::queue_address:
            return slot != nullptr && slot->registers.enabled()
                       ? slot->registers.area(QueueArea::descriptors).value / legacy::page
                       : 0;
        case legacy::queue_size:
            return slot != nullptr ? slot->registers.size() : 0;
        case legacy::queue_select:
            return state_.queue_select;
        case legacy::device_status:
            return device_state_.status();
        case legacy::isr_status:
            return read_isr(0, 1);
        case legacy::config_msix_vector:
            return state_.config_vector;
        case legacy::queue_msix_vector:
            return slot != nullptr ? slot->vector : no_vector;
        default:
            return 0;
    }
}

void PciTransport::write_legacy(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (offset >= legacy_device_offset()) {
        return write_device(offset - legacy_device_offset(), size, value);
    }
    Slot* const slot = selected();
    switch (offset) {
        case legacy::driver_features:
            return device_state_.set_driver_feature_word(0, static_cast<std::uint32_t>(value));
        case legacy::queue_address:
            return write_legacy_queue(value);
        case legacy::queue_select:
            state_.queue_select = static_cast<std::uint16_t>(value);
            return;
        case legacy::queue_notify:
            return write_notify(value * notify_multiplier, size, value);
        case legacy::device_status:
            return write_status(static_cast<std::uint8_t>(value));
        case legacy::config_msix_vector:
            state_.config_vector = checked_vector(value);
            return;
        case legacy::queue_msix_vector:
            if (slot != nullptr) {
                slot->vector = checked_vector(value);
                update_route(*slot);
            }
            return;
        default:
            return;  // read-only
    }
}

/// The three parts of the ring follow each other from the page on; 0 takes the queue back.
void PciTransport::write_legacy_queue(std::uint64_t page_number) {
    Slot* const slot = selected();
    if (slot == nullptr || !legacy_driver()) {
        bad_queue_write_.report(page_number);
        return;
    }
    take_back(*slot);
    if (page_number == 0) {
        return;
    }
    const std::uint16_t size = slot->registers.size();
    const std::uint64_t descriptors = page_number * legacy::page;
    const std::uint64_t driver = descriptors + std::uint64_t{size} * descriptor_size;
    const std::uint64_t device = base::align_up(driver + available_ring::bytes(size), legacy::page);
    QueueRegisters& registers = slot->registers;
    static_cast<void>(registers.set_area(QueueArea::descriptors, {descriptors}));
    static_cast<void>(registers.set_area(QueueArea::driver, {driver}));
    static_cast<void>(registers.set_area(QueueArea::device, {device}));
    static_cast<void>(registers.enable());
    if (device_state_.running() && active_) {
        enable_late(*slot);
    }
}

}  // namespace cupule::virtio
