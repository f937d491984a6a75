#include "hypervisor/kvm/ioapic_82093aa.h"

#include "base/bits.h"
#include "base/field.h"

namespace cupule::hypervisor {
namespace {

using base::Bit;
using base::Field;

// The page (3.1).
constexpr std::uint64_t offset_select = 0x00;  // IOREGSEL
constexpr std::uint64_t offset_window = 0x10;  // IOWIN
constexpr std::uint64_t register_size = 4;

// What IOREGSEL names (3.2).
constexpr unsigned index_id = 0x00;           // IOAPICID
constexpr unsigned index_version = 0x01;      // IOAPICVER
constexpr unsigned index_arbitration = 0x02;  // IOAPICARB
constexpr unsigned index_entries = 0x10;      // IOREDTBL

constexpr Field<std::uint32_t, 27, 24> id_field{};
constexpr std::uint32_t version = 0x11;
constexpr Field<std::uint32_t, 23, 16> entry_max{};

namespace entry {
constexpr Field<std::uint64_t, 7, 0> vector{};               // INTVEC
constexpr Field<std::uint64_t, 10, 8, unsigned> delivery{};  // DELMOD
constexpr Bit<std::uint64_t, 11> logical{};                  // DESTMOD
constexpr Bit<std::uint64_t, 13> active_low{};               // INTPOL
constexpr Bit<std::uint64_t, 14> remote_irr{};               // Remote IRR
constexpr Bit<std::uint64_t, 15> level{};                    // Trigger Mode
constexpr Bit<std::uint64_t, 16> masked{};                   // Interrupt Mask
constexpr Field<std::uint64_t, 63, 56> destination{};
constexpr base::WriteRule<std::uint64_t> rule{.writable = 0xFF00'0000'0001'AFFF};
}  // namespace entry

constexpr unsigned delivery_reserved_3 = 3;
constexpr unsigned delivery_reserved_6 = 6;
constexpr unsigned delivery_external = 7;

// A message's form (Intel SDM vol. 3, 11.11).
constexpr std::uint64_t message_base = 0xFEE0'0000;
constexpr unsigned message_destination_shift = 12;
constexpr std::uint64_t message_logical = 1U << 2;
constexpr unsigned message_delivery_shift = 8;
constexpr std::uint32_t message_level_asserted = 3U << 14;

irq::MsiMessage message_of(std::uint64_t value) {
    irq::MsiMessage message{.address = message_base | entry::destination.of(value)
                                                          << message_destination_shift,
                            .data = static_cast<std::uint32_t>(entry::vector.of(value)) |
                                    entry::delivery.of(value) << message_delivery_shift};
    message.address |= entry::logical.of(value) ? message_logical : 0;
    message.data |= entry::level.of(value) ? message_level_asserted : 0;
    return message;
}

bool in_register(std::uint64_t offset, std::uint64_t base) {
    return offset >= base && offset < base + register_size;
}

}  // namespace

std::uint64_t Ioapic82093aa::read(std::uint64_t offset, unsigned size) const {
    if (in_register(offset, offset_select)) {
        return base::read_lane(std::uint32_t{state_.index}, offset - offset_select, size);
    }
    if (in_register(offset, offset_window)) {
        return base::read_lane(read_register(), offset - offset_window, size);
    }
    return base::ones(size);
}

void Ioapic82093aa::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (offset == offset_select) {
        state_.index = static_cast<std::uint8_t>(value);
    } else if (in_register(offset, offset_window)) {
        write_register(base::write_lane(read_register(), offset - offset_window, size, value));
    }
}

std::uint32_t Ioapic82093aa::read_register() const {
    const unsigned index = state_.index;
    if (index == index_id || index == index_arbitration) {
        return state_.id;
    }
    if (index == index_version) {
        return version | entry_max.make(pins - 1);
    }
    if (index < index_entries || index >= index_entries + 2 * pins) {
        return 0;
    }
    const std::uint64_t value = state_.entries[(index - index_entries) / 2];
    return static_cast<std::uint32_t>(index % 2 == 0 ? value : value >> 32);
}

void Ioapic82093aa::write_register(std::uint32_t value) {
    const unsigned index = state_.index;
    if (index == index_id) {
        state_.id = value & id_field.mask;
    }
    if (index < index_entries || index >= index_entries + 2 * pins) {
        return;
    }
    const unsigned pin = (index - index_entries) / 2;
    write_entry(pin, base::write_lane(state_.entries[pin], index % 2 == 0 ? 0 : register_size,
                                      register_size, value));
}

void Ioapic82093aa::write_entry(unsigned pin, std::uint64_t value) {
    std::uint64_t& stored = state_.entries[pin];
    stored = entry::rule.apply(stored, value);
    if (!entry::level.of(stored)) {
        stored = entry::remote_irr.clear(stored);
        return;
    }
    if (entry::masked.of(stored)) {
        return;
    }
    const irq::MsiMessage message = message_of(stored);
    if (watched_[pin] != message) {
        watched_[pin] = message;
        outputs_.watch_end(pin, message);
    }
    update_level(pin);
}

bool Ioapic82093aa::asserted(unsigned pin) const {
    const bool high = (levels_ & base::bit(pin)) != 0;
    return high != entry::active_low.of(state_.entries[pin]);
}

void Ioapic82093aa::set_pin(unsigned pin, bool high) {
    const bool was_asserted = asserted(pin);
    levels_ = high ? levels_ | base::bit(pin) : levels_ & ~base::bit(pin);
    const std::uint64_t value = state_.entries[pin];
    if (entry::level.of(value)) {
        update_level(pin);
    } else if (asserted(pin) && !was_asserted && !entry::masked.of(value)) {
        send(pin);
    }
}

void Ioapic82093aa::update_level(unsigned pin) {
    std::uint64_t& value = state_.entries[pin];
    if (!asserted(pin) || entry::masked.of(value) || entry::remote_irr.of(value)) {
        return;
    }
    value = entry::remote_irr.set(value);
    send(pin);
}

void Ioapic82093aa::send(unsigned pin) {
    const std::uint64_t value = state_.entries[pin];
    const unsigned delivery = entry::delivery.of(value);
    if (delivery == delivery_external || delivery == delivery_reserved_3 ||
        delivery == delivery_reserved_6) {
        bad_delivery_.report(delivery);
        return;
    }
    outputs_.send(message_of(value));
}

bool Ioapic82093aa::awaits_end(unsigned pin, std::uint8_t vector) const {
    const std::uint64_t value = state_.entries[pin];
    return entry::remote_irr.of(value) && entry::vector.of(value) == vector;
}

void Ioapic82093aa::end_of_interrupt(std::uint8_t vector) {
    for (unsigned pin = 0; pin < pins; ++pin) {
        if (awaits_end(pin, vector)) {
            state_.entries[pin] = entry::remote_irr.clear(state_.entries[pin]);
            update_level(pin);
        }
    }
}

void Ioapic82093aa::reset() {
    state_ = State{};
    watched_.fill(std::nullopt);
}

}  // namespace cupule::hypervisor
