#include "device/timer/pit_8254.h"

#include <algorithm>

#include "base/field.h"
#include "device/byte_lanes.h"

namespace cupule::device {
namespace {

using base::Bit;
using base::Field;

constexpr std::uint64_t port_command = 3;
constexpr std::uint8_t write_only_value = 0xFF;

namespace command {
constexpr Field<std::uint8_t, 7, 6> select{};    // SC1:SC0
constexpr Field<std::uint8_t, 5, 4> access{};    // RW1:RW0, 0: counter latch
constexpr Bit<std::uint8_t, 5> keep_count{};     // COUNT# of the read-back command
constexpr Bit<std::uint8_t, 4> keep_status{};    // STATUS# of the read-back command
constexpr Field<std::uint8_t, 3, 1> counters{};  // CNT2:CNT0 of the read-back command
constexpr std::uint8_t select_read_back = 3;
}  // namespace command

namespace port_61 {
constexpr Bit<std::uint8_t, 0> gate_2{};    // TIM_CNT2_EN
constexpr Bit<std::uint8_t, 4> refresh{};   // REF_TOGGLE
constexpr Bit<std::uint8_t, 5> output_2{};  // TMR2_OUT_STS
constexpr std::uint8_t writable = 0x0F;
/// The refresh request came every 18 ticks of the timer's clock and toggled the bit.
constexpr std::uint64_t refresh_ticks = 18;
}  // namespace port_61

}  // namespace

Pit8254::Pit8254(irq::EdgeLine& line, const event::Clock& clock, event::TimerService& timers)
    : line_(line), clock_(clock), timer_(timers.make_timer([this] {
          settle();
          arm_timer();
      })) {
    power_on();
}

void Pit8254::power_on() {
    state_ = State{};
    state_.counters[2].set_gate(false, clock_.now_ns());
}

std::uint64_t Pit8254::read(std::uint64_t offset, unsigned size) {
    settle();
    return read_byte_lanes(offset, size, [this](std::uint64_t port) { return read_port(port); });
}

void Pit8254::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    settle();
    write_byte_lanes(offset, size, value,
                     [this](std::uint64_t port, std::uint8_t byte) { write_port(port, byte); });
    arm_timer();
}

std::string_view Pit8254::register_name(std::uint64_t offset) const {
    constexpr std::array<std::string_view, 4> names = {"COUNTER0", "COUNTER1", "COUNTER2",
                                                       "CONTROL"};
    return names[offset % names.size()];
}

std::uint8_t Pit8254::read_port(std::uint64_t port) {
    return port >= port_command ? write_only_value
                                : state_.counters[port].read_count(clock_.now_ns());
}

void Pit8254::write_port(std::uint64_t port, std::uint8_t value) {
    if (port >= port_command) {
        write_command(value);
    } else {
        state_.counters[port].write_count(value, clock_.now_ns());
    }
}

void Pit8254::write_command(std::uint8_t value) {
    const std::uint64_t now_ns = clock_.now_ns();
    const std::uint8_t select = command::select.of(value);
    if (select != command::select_read_back) {
        PitCounter& counter = state_.counters[select];
        if (command::access.of(value) == 0) {
            counter.latch_count(now_ns);
        } else {
            counter.write_control(value, now_ns);
        }
        return;
    }
    for (unsigned i = 0; i < state_.counters.size(); ++i) {
        if ((command::counters.of(value) >> i & 1) == 0) {
            continue;
        }
        if (!command::keep_count.of(value)) {
            state_.counters[i].latch_count(now_ns);
        }
        if (!command::keep_status.of(value)) {
            state_.counters[i].latch_status(now_ns);
        }
    }
}

std::uint64_t Pit8254::SystemControl::read(std::uint64_t /*offset*/, unsigned /*size*/) {
    pit_.settle();
    return pit_.read_system_control();
}

void Pit8254::SystemControl::write(std::uint64_t /*offset*/, unsigned /*size*/,
                                   std::uint64_t value) {
    pit_.settle();
    pit_.write_system_control(static_cast<std::uint8_t>(value));
}

std::uint8_t Pit8254::read_system_control() const {
    const std::uint64_t now_ns = clock_.now_ns();
    const std::uint64_t toggles =
        event::ns_to_ticks(now_ns, PitCounter::frequency_hz) / port_61::refresh_ticks;
    return port_61::output_2.with(port_61::refresh.with(state_.system_control, (toggles & 1) != 0),
                                  state_.counters[2].output(now_ns));
}

void Pit8254::write_system_control(std::uint8_t value) {
    state_.system_control = value & port_61::writable;
    state_.counters[2].set_gate(port_61::gate_2.of(value), clock_.now_ns());
}

/// Brings every counter up to now and passes counter 0's edges on.
void Pit8254::settle() {
    const std::uint64_t now_ns = clock_.now_ns();
    const std::uint64_t edges = state_.counters[0].collect_edges(now_ns);
    state_.counters[1].collect_edges(now_ns);
    state_.counters[2].collect_edges(now_ns);
    if (edges == 0) {
        return;
    }
    lost_interrupts_ += edges - 1;
    last_pulse_ns_ = now_ns;
    line_.pulse();
}

void Pit8254::arm_timer() {
    const std::uint64_t edge_ns = state_.counters[0].next_edge_ns();
    if (edge_ns == PitCounter::never) {
        timer_->stop();
        return;
    }
    const bool periodic = state_.counters[0].periodic();
    timer_->start_at(periodic ? std::max(edge_ns, last_pulse_ns_ + pulse_interval_min_ns)
                              : edge_ns);
}

void Pit8254::reset() {
    power_on();
    last_pulse_ns_ = 0;
    lost_interrupts_ = 0;
    arm_timer();
}

void Pit8254::visit(snapshot::Visitor& visitor) {
    settle();
    const std::uint64_t now_ns = clock_.now_ns();
    constexpr std::array<std::string_view, 3> names = {"counter0", "counter1", "counter2"};
    for (std::size_t i = 0; i < state_.counters.size(); ++i) {
        visitor.begin(names[i]);
        state_.counters[i].visit(visitor, now_ns);
        visitor.end();
    }
    visitor.field("system_control", state_.system_control);
    if (visitor.restoring()) {
        // Two gates are tied high; the third follows its bit.
        state_.system_control &= port_61::writable;
        state_.counters[0].set_gate(true, now_ns);
        state_.counters[1].set_gate(true, now_ns);
        state_.counters[2].set_gate(port_61::gate_2.of(state_.system_control), now_ns);
    }
    arm_timer();
}

}  // namespace cupule::device
