#include "device/input/ps2_keyboard.h"

#include <array>
#include <utility>

#include "device/input/ps2_commands.h"
#include "device/input/ps2_scan_codes.h"

namespace cupule::device {

using namespace ps2;

void Ps2Keyboard::key(std::uint16_t code, bool pressed) {
    if (!state_.scanning) {
        return;
    }
    KeySequence sequence = key_sequence(code, pressed, state_.scan_code_set);
    // One byte stays free for the overrun code. A sequence goes in whole or not at all.
    if (state_.codes.room() <= sequence.size()) {
        if (!std::exchange(state_.overrun, true)) {
            state_.codes.push(state_.scan_code_set == 1 ? 0xFF : 0x00);
        }
        return;
    }
    while (!sequence.empty()) {
        state_.codes.push(sequence.take());
    }
}

std::uint8_t Ps2Keyboard::take() {
    const bool reply = !state_.replies.empty();
    state_.last_sent = reply ? state_.replies.take() : state_.codes.take();
    state_.overrun = state_.overrun && !state_.codes.empty();
    return state_.last_sent;
}

void Ps2Keyboard::receive(std::uint8_t byte) {
    const std::uint8_t awaiting = std::exchange(state_.awaiting, std::uint8_t{0});
    state_.replies.clear();
    if (awaiting != 0 && byte < set_lights) {
        parameter(awaiting, byte);
    } else {
        command(byte);  // A command in place of a parameter ends the command before.
    }
}

void Ps2Keyboard::command(std::uint8_t command) {
    switch (command) {
        case set_lights:
        case scan_code_set:
        case set_typematic:
            state_.awaiting = command;
            state_.replies.push(acknowledge);
            break;
        case echo:
            state_.replies.push(echo);
            break;
        case identify:
            state_.replies.push(std::array<std::uint8_t, 3>{acknowledge, 0xAB, 0x83});
            break;
        case enable:
            state_.codes.clear();
            state_.scanning = true;
            state_.replies.push(acknowledge);
            break;
        case disable:
            set_defaults();
            state_.scanning = false;
            state_.replies.push(acknowledge);
            break;
        case defaults:
            set_defaults();
            state_.replies.push(acknowledge);
            break;
        case resend:
            state_.replies.push(state_.last_sent);
            break;
        case reset_device:
            reset();
            state_.replies.push(std::array<std::uint8_t, 2>{acknowledge, self_test_passed});
            break;
        default:
            state_.replies.push(resend);
            break;
    }
}

void Ps2Keyboard::parameter(std::uint8_t command, std::uint8_t value) {
    switch (command) {
        case set_lights:
            state_.lights = value & 0x7;
            state_.replies.push(acknowledge);
            break;
        case set_typematic:
            state_.typematic = value & 0x7F;
            state_.replies.push(acknowledge);
            break;
        case scan_code_set:
            if (value > 2) {
                state_.replies.push(resend);
                break;
            }
            state_.replies.push(acknowledge);
            if (value == 0) {
                state_.replies.push(state_.scan_code_set);
            } else {
                state_.scan_code_set = value;
                state_.codes.clear();
            }
            break;
        default:
            break;
    }
}

void Ps2Keyboard::set_defaults() {
    const State fresh;
    state_.codes.clear();
    state_.typematic = fresh.typematic;
    state_.scan_code_set = fresh.scan_code_set;
}

void Ps2Keyboard::visit(snapshot::Visitor& visitor) {
    visitor.begin("keyboard");
    visitor.field("awaiting", state_.awaiting);
    visitor.field("scanning", state_.scanning);
    visitor.field("scan_code_set", state_.scan_code_set);
    visitor.field("lights", state_.lights);
    visitor.field("typematic", state_.typematic);
    visitor.field("last_sent", state_.last_sent);
    visitor.field("overrun", state_.overrun);
    visitor.begin("replies");
    state_.replies.visit(visitor);
    visitor.end();
    visitor.begin("codes");
    state_.codes.visit(visitor);
    visitor.end();
    visitor.end();
    if (visitor.restoring()) {
        state_.scan_code_set = state_.scan_code_set == 1 ? 1 : 2;
        state_.lights &= 0x7;
        state_.typematic &= 0x7F;
    }
}

}  // namespace cupule::device
