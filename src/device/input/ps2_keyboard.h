#pragma once

#include <cstdint>

#include "backend/input_sink.h"
#include "device/input/ps2_queue.h"
#include "snapshot/visitor.h"

namespace cupule::device {

/// PS/2 keyboard with 105 keys on the controller's first port.
/// Document: IBM PS/2 Hardware Interface Technical Reference, Keyboards (101- and 102-key), 1990.
///
/// Models: scan code sets 1 and 2, commands ED EE F0 F2 to F6 FE FF, a buffer of 16 bytes with the
/// overrun code, indicator lights and typematic rate as stored values.
/// Leaves out: set 3 and its commands, the shift codes that Num Lock puts around cursor keys.
/// Differs on purpose: it answers at once; there is no AAh after power-on, as a PC's firmware has
/// taken it by the time an operating system looks; typematic repeat is the front end's.
class Ps2Keyboard : public backend::KeyboardSink {
  public:
    void key(std::uint16_t code, bool pressed) override;

    /// A byte from the controller.
    void receive(std::uint8_t byte);
    bool has_output() const { return !state_.replies.empty() || !state_.codes.empty(); }
    /// The next byte for the controller; replies come before keys.
    std::uint8_t take();

    /// Scroll, Num and Caps Lock in bits 0 to 2, as the guest set them.
    std::uint8_t lights() const { return state_.lights; }

    void reset() { state_ = State{}; }
    void visit(snapshot::Visitor& visitor);

  private:
    struct State {
        /// The command whose parameter comes next; 0 for none.
        std::uint8_t awaiting = 0;
        bool scanning = true;
        std::uint8_t scan_code_set = 2;
        std::uint8_t lights = 0;
        std::uint8_t typematic = 0x2B;  // 500 ms, 10.9 a second
        std::uint8_t last_sent = 0;
        bool overrun = false;
        Ps2Queue<8> replies{};
        Ps2Queue<16> codes{};
    };

    void command(std::uint8_t command);
    void parameter(std::uint8_t command, std::uint8_t value);
    void set_defaults();

    State state_;
};

}  // namespace cupule::device
