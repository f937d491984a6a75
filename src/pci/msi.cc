#include "pci/msi.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"
#include "base/bits.h"
#include "base/field.h"

namespace cupule::pci {
namespace {

constexpr unsigned length = 24;
constexpr unsigned control_offset = 0x02;       // Message Control
constexpr unsigned address_offset = 0x04;       // Message Address
constexpr unsigned address_high_offset = 0x08;  // Message Upper Address
constexpr unsigned data_offset = 0x0C;          // Message Data
constexpr unsigned mask_offset = 0x10;          // Mask Bits
constexpr unsigned pending_offset = 0x14;       // Pending Bits
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

Msi::Msi(Function& function, irq::MessageSink& sink, unsigned vectors)
    : function_(function),
      sink_(sink),
      vectors_(vectors),
      offset_(function.config().add_capability(capability::msi, length)) {
    CUPULE_ASSERT(base::is_power_of_two(vectors) && vectors <= vectors_max);
    const auto log2 = static_cast<unsigned>(std::countr_zero(vectors));
    const auto fixed =
        static_cast<std::uint16_t>(Control::multiple_capable.make(log2) | Control::is_64_bit.mask |
                                   Control::per_vector_masking.mask);
    const auto all = static_cast<std::uint32_t>(base::mask(vectors));
    ConfigSpace& space = function_.config();
    space.define<std::uint16_t>(at(control_offset), fixed,
                                {.writable = Control::enable.mask | Control::multiple_enable.mask});
    space.define<std::uint32_t>(at(address_offset), 0, {.writable = address_writable});
    space.define<std::uint32_t>(at(address_high_offset), 0, {.writable = 0xFFFF'FFFF});
    space.define<std::uint16_t>(at(data_offset), 0, {.writable = 0xFFFF});
    space.define<std::uint32_t>(at(mask_offset), 0, {.writable = all});
    space.define<std::uint32_t>(at(pending_offset), 0, {}, all);
    function_.add_part(*this);
}

std::uint16_t Msi::control() const {
    return function_.config().get<std::uint16_t>(at(control_offset));
}

bool Msi::enabled() const {
    return Control::enable.of(control());
}

unsigned Msi::granted() const {
    return std::min(1U << Control::multiple_enable.of(control()), vectors_);
}

std::optional<irq::MsiMessage> Msi::message(unsigned vector) const {
    const ConfigSpace& space = function_.config();
    const auto masked = space.get<std::uint32_t>(at(mask_offset));
    const unsigned count = granted();
    if (!enabled() || !function_.bus_master() || vector >= count || ((masked >> vector) & 1) != 0) {
        return std::nullopt;
    }
    const auto data = space.get<std::uint16_t>(at(data_offset));
    return irq::MsiMessage{.address = space.get<std::uint64_t>(at(address_offset)),
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
    ConfigSpace& space = function_.config();
    const auto pending = space.get<std::uint32_t>(at(pending_offset));
    space.set<std::uint32_t>(at(pending_offset), pending | (1U << sent));
}

void Msi::update_vectors() {
    ConfigSpace& space = function_.config();
    for (unsigned vector = 0; vector < vectors_; ++vector) {
        const auto now = message(vector);
        if (now != messages_[vector]) {
            messages_[vector] = now;
            if (observer_ != nullptr) {
                observer_->vector_changed(vector, now);
            }
        }
        const auto pending = space.get<std::uint32_t>(at(pending_offset));
        if (now && ((pending >> vector) & 1) != 0) {
            space.set<std::uint32_t>(at(pending_offset), pending & ~(1U << vector));
            sink_.send(*now);
        }
    }
}

void Msi::set_observer(VectorObserver* observer) {
    observer_ = observer;
    for (unsigned vector = 0; observer_ != nullptr && vector < vectors_; ++vector) {
        if (messages_[vector]) {
            observer_->vector_changed(vector, messages_[vector]);
        }
    }
}

void Msi::config_written(std::uint64_t /*offset*/, unsigned /*size*/) {
    update_vectors();
}

void Msi::reset() {
    update_vectors();
}

void Msi::visit(snapshot::Visitor& visitor) {
    if (visitor.restoring()) {
        update_vectors();
    }
}

}  // namespace cupule::pci
