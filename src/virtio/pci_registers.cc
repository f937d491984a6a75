// The structures in the BAR (Virtio 1.3, 4.1.4.3 to 4.1.4.6).

#include <array>

#include "base/bits.h"
#include "virtio/features.h"
#include "virtio/pci_transport.h"

namespace cupule::virtio {
namespace {

using namespace pci_layout;

struct Register {
    std::uint64_t offset = 0;
    unsigned size = 0;
};

constexpr auto registers = std::to_array<Register>({
    {common::device_feature_select, 4},
    {common::device_feature, 4},
    {common::driver_feature_select, 4},
    {common::driver_feature, 4},
    {common::config_msix_vector, 2},
    {common::num_queues, 2},
    {common::device_status, 1},
    {common::config_generation, 1},
    {common::queue_select, 2},
    {common::queue_size, 2},
    {common::queue_msix_vector, 2},
    {common::queue_enable, 2},
    {common::queue_notify_off, 2},
    {common::queue_desc, 8},
    {common::queue_driver, 8},
    {common::queue_device, 8},
    {common::queue_notif_config_data, 2},
    {common::queue_reset, 2},
    {0x3C, 2},  // admin_queue_index
    {0x3E, 2},  // admin_queue_num
});
static_assert(registers.back().offset + registers.back().size == common::end);

/// The register that holds a byte of the structure; `offset` below common::end.
Register register_at(std::uint64_t offset) {
    std::size_t index = registers.size() - 1;
    while (registers[index].offset > offset) {
        --index;
    }
    return registers[index];
}

}  // namespace

std::uint64_t PciTransport::read_common(std::uint64_t offset, unsigned size) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size && offset + i < common::end; ++i) {
        const Register found = register_at(offset + i);
        const std::uint64_t whole = common_register(found.offset);
        value |= base::read_lane(whole, offset + i - found.offset, 1) << (8 * i);
    }
    return value;
}

std::uint64_t PciTransport::common_register(std::uint64_t offset) const {
    switch (offset) {
        case common::device_feature_select:
            return state_.device_feature_select;
        case common::device_feature:
            return device_state_.device_feature_word(state_.device_feature_select);
        case common::driver_feature_select:
            return state_.driver_feature_select;
        case common::driver_feature:
            return state_.driver_feature_select < 2
                       ? base::read_lane(device_state_.driver_features(),
                                         std::uint64_t{state_.driver_feature_select} * 4, 4)
                       : 0;
        case common::config_msix_vector:
            return state_.config_vector;
        case common::num_queues:
            return slots_.size();
        case common::device_status:
            return device_state_.status();
        case common::config_generation:
            return state_.generation;
        case common::queue_select:
            return state_.queue_select;
        default:
            return queue_register(offset);
    }
}

std::uint64_t PciTransport::queue_register(std::uint64_t offset) const {
    if (state_.queue_select >= slots_.size()) {
        return 0;  // 4.1.4.3.1: a size of zero is how a queue is missing
    }
    const Slot& slot = *slots_[state_.queue_select];
    switch (offset) {
        case common::queue_size:
            return slot.registers.size();
        case common::queue_msix_vector:
            return slot.vector;
        case common::queue_enable:
            return slot.registers.enabled() ? 1 : 0;
        case common::queue_notify_off:
            return state_.queue_select;
        case common::queue_desc:
            return slot.registers.area(QueueArea::descriptors).value;
        case common::queue_driver:
            return slot.registers.area(QueueArea::driver).value;
        case common::queue_device:
            return slot.registers.area(QueueArea::device).value;
        case common::queue_notif_config_data:
            return state_.queue_select;
        default:
            return 0;  // queue_reset: a reset has ended when its write returns (4.1.4.3.1)
    }
}

