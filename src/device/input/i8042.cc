#include "device/input/i8042.h"

#include <utility>

#include "device/input/ps2_scan_codes.h"

namespace cupule::device {

using namespace i8042;

namespace {

/// Key lock open, no manufacturing jumper (IBM, input port).
constexpr std::uint8_t input_port_pins = 0xA0;
constexpr std::uint8_t self_test_ok = 0x55;
constexpr std::uint8_t port_test_ok = 0x00;
constexpr std::uint8_t no_password = 0xF1;
constexpr std::uint8_t release_prefix = 0xF0;
constexpr std::uint8_t release_bit = 0x80;

/// Whether the byte that is written to port 60h next belongs to the command.
bool takes_byte(std::uint8_t command) {
    return (command >= write_ram && command < write_ram + ram_size) ||
           (command >= write_output_port && command <= write_mouse);
}

}  // namespace

I8042::I8042(irq::LevelLine& keyboard_irq, irq::LevelLine& mouse_irq, ResetLine& reset_line)
    : keyboard_irq_(keyboard_irq), mouse_irq_(mouse_irq), reset_line_(reset_line) {}

std::uint8_t I8042::read_data() {
    const std::uint8_t value = state_.output;
    if (state_.output_full) {
        state_.output_full = false;
        update_irq();  // The line falls before the next byte raises it: an edge for each byte.
        fill_output();
    }
    return value;
}

std::uint8_t I8042::read_status() const {
    std::uint8_t value = 0;
    value = status::output_full.with(value, state_.output_full);
    value = status::system.with(value, control::system.of(control()));
    value = status::last_command.with(value, state_.last_write_was_command);
    value = status::not_inhibited.set(value);
    value = status::output_aux.with(value, state_.output_full && state_.output_from_mouse);
    return value;
}

void I8042::write_data(std::uint8_t value) {
    state_.last_write_was_command = false;
    const std::uint8_t command = std::exchange(state_.awaiting, std::uint8_t{0});
    if (command == 0) {
        send_to_keyboard(value);
    } else {
        run_command_with_byte(command, value);
    }
    fill_output();
}

void I8042::write_command(std::uint8_t command) {
    state_.last_write_was_command = true;
    state_.awaiting = 0;
    run_command(command);
    fill_output();
}

void I8042::run_command(std::uint8_t command) {
    if (command >= read_ram && command < read_ram + ram_size) {
        reply(state_.ram[command - read_ram]);
        return;
    }
    if (command >= pulse_output) {
        // A zero in bits 3:0 pulls its output pin down for a moment; pin 0 is the reset.
        if (!output_port::not_reset.of(command)) {
            reset_line_.pulse_reset();
        }
        return;
    }
    if (takes_byte(command)) {
        state_.awaiting = command;
        return;
    }
    switch (command) {
        case test_password:
            reply(no_password);
            break;
        case disable_mouse:
        case enable_mouse:
            set_control_bit(control::mouse_disabled.mask, command == disable_mouse);
            break;
        case disable_keyboard:
        case enable_keyboard:
            set_control_bit(control::keyboard_disabled.mask, command == disable_keyboard);
            break;
        case test_mouse_port:
        case test_keyboard_port:
            reply(port_test_ok);
            break;
        case self_test:
            set_control_bit(control::system.mask, true);
            reply(self_test_ok);
            break;
        case i8042::read_input_port:
            reply(input_port_pins);
            break;
        case i8042::read_output_port:
            reply(read_output_port());
            break;
        default:
            unknown_command_.report(command);
            break;
    }
}

void I8042::run_command_with_byte(std::uint8_t command, std::uint8_t value) {
    switch (command) {
        case write_output_port:
            set_output_port(value);
            break;
        case write_keyboard_output:
            reply(value);
            break;
        case write_mouse_output:
            reply(value, true);
            break;
        case write_mouse:
            send_to_mouse(value);
            break;
        case write_ram:
            state_.ram[0] = value & control::writable;
            update_irq();
            break;
        default:
            state_.ram[command & (ram_size - 1)] = value;
            break;
    }
}

void I8042::set_control_bit(std::uint8_t bit_mask, bool on) {
    state_.ram[0] = static_cast<std::uint8_t>(on ? control() | bit_mask : control() & ~bit_mask);
}

void I8042::set_output_port(std::uint8_t value) {
    state_.output_port = value & output_port::writable;
    if (!output_port::not_reset.of(value)) {
        reset_line_.pulse_reset();
    }
}

std::uint8_t I8042::read_output_port() const {
    std::uint8_t value = state_.output_port;
    value = output_port::keyboard_full.with(value, state_.output_full && !state_.output_from_mouse);
    return output_port::mouse_full.with(value, state_.output_full && state_.output_from_mouse);
}

void I8042::send_to_keyboard(std::uint8_t value) {
    // Sending opens the port, so that the answer can come.
    set_control_bit(control::keyboard_disabled.mask, false);
    state_.release_follows = false;
    keyboard_.receive(value);
}

void I8042::send_to_mouse(std::uint8_t value) {
    set_control_bit(control::mouse_disabled.mask, false);
    mouse_.receive(value);
}

void I8042::reply(std::uint8_t value, bool from_mouse) {
    state_.reply = value;
    state_.reply_from_mouse = from_mouse;
    state_.reply_waits = true;
}

void I8042::put_output(std::uint8_t value, bool from_mouse) {
    state_.output = value;
    state_.output_full = true;
    state_.output_from_mouse = from_mouse;
}

void I8042::fill_output() {
    std::uint8_t value = 0;
    if (state_.output_full) {
        return;
    }
    if (std::exchange(state_.reply_waits, false)) {
        put_output(state_.reply, state_.reply_from_mouse);
    } else if (take_from_keyboard(value)) {
        put_output(value, false);
    } else if (!control::mouse_disabled.of(control()) && mouse_.has_output()) {
        put_output(mouse_.take(), true);
    }
    update_irq();
}

bool I8042::take_from_keyboard(std::uint8_t& value) {
    while (!control::keyboard_disabled.of(control()) && keyboard_.has_output()) {
        value = keyboard_.take();
        if (!control::translate.of(control())) {
            state_.release_follows = false;
            return true;
        }
        if (value == release_prefix) {
            state_.release_follows = true;
            continue;
        }
        value = set_2_to_set_1(value);
        if (std::exchange(state_.release_follows, false)) {
            value |= release_bit;
        }
        return true;
    }
    return false;
}

void I8042::key(std::uint16_t code, bool pressed) {
    keyboard_.key(code, pressed);
    fill_output();
}

void I8042::move(int dx, int dy, int wheel, std::uint8_t buttons) {
    mouse_.move(dx, dy, wheel, buttons);
    fill_output();
}

void I8042::reset() {
    keyboard_.reset();
    mouse_.reset();
    state_ = State{};
    update_irq();
}

void I8042::visit(snapshot::Visitor& visitor) {
    visitor.field("ram", state_.ram);
    visitor.field("output_port", state_.output_port);
    visitor.field("output", state_.output);
    visitor.field("output_full", state_.output_full);
    visitor.field("output_from_mouse", state_.output_from_mouse);
    visitor.field("reply", state_.reply);
    visitor.field("reply_waits", state_.reply_waits);
    visitor.field("reply_from_mouse", state_.reply_from_mouse);
    visitor.field("last_write_was_command", state_.last_write_was_command);
    visitor.field("awaiting", state_.awaiting);
    visitor.field("release_follows", state_.release_follows);
    keyboard_.visit(visitor);
    mouse_.visit(visitor);
    if (visitor.restoring()) {
        state_.ram[0] &= control::writable;
        state_.output_port &= output_port::writable;
        state_.awaiting = takes_byte(state_.awaiting) ? state_.awaiting : std::uint8_t{0};
        update_irq();
        fill_output();
    }
}

void I8042::update_irq() {
    const bool mouse = state_.output_from_mouse;
    keyboard_irq_.set_level(state_.output_full && !mouse &&
                            control::keyboard_interrupt.of(control()));
    mouse_irq_.set_level(state_.output_full && mouse && control::mouse_interrupt.of(control()));
}

}  // namespace cupule::device
