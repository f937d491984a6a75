#include "hypervisor/kvm/pic_8259a.h"

#include <bit>

#include "base/bits.h"
#include "base/field.h"

namespace cupule::hypervisor {
namespace {

using base::Bit;
using base::Field;

constexpr unsigned cascade_input = 2;
constexpr unsigned spurious_input = 7;
constexpr unsigned priority_none = 8;

namespace icw1 {
constexpr Bit<std::uint8_t, 4> is_icw1{};
constexpr Bit<std::uint8_t, 1> single{};    // SNGL
constexpr Bit<std::uint8_t, 0> has_icw4{};  // IC4
}  // namespace icw1

constexpr std::uint8_t vector_mask = 0xF8;  // T7:T3 of ICW2

namespace icw4 {
constexpr Bit<std::uint8_t, 4> special_fully_nested{};  // SFNM
constexpr Bit<std::uint8_t, 1> automatic_end{};         // AEOI
}  // namespace icw4

namespace ocw2 {
constexpr Bit<std::uint8_t, 7> rotate{};    // R
constexpr Bit<std::uint8_t, 6> specific{};  // SL
constexpr Bit<std::uint8_t, 5> end{};       // EOI
constexpr Field<std::uint8_t, 2, 0> input{};
}  // namespace ocw2

namespace ocw3 {
constexpr Bit<std::uint8_t, 6> changes_special_mask{};  // ESMM
constexpr Bit<std::uint8_t, 5> special_mask{};          // SMM
constexpr Bit<std::uint8_t, 3> is_ocw3{};
constexpr Bit<std::uint8_t, 2> poll{};          // P
constexpr Bit<std::uint8_t, 1> selects_read{};  // RR
constexpr Bit<std::uint8_t, 0> in_service{};    // RIS
}  // namespace ocw3

constexpr std::uint8_t poll_interrupt = 0x80;

constexpr std::uint64_t port_first = 0x20;
constexpr std::uint64_t port_second = 0xA0;
constexpr std::uint64_t port_elcr = 0x4D0;

std::uint8_t bit_of(unsigned input) {
    return static_cast<std::uint8_t>(base::bit(input));
}

std::uint8_t without(std::uint8_t value, unsigned input) {
    return static_cast<std::uint8_t>(value & ~bit_of(input));
}

}  // namespace

unsigned Pic8259a::priority_of(std::uint8_t inputs) const {
    const std::uint8_t rotated = std::rotr(inputs, state_.highest);
    return rotated == 0 ? priority_none : static_cast<unsigned>(std::countr_zero(rotated));
}

std::optional<unsigned> Pic8259a::pending() const {
    auto served = state_.in_service;
    if (state_.special_mask) {
        served = static_cast<std::uint8_t>(served & ~state_.mask);
    }
    if (state_.special_fully_nested) {
        served = without(served, cascade_input);
    }
    const auto wanted = static_cast<std::uint8_t>(state_.requests & ~state_.mask);
    const unsigned priority = priority_of(wanted);
    if (priority >= priority_of(served)) {
        return std::nullopt;
    }
    return (priority + state_.highest) % 8;
}

void Pic8259a::set_input(unsigned input, bool high) {
    const std::uint8_t bit = bit_of(input);
    const bool rises = high && (levels_ & bit) == 0;
    levels_ = high ? levels_ | bit : without(levels_, input);
    if ((state_.elcr & bit) != 0) {
        state_.requests = high ? state_.requests | bit : without(state_.requests, input);
    } else if (rises) {
        state_.requests |= bit;
    }
}

unsigned Pic8259a::acknowledge() {
    const auto input = pending();
    if (!input) {
        return spurious_input;
    }
    if ((state_.elcr & bit_of(*input)) == 0) {
        state_.requests = without(state_.requests, *input);
    }
    if (!state_.automatic_end) {
        state_.in_service |= bit_of(*input);
    } else if (state_.rotates_automatically) {
        state_.highest = static_cast<std::uint8_t>((*input + 1) % 8);
    }
    return *input;
}

std::uint8_t Pic8259a::vector(unsigned input) const {
    return static_cast<std::uint8_t>(state_.vector_base | input);
}

std::uint8_t Pic8259a::poll() {
    state_.polls = false;
    if (!pending()) {
        return 0;
    }
    return static_cast<std::uint8_t>(poll_interrupt | acknowledge());
}

std::uint8_t Pic8259a::read(unsigned a0) {
    if (state_.polls) {
        return poll();
    }
    if (a0 == 1) {
        return state_.mask;
    }
    return state_.reads_in_service ? state_.in_service : state_.requests;
}

void Pic8259a::write(unsigned a0, std::uint8_t value) {
    if (a0 == 1) {
        write_data(value);
    } else if (icw1::is_icw1.of(value)) {
        initialise(value);
    } else if (ocw3::is_ocw3.of(value)) {
        write_ocw3(value);
    } else {
        write_ocw2(value);
    }
}

void Pic8259a::initialise(std::uint8_t icw1) {
    const State old = state_;
    state_ = State{};
    state_.elcr = old.elcr;
    state_.vector_base = old.vector_base;
    // A level that stands asks again; an edge has to come again.
    state_.requests = levels_ & old.elcr;
    state_.expects = Expects::icw2;
    state_.single = icw1::single.of(icw1);
    state_.has_icw4 = icw1::has_icw4.of(icw1);
}

void Pic8259a::write_data(std::uint8_t value) {
    const Expects behind_icw3 = state_.has_icw4 ? Expects::icw4 : Expects::mask;
    switch (state_.expects) {
        case Expects::mask:
            state_.mask = value;
            break;
        case Expects::icw2:
            state_.vector_base = value & vector_mask;
            state_.expects = state_.single ? behind_icw3 : Expects::icw3;
            break;
        case Expects::icw3:
            // How the chips hang together is wired.
            state_.expects = behind_icw3;
            break;
        case Expects::icw4:
            state_.special_fully_nested = icw4::special_fully_nested.of(value);
            state_.automatic_end = icw4::automatic_end.of(value);
            state_.expects = Expects::mask;
            break;
    }
}

void Pic8259a::write_ocw2(std::uint8_t value) {
    const bool rotate = ocw2::rotate.of(value);
    const unsigned input = ocw2::input.of(value);
    const unsigned best = priority_of(state_.in_service);
    if (!ocw2::end.of(value)) {
        if (!ocw2::specific.of(value)) {
            state_.rotates_automatically = rotate;
        } else if (rotate) {
            state_.highest = static_cast<std::uint8_t>((input + 1) % 8);
        }
    } else if (ocw2::specific.of(value)) {
        end(input, rotate);
    } else if (best < priority_none) {
        end((best + state_.highest) % 8, rotate);
    }
}

void Pic8259a::end(unsigned input, bool rotate) {
    state_.in_service = without(state_.in_service, input);
    if (rotate) {
        state_.highest = static_cast<std::uint8_t>((input + 1) % 8);
    }
}

void Pic8259a::write_ocw3(std::uint8_t value) {
    state_.polls = ocw3::poll.of(value);
    if (ocw3::selects_read.of(value)) {
        state_.reads_in_service = ocw3::in_service.of(value);
    }
    if (ocw3::changes_special_mask.of(value)) {
        state_.special_mask = ocw3::special_mask.of(value);
    }
}

void Pic8259a::set_elcr(std::uint8_t value) {
    state_.elcr = value & level_inputs_;
    state_.requests =
        static_cast<std::uint8_t>((state_.requests & ~state_.elcr) | (levels_ & state_.elcr));
}

// The pair.

bool Pic8259aPair::owns(std::uint64_t port) {
    return port / 2 == port_first / 2 || port / 2 == port_second / 2 || port / 2 == port_elcr / 2;
}

std::uint8_t Pic8259aPair::read(std::uint64_t port) {
    if (port / 2 == port_elcr / 2) {
        return chips_[port % 2].elcr();
    }
    const std::uint8_t value = chips_[port / 2 == port_first / 2 ? 0 : 1].read(port % 2);
    update_cascade();  // A poll acknowledges.
    return value;
}

void Pic8259aPair::write(std::uint64_t port, std::uint8_t value) {
    if (port / 2 == port_elcr / 2) {
        chips_[port % 2].set_elcr(value);
    } else {
        chips_[port / 2 == port_first / 2 ? 0 : 1].write(port % 2, value);
    }
    update_cascade();
}

void Pic8259aPair::set_input(unsigned irq, bool high) {
    // Where the second chip sits nothing else can be.
    if (irq != cascade_input) {
        chips_[irq / 8].set_input(irq % 8, high);
        update_cascade();
    }
}

void Pic8259aPair::update_cascade() {
    chips_[0].set_input(cascade_input, chips_[1].pending().has_value());
}

std::uint8_t Pic8259aPair::acknowledge() {
    const bool real = chips_[0].pending().has_value();
    const unsigned first = chips_[0].acknowledge();
    if (!real || first != cascade_input) {
        return chips_[0].vector(first);
    }
    const std::uint8_t vector = chips_[1].vector(chips_[1].acknowledge());
    update_cascade();
    return vector;
}

void Pic8259aPair::reset() {
    for (Pic8259a& chip : chips_) {
        chip.reset();
    }
    update_cascade();
}

}  // namespace cupule::hypervisor