void PciTransport::write_common(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (offset >= common::end) {
        return;
    }
    const Register target = register_at(offset);
    const bool half = target.size == 8 && size == 4 && base::is_aligned(offset, 4);
    if (!half && (offset != target.offset || size != target.size)) {
        bad_width_.report(offset);  // 4.1.3.1: the driver uses the width of the field
        return;
    }
    const auto word = static_cast<std::uint32_t>(value);
    switch (target.offset) {
        case common::device_feature_select:
            state_.device_feature_select = word;
            break;
        case common::driver_feature_select:
            state_.driver_feature_select = word;
            break;
        case common::driver_feature:
            device_state_.set_driver_feature_word(state_.driver_feature_select, word);
            break;
        case common::config_msix_vector:
            state_.config_vector = checked_vector(value);
            break;
        case common::device_status:
            write_status(static_cast<std::uint8_t>(value));
            break;
        case common::queue_select:
            state_.queue_select = static_cast<std::uint16_t>(value);
            break;
        case common::queue_desc:
        case common::queue_driver:
        case common::queue_device:
            if (Slot* slot = selected()) {
                write_area(*slot, offset, size, value);
            }
            break;
        default:
            if (Slot* slot = selected()) {
                write_queue_register(*slot, offset, value);
            }
            break;
    }
}

void PciTransport::write_queue_register(Slot& slot, std::uint64_t offset, std::uint64_t value) {
    switch (offset) {
        case common::queue_size:
            if (!slot.registers.set_size(static_cast<std::uint16_t>(value))) {
                bad_queue_write_.report(value);
            }
            break;
        case common::queue_msix_vector:
            slot.vector = checked_vector(value);
            update_route(slot);
            break;
        case common::queue_enable:
            if (value == 1) {
                enable_queue(slot);
            } else {
                bad_queue_write_.report(value);  // 4.1.4.3.2: a driver never writes 0
            }
            break;
        case common::queue_reset:
            if (value == 1) {
                reset_queue(slot);
            }
            break;
        default:
            break;  // read-only
    }
}

void PciTransport::write_area(Slot& slot, std::uint64_t offset, unsigned size,
                              std::uint64_t value) {
    const std::uint64_t start = register_at(offset).offset;
    const QueueArea area = start == common::queue_desc     ? QueueArea::descriptors
                           : start == common::queue_driver ? QueueArea::driver
                                                           : QueueArea::device;
    const std::uint64_t old = slot.registers.area(area).value;
    const std::uint64_t address = base::write_lane(old, offset - start, size, value);
    if (!slot.registers.set_area(area, {address})) {
        bad_queue_write_.report(offset);
    }
}

std::uint16_t PciTransport::checked_vector(std::uint64_t value) const {
    // 4.1.5.1.2.1: a vector that cannot be had reads back as none.
    return msix_ && value < msix_->vectors() ? static_cast<std::uint16_t>(value) : no_vector;
}

std::uint64_t PciTransport::read_isr(std::uint64_t offset, unsigned /*size*/) {
    if (offset != 0) {
        return 0;
    }
    const std::uint64_t value = state_.isr;
    state_.isr = 0;
    update_intx();
    return value;
}

void PciTransport::write_nothing(std::uint64_t /*offset*/, unsigned /*size*/,
                                 std::uint64_t /*value*/) {}

std::uint64_t PciTransport::read_device(std::uint64_t offset, unsigned size) {
    return device_->read_config(offset, size) & base::ones(size);
}

void PciTransport::write_device(std::uint64_t offset, unsigned size, std::uint64_t value) {
    device_->write_config(offset, size, value);
}

std::uint64_t PciTransport::read_notify(std::uint64_t /*offset*/, unsigned /*size*/) {
    return 0;
}

void PciTransport::write_notify(std::uint64_t offset, unsigned /*size*/, std::uint64_t /*value*/) {
    // The place names the queue; what NOTIFICATION_DATA adds is a hint that the ring repeats.
    const std::uint64_t index = offset / notify_multiplier;
    if (index < slots_.size() && slots_[index]->registers.running()) {
        base::signal_eventfd(slots_[index]->kick.get());
    }
}

}  // namespace cupule::virtio
