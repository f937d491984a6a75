#include "device/input/ps2_mouse.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/field.h"
#include "device/input/ps2_commands.h"

namespace cupule::device {

using namespace ps2;

namespace {

using base::Bit;

constexpr std::uint8_t wheel_identifier = 3;
constexpr std::uint8_t all_buttons =
    backend::button_left | backend::button_right | backend::button_middle;

// The first byte of a packet; its low bits are the buttons.
constexpr Bit<std::uint8_t, 3> packet_start{};
constexpr Bit<std::uint8_t, 4> x_negative{};
constexpr Bit<std::uint8_t, 5> y_negative{};

// The first byte of the status report.
constexpr Bit<std::uint8_t, 0> status_right{};
constexpr Bit<std::uint8_t, 1> status_middle{};
constexpr Bit<std::uint8_t, 2> status_left{};
constexpr Bit<std::uint8_t, 4> status_scaled{};
constexpr Bit<std::uint8_t, 5> status_reporting{};
constexpr Bit<std::uint8_t, 6> status_remote{};

std::int16_t add(std::int16_t counter, int change) {
    constexpr int limit = 0x7FFF;
    return static_cast<std::int16_t>(
        std::clamp(counter + std::clamp(change, -limit, limit), -limit, limit));
}

/// 2:1 scaling: slow motion as it is, fast motion doubled.
int scale(int count) {
    constexpr std::array<int, 6> slow = {0, 1, 1, 3, 6, 9};
    const int size = std::abs(count);
    const int scaled = size < 6 ? slow[static_cast<unsigned>(size)] : size * 2;
    return count < 0 ? -scaled : scaled;
}

}  // namespace

void Ps2Mouse::move(int dx, int dy, int wheel, std::uint8_t buttons) {
    state_.buttons = buttons & all_buttons;
    if (!state_.reporting && !state_.remote) {
        return;
    }
    constexpr int limit = 0x7FFF;  // so that the sign can change
    state_.x = add(state_.x, dx);
    state_.y = add(state_.y, -std::clamp(dy, -limit, limit));
    state_.z = add(state_.z, -std::clamp(wheel, -limit, limit));
    report();
}

void Ps2Mouse::report() {
    const bool moved =
        state_.x != 0 || state_.y != 0 || (state_.z != 0 && state_.identifier == wheel_identifier);
    const bool news = moved || state_.buttons != state_.buttons_sent;
    if (news && state_.reporting && !state_.remote && !state_.wrapped && !has_output()) {
        state_.packets = make_packet();
    }
}

std::uint8_t Ps2Mouse::take_axis(std::int16_t& counter, bool scaled, bool& negative) const {
    const int limit = scaled ? 127 : 255;
    const int part = std::clamp<int>(counter, -limit, limit);
    counter = static_cast<std::int16_t>(counter - part);
    const int sent = scaled ? scale(part) : part;
    negative = sent < 0;
    return static_cast<std::uint8_t>(sent);
}

Ps2Queue<4> Ps2Mouse::make_packet() {
    const bool scaled = state_.scaled && !state_.remote;
    bool left = false;
    bool down = false;
    const std::uint8_t x = take_axis(state_.x, scaled, left);
    const std::uint8_t y = take_axis(state_.y, scaled, down);
    std::uint8_t first = packet_start.make(true) | state_.buttons;
    first = x_negative.with(first, left);
    first = y_negative.with(first, down);
    state_.buttons_sent = state_.buttons;
    Ps2Queue<4> packet;
    packet.push(std::array<std::uint8_t, 3>{first, x, y});
    if (state_.identifier == wheel_identifier) {
        const int part = std::clamp<int>(state_.z, -8, 7);
        state_.z = static_cast<std::int16_t>(state_.z - part);
        packet.push(static_cast<std::uint8_t>(part));
    } else {
        state_.z = 0;
    }
    return packet;
}

std::uint8_t Ps2Mouse::take() {
    state_.last_sent = state_.replies.empty() ? state_.packets.take() : state_.replies.take();
    report();
    return state_.last_sent;
}

void Ps2Mouse::receive(std::uint8_t byte) {
    const std::uint8_t awaiting = std::exchange(state_.awaiting, std::uint8_t{0});
    state_.replies.clear();
    if (state_.wrapped && byte != leave_wrap_mode && byte != reset_device) {
        reply(byte);
    } else if (awaiting != 0) {
        parameter(awaiting, byte);
    } else {
        command(byte);
    }
}

void Ps2Mouse::command(std::uint8_t command) {
    // Any command drops a packet under way; its motion is gone, as on the part.
    state_.packets.clear();
    if (command == resend) {
        reply(state_.last_sent);
        return;
    }
    reply(acknowledge);
    switch (command) {
        case scaling_one:
        case scaling_two:
            state_.scaled = command == scaling_two;
            break;
        case set_resolution:
        case set_sample_rate:
            state_.awaiting = command;
            break;
        case status_request:
            reply_status();
            break;
        case stream_mode:
        case remote_mode:
            state_.remote = command == remote_mode;
            break;
        case read_data:
            state_.packets = make_packet();
            break;
        case wrap_mode:
        case leave_wrap_mode:
            state_.wrapped = command == wrap_mode;
            break;
        case identify:
            reply(state_.identifier);
            break;
        case enable:
        case disable:
            state_.reporting = command == enable;
            break;
        case defaults:
            set_defaults();
            break;
        case reset_device:
            reset();
            state_.replies.push(std::array<std::uint8_t, 3>{acknowledge, self_test_passed, 0});
            break;
        default:
            state_.replies.clear();
            reply(resend);
            break;
    }
}

void Ps2Mouse::parameter(std::uint8_t command, std::uint8_t value) {
    reply(acknowledge);
    if (command == set_sample_rate) {
        set_rate(value);
    } else {
        state_.resolution = value & 0x3;
    }
}

void Ps2Mouse::set_rate(std::uint8_t rate) {
    if (state_.earlier_rates == std::array<std::uint8_t, 2>{200, 100} && rate == 80) {
        state_.identifier = wheel_identifier;
    }
    state_.earlier_rates = {state_.earlier_rates[1], rate};
    state_.sample_rate = rate;
}

void Ps2Mouse::set_defaults() {
    const State fresh;
    state_.reporting = fresh.reporting;
    state_.remote = fresh.remote;
    state_.scaled = fresh.scaled;
    state_.resolution = fresh.resolution;
    state_.sample_rate = fresh.sample_rate;
    state_.x = state_.y = state_.z = 0;
}

void Ps2Mouse::reply_status() {
    std::uint8_t first = 0;
    first = status_right.with(first, (state_.buttons & backend::button_right) != 0);
    first = status_middle.with(first, (state_.buttons & backend::button_middle) != 0);
    first = status_left.with(first, (state_.buttons & backend::button_left) != 0);
    first = status_scaled.with(first, state_.scaled);
    first = status_reporting.with(first, state_.reporting);
    first = status_remote.with(first, state_.remote);
    state_.replies.push(std::array<std::uint8_t, 3>{first, state_.resolution, state_.sample_rate});
}

void Ps2Mouse::visit(snapshot::Visitor& visitor) {
    visitor.begin("mouse");
    visitor.field("awaiting", state_.awaiting);
    visitor.field("reporting", state_.reporting);
    visitor.field("remote", state_.remote);
    visitor.field("wrapped", state_.wrapped);
    visitor.field("scaled", state_.scaled);
    visitor.field("resolution", state_.resolution);
    visitor.field("sample_rate", state_.sample_rate);
    visitor.field("earlier_rates", state_.earlier_rates);
    visitor.field("identifier", state_.identifier);
    visitor.field("buttons", state_.buttons);
    visitor.field("buttons_sent", state_.buttons_sent);
    visitor.field("x", state_.x);
    visitor.field("y", state_.y);
    visitor.field("z", state_.z);
    visitor.field("last_sent", state_.last_sent);
    visitor.begin("replies");
    state_.replies.visit(visitor);
    visitor.end();
    visitor.begin("packets");
    state_.packets.visit(visitor);
    visitor.end();
    visitor.end();
    if (visitor.restoring()) {
        state_.resolution &= 0x3;
        state_.buttons &= all_buttons;
        state_.buttons_sent &= all_buttons;
        state_.identifier = state_.identifier == wheel_identifier ? wheel_identifier : 0;
    }
}

}  // namespace cupule::device
