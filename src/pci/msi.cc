#include "pci/msi.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"
#include "base/bits.h"
#include "base/field.h"

namespace cupule::pci {
namespace {

constexpr unsigned control_offset = 0x02;       // Message Control
constexpr unsigned address_offset = 0x04;       // Message Address
constexpr unsigned address_high_offset = 0x08;  // Message Upper Address, or Message Data
constexpr unsigned mask_after_data = 4;         // Mask Bits
constexpr unsigned pending_after_data = 8;      // Pending Bits
constexpr std::uint32_t address_writable = 0xFFFF'FFFC;

/// Message Control (6.8.1.3).
struct Control {
    static constexpr base::Bit<std::uint16_t, 0> enable{};
    static constexpr base::Field<std::uint16_t, 3, 1, unsigned> multiple_capable{};
    static constexpr base::Field<std::uint16_t, 6, 4, unsigned> multiple_enable{};
    static constexpr base::Bit<std::uint16_t, 7> is_64_bit{};
    static constexpr base::Bit<std::uint16_t, 8> per_vector_masking{};
};

}  // namespace

Msi::Msi(Function& function, irq::MessageSink& sink, const MsiLayout& layout)
    : function_(function),
      sink_(sink),
      layout_(layout),
      offset_(function.config().add_capability(capability::msi, length(layout), layout.at)) {
    CUPULE_ASSERT(base::is_power_of_two(layout.vectors) && layout.vectors <= vectors_max);
    const auto log2 = static_cast<unsigned>(std::countr_zero(layout.vectors));
    const auto fixed = static_cast<std::uint16_t>(
        Control::multiple_capable.make(log2) | Control::is_64_bit.make(layout.is_64_bit) |
        Control::per_vector_masking.make(layout.per_vector_masking));
    const auto all = static_cast<std::uint32_t>(base::mask(layout.vectors));
    ConfigSpace& space = function_.config();
    space.define<std::uint16_t>(at(control_offset), fixed,
                                {.writable = Control::enable.mask | Control::multiple_enable.mask});
    space.define<std::uint32_t>(at(address_offset), 0, {.writable = address_writable});
    if (layout.is_64_bit) {
        space.define<std::uint32_t>(at(address_high_offset), 0, {.writable = 0xFFFF'FFFF});
    }
    space.define<std::uint16_t>(at(data_offset()), 0, {.writable = 0xFFFF});
    if (layout.per_vector_masking) {
        space.define<std::uint32_t>(at(data_offset() + mask_after_data), 0, {.writable = all});
        space.define<std::uint32_t>(at(data_offset() + pending_after_data), 0, {}, all);
    }
    function_.add_part(*this);
}

unsigned Msi::length(const MsiLayout& layout) {
    constexpr unsigned length_min = 10;
    return length_min + (layout.is_64_bit ? 4 : 0) + (layout.per_vector_masking ? 10 : 0);
}

unsigned Msi::data_offset() const {
    return layout_.is_64_bit ? address_high_offset + 4 : address_high_offset;
}

std::uint32_t Msi::masked() const {
    return layout_.per_vector_masking
               ? function_.config().get<std::uint32_t>(at(data_offset() + mask_after_data))
               : 0;
}

std::uint16_t Msi::control() const {
    return function_.config().get<std::uint16_t>(at(control_offset));
}

bool Msi::enabled() const {
    return Control::enable.of(control());
}

unsigned Msi::granted() const {
    return std::min(1U << Control::multiple_enable.of(control()), layout_.vectors);
}

std::optional<irq::MsiMessage> Msi::message(unsigned vector) const {
    const ConfigSpace& space = function_.config();
    const unsigned count = granted();
    if (!enabled() || !function_.bus_master() || vector >= count ||
        ((masked() >> vector) & 1) != 0) {
        return std::nullopt;
    }
    const auto data = space.get<std::uint16_t>(at(data_offset()));
    const std::uint64_t address = layout_.is_64_bit ? space.get<std::uint64_t>(at(address_offset))
                                                    : space.get<std::uint32_t>(at(address_offset));
    return irq::MsiMessage{.address = address,
                           // The function replaces the low bits by the vector's number (6.8.1.6).
                           .data = (data & ~std::uint32_t{count - 1}) | vector};
}

void Msi::notify(unsigned vector) {
    if (!enabled()) {
        return;
    }
    const unsigned sent = vector % granted();
    if (const auto now = message(sent)) {
        sink_.send(*now);
        return;
    }
    pending_ |= 1U << sent;
    publish_pending();
}

void Msi::publish_pending() {
    if (layout_.per_vector_masking) {
        function_.config().set<std::uint32_t>(at(data_offset() + pending_after_data), pending_);
    }
}

void Msi::update_vectors() {
    for (unsigned vector = 0; vector < layout_.vectors; ++vector) {
        const auto now = message(vector);
        if (now != messages_[vector]) {
            messages_[vector] = now;
            if (observer_ != nullptr) {
                observer_->vector_changed(vector, now);
            }
        }
        if (now && ((pending_ >> vector) & 1) != 0) {
            pending_ &= ~(1U << vector);
            publish_pending();
            sink_.send(*now);
        }
    }
}

void Msi::set_observer(VectorObserver* observer) {
    observer_ = observer;
    for (unsigned vector = 0; observer_ != nullptr && vector < layout_.vectors; ++vector) {
        if (messages_[vector]) {
            observer_->vector_changed(vector, messages_[vector]);
        }
    }
}

void Msi::config_written(std::uint64_t /*offset*/, unsigned /*size*/) {
    update_vectors();
}

void Msi::reset() {
    pending_ = 0;
    update_vectors();
}

void Msi::visit(snapshot::Visitor& visitor) {
    visitor.field("msi_pending", pending_);
    pending_ &= static_cast<std::uint32_t>(base::mask(layout_.vectors));
    if (visitor.restoring()) {
        publish_pending();
        update_vectors();
    }
}

}  // namespace cupule::pci
