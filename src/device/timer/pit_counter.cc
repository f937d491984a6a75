#include "device/timer/pit_counter.h"

#include <algorithm>

#include "base/bits.h"
#include "base/field.h"
#include "event/clock.h"

namespace cupule::device {
namespace {

constexpr base::Bit<std::uint8_t, 0> control_bcd{};          // BCD
constexpr base::Field<std::uint8_t, 3, 1> control_mode{};    // M2:M0
constexpr base::Field<std::uint8_t, 5, 4> control_access{};  // RW1:RW0
constexpr base::Bit<std::uint8_t, 6> status_null_count{};    // NULL COUNT
constexpr base::Bit<std::uint8_t, 7> status_output{};        // OUTPUT
constexpr std::uint8_t control_kept = 0x3F;

constexpr std::uint8_t access_low = 1;
constexpr std::uint8_t access_high = 2;
constexpr std::uint8_t access_both = 3;

/// Four decimal digits; digits above nine count as what they are.
std::uint32_t from_bcd(std::uint16_t raw) {
    return (raw >> 12) * 1000U + ((raw >> 8) & 0xFU) * 100U + ((raw >> 4) & 0xFU) * 10U +
           (raw & 0xFU);
}

std::uint16_t to_bcd(std::uint32_t value) {
    return static_cast<std::uint16_t>(value / 1000 % 10 << 12 | value / 100 % 10 << 8 |
                                      value / 10 % 10 << 4 | value % 10);
}

}  // namespace

PitCounter::Mode PitCounter::mode() const {
    // M2 is "don't care" for modes 2 and 3.
    const unsigned raw = control_mode.of(state_.control);
    return static_cast<Mode>(raw >= 6 ? raw - 4 : raw);
}

bool PitCounter::bcd() const {
    return control_bcd.of(state_.control);
}

bool PitCounter::periodic() const {
    return mode() == Mode::rate_generator || mode() == Mode::square_wave;
}

std::uint64_t PitCounter::ticks(std::uint64_t now_ns) const {
    if (!state_.running) {
        return 0;
    }
    return state_.held
               ? state_.held_ticks
               : event::ns_to_ticks(base::wrapping_sub(now_ns, state_.start_ns), frequency_hz);
}

void PitCounter::write_control(std::uint8_t control, std::uint64_t now_ns) {
    const bool gate = state_.gate;
    const std::uint32_t reload = state_.reload;
    state_ = State{};
    state_.gate = gate;
    state_.control = control & control_kept;
    state_.reload = std::min(reload, modulus());
    state_.start_ns = now_ns;
}

void PitCounter::write_count(std::uint8_t byte, std::uint64_t now_ns) {
    const std::uint8_t access = control_access.of(state_.control);
    std::uint16_t raw = byte;
    if (access == access_high) {
        raw = static_cast<std::uint16_t>(byte << 8);
    } else if (access == access_both) {
        if (!state_.write_high_next) {
            state_.write_high_next = true;
            state_.write_low = byte;
            // "Writing the first byte disables counting. OUT is set low immediately."
            if (mode() == Mode::terminal_count) {
                state_.running = false;
            }
            return;
        }
        state_.write_high_next = false;
        raw = static_cast<std::uint16_t>(byte << 8 | state_.write_low);
    }
    const std::uint32_t value = bcd() ? from_bcd(raw) % modulus() : raw;
    load(value == 0 ? modulus() : value, now_ns);
}

void PitCounter::load(std::uint32_t reload, std::uint64_t now_ns) {
    switch (mode()) {
        case Mode::one_shot:
        case Mode::hardware_strobe:
            state_.next_reload = reload;  // until the gate triggers
            return;
        case Mode::rate_generator:
        case Mode::square_wave:
            if (state_.running) {
                // "...does not affect the current counting sequence."
                state_.next_reload = reload;
                state_.next_reload_tick = cycle_end_tick(now_ns);
                return;
            }
            break;
        case Mode::terminal_count:
        case Mode::software_strobe:
            break;
    }
    state_.reload = reload;
    restart(now_ns);
    if (!state_.gate) {
        hold(now_ns);
    }
}

std::uint64_t PitCounter::cycle_end_tick(std::uint64_t now_ns) const {
    return (ticks(now_ns) / state_.reload + 1) * state_.reload;
}

void PitCounter::restart(std::uint64_t now_ns) {
    if (state_.next_reload != 0) {
        state_.reload = state_.next_reload;
        state_.next_reload = 0;
    }
    state_.running = true;
    state_.held = false;
    state_.start_ns = now_ns;
    state_.edges_seen = 0;
}

void PitCounter::hold(std::uint64_t now_ns) {
    state_.held_ticks = ticks(now_ns);
    state_.held = true;
}

void PitCounter::set_gate(bool high, std::uint64_t now_ns) {
    if (high == state_.gate) {
        return;
    }
    state_.gate = high;
    switch (mode()) {
        case Mode::terminal_count:
        case Mode::software_strobe:
            if (!state_.running) {
                return;
            }
            if (high) {
                state_.start_ns =
                    base::wrapping_sub(now_ns, event::ticks_to_ns(state_.held_ticks, frequency_hz));
                state_.held = false;
            } else {
                hold(now_ns);
            }
            return;
        case Mode::rate_generator:
        case Mode::square_wave:
            if (!state_.running) {
                return;
            }
            if (high) {
                restart(now_ns);
            } else {
                hold(now_ns);
            }
            return;
        case Mode::one_shot:
        case Mode::hardware_strobe:
            if (high && (state_.running || state_.next_reload != 0)) {
                restart(now_ns);
            }
            return;
    }
}

bool PitCounter::output(std::uint64_t now_ns) const {
    if (!state_.running) {
        return mode() != Mode::terminal_count;
    }
    if (periodic() && !state_.gate) {
        return true;
    }
    const std::uint64_t passed = ticks(now_ns);
    const std::uint64_t reload = state_.reload;
    switch (mode()) {
        case Mode::terminal_count:
        case Mode::one_shot:
            return passed >= reload;
        case Mode::rate_generator:
            return passed % reload != reload - 1;
        case Mode::square_wave:
            return passed % reload < (reload + 1) / 2;
        case Mode::software_strobe:
        case Mode::hardware_strobe:
            return passed != reload;
    }
    return true;
}

/// Edges within the first `ticks` ticks of the sequence.
std::uint64_t PitCounter::edges_at(std::uint64_t ticks) const {
    if (periodic()) {
        return ticks / state_.reload;
    }
    return ticks >= edge_tick(1) ? 1 : 0;
}

/// The tick at which edge number `edge` (from 1) comes.
std::uint64_t PitCounter::edge_tick(std::uint64_t edge) const {
    switch (mode()) {
        case Mode::terminal_count:
        case Mode::one_shot:
            return state_.reload;
        case Mode::rate_generator:
        case Mode::square_wave:
            return edge * state_.reload;
        case Mode::software_strobe:
        case Mode::hardware_strobe:
            return std::uint64_t{state_.reload} + 1;  // the strobe is low for one tick
    }
    return never;
}

/// Moves on to the count written last once the cycle it waited for has ended; the edges up to then.
std::uint64_t PitCounter::take_next_reload(std::uint64_t now_ns) {
    if (!periodic() || state_.next_reload == 0 || state_.held ||
        ticks(now_ns) < state_.next_reload_tick) {
        return 0;
    }
    const std::uint64_t edges = edges_at(state_.next_reload_tick) - state_.edges_seen;
    restart(base::wrapping_add(state_.start_ns,
                               event::ticks_to_ns(state_.next_reload_tick, frequency_hz)));
    return edges;
}

std::uint64_t PitCounter::collect_edges(std::uint64_t now_ns) {
    if (!state_.running) {
        return 0;
    }
    std::uint64_t edges = take_next_reload(now_ns);
    const std::uint64_t reached = edges_at(ticks(now_ns));
    edges += reached - state_.edges_seen;
    state_.edges_seen = reached;
    return edges;
}

std::uint64_t PitCounter::next_edge_ns() const {
    if (!state_.running || state_.held || (!periodic() && state_.edges_seen != 0)) {
        return never;
    }
    return base::wrapping_add(state_.start_ns,
                              event::ticks_to_ns(edge_tick(state_.edges_seen + 1), frequency_hz));
}

std::uint32_t PitCounter::square_wave_count(std::uint64_t position) const {
    const std::uint32_t first_half = (state_.reload + 1) / 2;
    const auto place = static_cast<std::uint32_t>(position);
    const std::uint32_t in_half = place < first_half ? place : place - first_half;
    return (state_.reload & ~std::uint32_t{1}) - 2 * in_half;
}

std::uint16_t PitCounter::count(std::uint64_t now_ns) const {
    const std::uint64_t passed = ticks(now_ns);
    std::uint64_t value = 0;
    switch (mode()) {
        case Mode::rate_generator:
            value = state_.reload - passed % state_.reload;
            break;
        case Mode::square_wave:
            value = square_wave_count(passed % state_.reload);
            break;
        default:
            // Goes on below zero, from the highest count.
            value = state_.reload + modulus() - passed % modulus();
            break;
    }
    const auto shown = static_cast<std::uint32_t>(value % modulus());
    return bcd() ? to_bcd(shown) : static_cast<std::uint16_t>(shown);
}

void PitCounter::latch_count(std::uint64_t now_ns) {
    if (state_.latched_bytes != 0) {
        return;
    }
    state_.latched_count = count(now_ns);
    state_.latched_bytes = control_access.of(state_.control) == access_both ? 2 : 1;
    state_.read_high_next = false;
}

void PitCounter::latch_status(std::uint64_t now_ns) {
    if (state_.status_latched) {
        return;
    }
    const bool null_count = state_.next_reload != 0 || !state_.running;
    state_.latched_status =
        status_output.with(status_null_count.with(state_.control, null_count), output(now_ns));
    state_.status_latched = true;
}

std::uint8_t PitCounter::read_count(std::uint64_t now_ns) {
    if (state_.status_latched) {
        state_.status_latched = false;
        return state_.latched_status;
    }
    const bool latched = state_.latched_bytes != 0;
    const std::uint16_t value = latched ? state_.latched_count : count(now_ns);
    if (latched) {
        --state_.latched_bytes;
    }
    bool high = false;
    switch (control_access.of(state_.control)) {
        case access_low:
            break;
        case access_high:
            high = true;
            break;
        default:
            high = state_.read_high_next;
            state_.read_high_next = !high;
            break;
    }
    return static_cast<std::uint8_t>(high ? value >> 8 : value);
}

void PitCounter::visit(snapshot::Visitor& visitor, std::uint64_t now_ns) {
    std::uint64_t elapsed_ns = state_.running && !state_.held ? now_ns - state_.start_ns : 0;
    visitor.field("control", state_.control);
    visitor.field("gate", state_.gate);
    visitor.field("running", state_.running);
    visitor.field("held", state_.held);
    visitor.field("reload", state_.reload);
    visitor.field("next_reload", state_.next_reload);
    visitor.field("elapsed_ns", elapsed_ns);
    visitor.field("held_ticks", state_.held_ticks);
    visitor.field("write_high_next", state_.write_high_next);
    visitor.field("read_high_next", state_.read_high_next);
    visitor.field("write_low", state_.write_low);
    visitor.field("status_latched", state_.status_latched);
    visitor.field("latched_status", state_.latched_status);
    visitor.field("latched_bytes", state_.latched_bytes);
    visitor.field("latched_count", state_.latched_count);
    if (visitor.restoring()) {
        // A bound that no run of this part reaches and no sum can overflow.
        state_.start_ns = base::wrapping_sub(now_ns, elapsed_ns & base::mask(60));
        sanitise();
        state_.edges_seen = state_.running ? edges_at(ticks(now_ns)) : 0;
        state_.next_reload_tick = cycle_end_tick(now_ns);
    }
}

void PitCounter::sanitise() {
    state_.control &= control_kept;
    if (control_access.of(state_.control) == 0) {
        state_.control = control_access.with(state_.control, access_both);
    }
    const bool triggered = mode() == Mode::one_shot || mode() == Mode::hardware_strobe;
    state_.reload = std::clamp(state_.reload, 1U, modulus());
    state_.next_reload = periodic() || triggered ? std::min(state_.next_reload, modulus()) : 0;
    state_.held = state_.running && !state_.gate && !triggered;
    state_.held_ticks &= base::mask(50);
    state_.latched_bytes = std::min<std::uint8_t>(state_.latched_bytes, 2);
}

}  // namespace cupule::device
