#include "virtio/queue_config.h"

#include "base/assert.h"
#include "base/bits.h"
#include "virtio/features.h"
#include "virtio/ring_layout.h"

namespace cupule::virtio {
namespace {

memory::GuestAddress area_of(const QueueGeometry& geometry, QueueArea which) {
    switch (which) {
        case QueueArea::descriptors:
            return geometry.descriptor_area;
        case QueueArea::driver:
            return geometry.driver_area;
        case QueueArea::device:
            break;
    }
    return geometry.device_area;
}

/// The host's view of one area, for the queue's life.
QueueFault find_area(const memory::GuestMemory& memory, memory::GuestAddress address,
                     std::uint32_t bytes, std::uint32_t alignment, RingArea& area) {
    if (!base::is_aligned(address.value, alignment)) {
        return QueueFault::area_misaligned;
    }
    const std::span<std::byte> span = memory.span(address, bytes);
    if (span.empty()) {
        return QueueFault::area_outside_ram;
    }
    area = RingArea(span);
    return QueueFault::none;
}

}  // namespace

memory::GuestAddress QueueConfig::area(QueueArea area) const {
    return area_of(geometry_, area);
}

bool QueueConfig::set_size(std::uint16_t size) {
    if (enabled_ || size == 0 || size > limits_.size_max) {
        return false;
    }
    geometry_.size = size;
    return true;
}

bool QueueConfig::set_area(QueueArea area, memory::GuestAddress address) {
    if (enabled_) {
        return false;
    }
    switch (area) {
        case QueueArea::descriptors:
            geometry_.descriptor_area = address;
            break;
        case QueueArea::driver:
            geometry_.driver_area = address;
            break;
        case QueueArea::device:
            geometry_.device_area = address;
            break;
    }
    return true;
}

QueueFault QueueConfig::check(const memory::GuestMemory& memory, bool packed,
                              RingAreas& areas) const {
    const std::uint32_t size = geometry_.size;
    if (size == 0 || size > queue_size_limit || (!packed && !base::is_power_of_two(size))) {
        return QueueFault::size_not_allowed;
    }
    if (packed && (position_.next_available >= size || position_.next_used >= size)) {
        return QueueFault::position_not_allowed;
    }
    const std::uint32_t driver_bytes =
        packed ? event_suppression::bytes : available_ring::bytes(size);
    const std::uint32_t device_bytes = packed ? event_suppression::bytes : used_ring::bytes(size);
    QueueFault fault =
        find_area(memory, geometry_.descriptor_area, size * descriptor_size, 16, areas.descriptors);
    if (fault == QueueFault::none) {
        fault =
            find_area(memory, geometry_.driver_area, driver_bytes, packed ? 4 : 2, areas.driver);
    }
    if (fault == QueueFault::none) {
        fault = find_area(memory, geometry_.device_area, device_bytes, 4, areas.device);
    }
    return fault;
}

std::expected<Queue, QueueFault> QueueConfig::activate(const memory::GuestMemory& memory,
                                                       std::uint64_t features) && {
    Queue::Parts parts;
    parts.packed = (features & feature::ring_packed) != 0;
    if (const QueueFault fault = check(memory, parts.packed, parts.areas);
        fault != QueueFault::none) {
        return std::unexpected(fault);
    }
    parts.geometry = geometry_;
    parts.position = position_;
    parts.segments_max = limits_.segments_max;
    parts.in_order = (features & feature::in_order) != 0;
    parts.features = {.event_idx = (features & feature::event_idx) != 0,
                      .indirect = (features & feature::indirect_desc) != 0};
    return Queue(memory, parts);
}

memory::GuestAddress QueueRegisters::area(QueueArea which) const {
    return area_of(geometry(), which);
}

const QueueGeometry& QueueRegisters::geometry() const {
    if (const auto* config = std::get_if<QueueConfig>(&phase_); config != nullptr) {
        return config->geometry();
    }
    return std::get<QueueGeometry>(phase_);
}

bool QueueRegisters::set_size(std::uint16_t size) {
    auto* const config = std::get_if<QueueConfig>(&phase_);
    return config != nullptr && config->set_size(size);
}

bool QueueRegisters::set_area(QueueArea which, memory::GuestAddress address) {
    auto* const config = std::get_if<QueueConfig>(&phase_);
    return config != nullptr && config->set_area(which, address);
}

bool QueueRegisters::enable() {
    auto* const config = std::get_if<QueueConfig>(&phase_);
    if (config == nullptr) {
        return false;
    }
    config->enable();
    return true;
}

std::expected<Queue, QueueFault> QueueRegisters::activate(const memory::GuestMemory& memory,
                                                          std::uint64_t features,
                                                          QueuePosition position) {
    auto* const config = std::get_if<QueueConfig>(&phase_);
    CUPULE_ASSERT(config != nullptr && config->enabled());
    config->set_position(position);
    auto queue = QueueConfig(*config).activate(memory, features);
    if (queue) {
        phase_ = queue->geometry();
    }
    return queue;
}

}  // namespace cupule::virtio
