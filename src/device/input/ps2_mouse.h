#pragma once

#include <array>
#include <cstdint>

#include "backend/input_sink.h"
#include "device/input/ps2_queue.h"
#include "snapshot/visitor.h"

namespace cupule::device {

/// PS/2 mouse with three buttons and, once its driver has asked, a wheel.
/// Documents: IBM PS/2 Hardware Interface Technical Reference, Mouse, 1990; the IntelliMouse
/// extension (sample rates 200, 100, 80 turn the identifier from 0 to 3).
///
/// Models: stream, remote and wrap mode, commands E6 to EC, EE, F0, F2 to F6, FE, FF, 2:1 scaling.
/// Leaves out: buttons 4 and 5, absolute coordinates (virtio-input and USB have them).
/// Differs on purpose: no sample clock; motion that comes while a packet waits is added up and
/// sent in the next one. No AAh 00h after power-on (see Ps2Keyboard).
class Ps2Mouse : public backend::PointerSink {
  public:
    void move(int dx, int dy, int wheel, std::uint8_t buttons) override;

    /// A byte from the controller.
    void receive(std::uint8_t byte);
    bool has_output() const { return !state_.replies.empty() || !state_.packets.empty(); }
    /// The next byte for the controller; replies come before packets.
    std::uint8_t take();

    void reset() { state_ = State{}; }
    void visit(snapshot::Visitor& visitor);

  private:
    struct State {
        std::uint8_t awaiting = 0;
        bool reporting = false;
        bool remote = false;
        bool wrapped = false;
        bool scaled = false;
        std::uint8_t resolution = 2;
        std::uint8_t sample_rate = 100;
        /// The two sample rates set before, the older first.
        std::array<std::uint8_t, 2> earlier_rates{};
        /// 0, or 3 with a wheel.
        std::uint8_t identifier = 0;
        std::uint8_t buttons = 0;
        std::uint8_t buttons_sent = 0;
        /// Motion not sent yet, as the part counts: right, up, towards the user.
        std::int16_t x = 0;
        std::int16_t y = 0;
        std::int16_t z = 0;
        std::uint8_t last_sent = 0;
        Ps2Queue<8> replies{};
        Ps2Queue<4> packets{};
    };

    void command(std::uint8_t command);
    void parameter(std::uint8_t command, std::uint8_t value);
    void reply(std::uint8_t byte) { state_.replies.push(byte); }
    void reply_status();
    void set_rate(std::uint8_t rate);
    void set_defaults();
    /// Starts a packet when there is something to report and nothing on its way.
    void report();
    /// Moves the counters into a packet.
    Ps2Queue<4> make_packet();
    std::uint8_t take_axis(std::int16_t& counter, bool scaled, bool& negative) const;

    State state_;
};

}  // namespace cupule::device
