#include "virtio/pci_transport.h"

#include <sys/epoll.h>

#include <utility>

#include "base/assert.h"
#include "virtio/features.h"

namespace cupule::virtio {
namespace {

/// What may be in a doorbell (4.1.5.2). The place of the doorbell names the queue, so that nothing
/// of it has to be read.
constexpr std::uint64_t doorbell_features = feature::notification_data | feature::notif_config_data;

/// What the types of before Virtio 1.0 have for a device id (4.1.2).
std::optional<std::uint16_t> legacy_id(std::uint16_t type) {
    constexpr std::pair<std::uint16_t, std::uint16_t> ids[] = {{1, 0}, {2, 1}, {5, 2}, {3, 3},
                                                               {8, 4}, {4, 5}, {9, 9}};
    for (const auto& [device_type, place] : ids) {
        if (device_type == type) {
            return static_cast<std::uint16_t>(pci_layout::legacy_device_id_base + place);
        }
    }
    return std::nullopt;
}

pci::Attributes attributes_of(const Device& device, const PciTransportPowers& powers) {
    const DeviceId id = device.id();
    const bool modern = powers.model == PciTransportModel::modern;
    const auto modern_id = static_cast<std::uint16_t>(pci_layout::device_id_base + id.type);
    return {.vendor_id = pci_layout::vendor_id,
            .device_id = modern ? modern_id : legacy_id(id.type).value_or(modern_id),
            .subsystem_vendor_id = powers.subsystem_vendor_id,
            .subsystem_id = id.type,
            // 4.1.2.1: modern devices are 1 or higher, others 0
            .revision = static_cast<std::uint8_t>(modern ? 1 : 0),
            .class_code = id.pci_class,
            .uses_intx = true};
}

std::uint64_t features_of(const Device& device, PciTransportModel model) {
    switch (model) {
        case PciTransportModel::modern:
            return device.features() | doorbell_features;
        case PciTransportModel::transitional:
            return device.features() | doorbell_features | feature::any_layout;
        case PciTransportModel::legacy:
            break;
    }
    return (device.features() & 0xFFFF'FFFF) | feature::any_layout;
}

}  // namespace

base::Result<std::unique_ptr<PciTransport>> PciTransport::create(
    std::unique_ptr<virtio::Device> device, const PciTransportPowers& powers) {
    if (powers.model != PciTransportModel::modern && !legacy_id(device->id().type)) {
        return base::fail("{} has no legacy interface", device->id().name);
    }
    std::unique_ptr<PciTransport> transport(new PciTransport(std::move(device), powers));
    CUPULE_TRY(transport->open_bells());
    return transport;
}

PciTransport::PciTransport(std::unique_ptr<virtio::Device> device, const PciTransportPowers& powers)
    : device_(std::move(device)),
      powers_(powers),
      function_(attributes_of(*device_, powers)),
      common_(*this, &PciTransport::read_common, &PciTransport::write_common),
      isr_(*this, &PciTransport::read_isr, &PciTransport::write_nothing),
      device_region_(*this, &PciTransport::read_device, &PciTransport::write_device),
      notify_(*this, &PciTransport::read_notify, &PciTransport::write_notify),
      legacy_(*this, &PciTransport::read_legacy, &PciTransport::write_legacy),
      device_state_(device_->id().name, features_of(*device_, powers.model), !modern(),
                    device_->feature_dependencies()),
      bad_width_(device_->id().name, "common configuration accessed with a wrong width"),
      bad_queue_write_(device_->id().name, "queue register written out of turn or range") {
    CUPULE_ASSERT(device_->queues().size() <= pci_layout::queues_max);
    for (const QueueLimits& limits : device_->queues()) {
        slots_.push_back(std::make_unique<Slot>(limits));
    }
    messages_.resize(slots_.size() + 1);
    add_capabilities();
    add_bars();
    function_.set_events(this);
    if (msix_) {
        msix_->set_observer(this);
    }
}

base::Result<void> PciTransport::open_bells() {
    for (const auto& owned : slots_) {
        Slot& slot = *owned;
        CUPULE_TRY_ASSIGN(slot.kick, base::make_eventfd());
        CUPULE_TRY_ASSIGN(slot.call, base::make_eventfd());
        CUPULE_TRY_ASSIGN(slot.call_watch,
                          powers_.loop.watch(slot.call.get(), EPOLLIN, powers_.monitor,
                                             [this, &slot](std::uint32_t) {
                                                 base::drain_eventfd(slot.call.get());
                                                 interrupt_queue(slot);
                                             }));
    }
    CUPULE_TRY_ASSIGN(news_, base::make_eventfd());
    CUPULE_TRY_ASSIGN(news_watch_, powers_.loop.watch(news_.get(), EPOLLIN, powers_.monitor,
                                                      [this](std::uint32_t) { hear_news(); }));
    return {};
}

PciTransport::~PciTransport() {
    event::MutexLock lock(powers_.monitor);
    stop();
    news_watch_.reset();
    for (const auto& slot : slots_) {
        slot->call_watch.reset();
    }
}

PciTransport::Slot* PciTransport::selected() {
    return state_.queue_select < slots_.size() ? slots_[state_.queue_select].get() : nullptr;
}

std::size_t PciTransport::index_of(const Slot& slot) const {
    std::size_t index = 0;
    while (slots_[index].get() != &slot) {
        ++index;
    }
    return index;
}

// The life of device and queues.

void PciTransport::write_status(std::uint8_t value) {
    switch (device_state_.write_status(value)) {
        case StatusAction::none:
        case StatusAction::features:
            break;
        case StatusAction::reset:
            reset_device();
            break;
        case StatusAction::start:
            start();
            break;
    }
}

std::optional<RunningQueue> PciTransport::activate_queue(std::size_t index) {
    Slot& slot = *slots_[index];
    auto queue = slot.registers.activate(powers_.memory, device_state_.driver_features());
    if (!queue) {
        report_fault(index, queue.error());
        return std::nullopt;
    }
    return RunningQueue{.index = static_cast<std::uint16_t>(index),
                        .queue = std::move(*queue),
                        .kick_fd = slot.kick.get(),
                        .call_fd = slot.call.get()};
}

void PciTransport::start() {
    std::vector<RunningQueue> queues;
    for (std::size_t index = 0; index < slots_.size(); ++index) {
        if (!slots_[index]->registers.enabled()) {
            continue;
        }
        auto queue = activate_queue(index);
        if (!queue) {
            return;
        }
        queues.push_back(std::move(*queue));
    }
    if (!hand_over(std::move(queues))) {
        return;
    }
    active_ = true;
    for (const auto& slot : slots_) {
        ring_in(*slot);
    }
}

base::Result<void> PciTransport::hand_over(std::vector<RunningQueue> queues) {
    held_ = !function_.bus_master();
    if (held_) {
        held_queues_ = std::move(queues);
        return {};
    }
    auto started = device_->activate(device_state_.driver_features(), std::move(queues), *this);
    if (!started) {
        base::log_error("{}: cannot start: {}", function_.name(), started.error().message);
        need_reset();
    }
    return started;
}

void PciTransport::follow_bus_master() {
    if (!active_ || held_ != function_.bus_master()) {
        return;
    }
    if (!held_) {
        held_queues_ = device_->deactivate();
        held_ = true;
        return;
    }
    if (!hand_over(std::exchange(held_queues_, {}))) {
        stop();
        return;
    }
    for (const auto& slot : slots_) {
        if (slot->registers.running()) {
            base::signal_eventfd(slot->kick.get());  // the first signal may have been consumed
        }
    }
}

void PciTransport::stop() {
    if (!active_) {
        return;
    }
    active_ = false;
    // The queues die here, all workers having let go of them.
    if (!std::exchange(held_, false)) {
        static_cast<void>(device_->deactivate());
    }
    held_queues_.clear();
    for (const auto& slot : slots_) {
        ring_out(*slot);
    }
    config_news_ = false;
}

void PciTransport::reset_device() {
    stop();
    for (const auto& slot : slots_) {
        slot->registers.reset();
        slot->vector = pci_layout::no_vector;
    }
    state_ = {};
    device_->reset();
    device_state_.reset_done();
    update_intx();
}

void PciTransport::reset() {
    reset_device();
    function_.reset();
}

void PciTransport::enable_queue(Slot& slot) {
    const bool late = device_state_.running();
    if (late && (!active_ || !device_state_.negotiated(feature::ring_reset))) {
        bad_queue_write_.report(pci_layout::common::queue_enable);
        return;
    }
    if (slot.registers.enable() && late) {
        enable_late(slot);
    }
}

void PciTransport::enable_late(Slot& slot) {
    const std::size_t index = index_of(slot);
    auto queue = activate_queue(index);
    if (!queue) {
        return;
    }
    if (held_) {
        held_queues_.push_back(std::move(*queue));
    } else if (const auto started = device_->start_queue(std::move(*queue)); !started) {
        base::log_error("{}: queue {} cannot run: {}", function_.name(), index,
                        started.error().message);
    }
    ring_in(slot);
}

void PciTransport::reset_queue(Slot& slot) {
    if (!device_state_.negotiated(feature::ring_reset) || !slot.registers.enabled()) {
        bad_queue_write_.report(pci_layout::common::queue_reset);
        return;
    }
    take_back(slot);
    slot.vector = pci_layout::no_vector;
}

void PciTransport::take_back(Slot& slot) {
    if (slot.registers.running() && active_) {
        const auto index = static_cast<std::uint16_t>(index_of(slot));
        std::erase_if(held_queues_, [&](const RunningQueue& held) { return held.index == index; });
        if (!held_) {
            static_cast<void>(device_->stop_queue(index));
        }
        ring_out(slot);
    }
    slot.registers.reset();
}

bool PciTransport::legacy_driver() const {
    return !modern() && !device_state_.negotiated(feature::version_1);
}

void PciTransport::need_reset() {
    if (device_state_.set_needs_reset()) {
        interrupt_config();
    }
}

void PciTransport::report_fault(std::size_t index, QueueFault fault) {
    if (!std::exchange(fault_told_, true)) {
        base::log_warning(
            "{}: queue {} is broken until the driver resets the device: {} (of its device's queues "
            "no further one is logged)",
            device_->id().name, index, to_text(fault));
    }
    need_reset();
}

void PciTransport::visit_queue(Slot& slot, snapshot::Visitor& visitor) {
    std::uint16_t size = slot.registers.size();
    auto descriptors = slot.registers.area(QueueArea::descriptors);
    auto driver = slot.registers.area(QueueArea::driver);
    auto device = slot.registers.area(QueueArea::device);
    bool enabled = slot.registers.enabled();
    visitor.field("size", size);
    visitor.field("descriptor_area", descriptors.value);
    visitor.field("driver_area", driver.value);
    visitor.field("device_area", device.value);
    visitor.field("enabled", enabled);
    visitor.field("vector", slot.vector);
    if (!visitor.restoring()) {
        return;
    }
    slot.vector = checked_vector(slot.vector);
    slot.registers.reset();
    // A size that is not allowed leaves the offered one.
    static_cast<void>(slot.registers.set_size(size));
    static_cast<void>(slot.registers.set_area(QueueArea::descriptors, descriptors));
    static_cast<void>(slot.registers.set_area(QueueArea::driver, driver));
    static_cast<void>(slot.registers.set_area(QueueArea::device, device));
    if (enabled) {
        static_cast<void>(slot.registers.enable());
    }
}

void PciTransport::visit(snapshot::Visitor& visitor) {
    if (visitor.restoring()) {
        stop();
    }
    function_.visit(visitor);
    visitor.begin("virtio");
    device_state_.visit(visitor);
    visitor.field("device_feature_select", state_.device_feature_select);
    visitor.field("driver_feature_select", state_.driver_feature_select);
    visitor.field("config_vector", state_.config_vector);
    visitor.field("queue_select", state_.queue_select);
    visitor.field("generation", state_.generation);
    visitor.field("isr", state_.isr);
    for (std::size_t index = 0; index < slots_.size(); ++index) {
        visitor.begin(fmt::format("queue{}", index));
        visit_queue(*slots_[index], visitor);
        visitor.end();
    }
    visitor.end();
    visitor.begin("device");
    device_->visit(visitor);
    visitor.end();
    if (visitor.restoring()) {
        state_.config_vector = checked_vector(state_.config_vector);
        state_.isr &= pci_layout::isr_queue.mask | pci_layout::isr_config.mask;
        update_intx();
        if (device_state_.running()) {
            need_reset();
        }
    }
}

}  // namespace cupule::virtio
