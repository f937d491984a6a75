#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "device/timer/pit_counter.h"
#include "event/clock.h"
#include "event/timer.h"
#include "io/io_handler.h"
#include "irq/interrupt.h"
#include "snapshot/device.h"

namespace cupule::device {

/// The PC's interval timer: three counters at ports 0x40 to 0x43, and port 0x61 with counter 2's
/// gate. Counter 0's output is IRQ 0, counter 1 once refreshed memory, counter 2 is the speaker's.
///
/// Models: modes 0 to 5, binary and BCD, byte and word access, counter latch and read-back
///   commands, null count, a new count that waits for the end of the cycle (modes 2, 3), gates;
///   port 0x61: gate 2, speaker and NMI enables (stored), refresh toggle, OUT2.
/// Leaves out: the clock between writing a count and its loading (the first count lasts N, not
///   N + 1 clocks); an edge of OUT caused by writing a control word; parity and channel-check NMI.
/// Differs on purpose: nothing counts; counts follow from the clock and each edge's time from the
///   programmed start, so nothing drifts. Edges a late host finds together are one pulse, and
///   the host's timer for counter 0 rests 20 us after each pulse whatever the guest programs.
/// Intel 8254 data sheet 231164-005 (1993); port 61h: Intel ICH9 data sheet 316972-004, 13.7.1.
class Pit8254 : public io::IoHandler, public snapshot::Device {
  public:
    static constexpr std::uint64_t port_count = 4;
    static constexpr std::uint64_t system_control_port_count = 1;
    static constexpr std::uint64_t pulse_interval_min_ns = 20'000;

    Pit8254(irq::EdgeLine& line, const event::Clock& clock, event::TimerService& timers);

    /// Ports 0x40 to 0x43.
    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    std::string_view register_name(std::uint64_t offset) const override;

    /// Port 0x61, under the same monitor.
    io::IoHandler& system_control() { return system_control_; }

    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

    /// Edges of counter 0 that were merged into a later pulse.
    std::uint64_t lost_interrupts() const { return lost_interrupts_; }

  private:
    class SystemControl : public io::IoHandler {
      public:
        explicit SystemControl(Pit8254& pit) : pit_(pit) {}
        std::uint64_t read(std::uint64_t offset, unsigned size) override;
        void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
        std::string_view register_name(std::uint64_t) const override { return "NMI_SC"; }

      private:
        Pit8254& pit_;
    };

    struct State {
        std::array<PitCounter, 3> counters{};
        std::uint8_t system_control = 0;  // port 0x61, writable bits
    };

    std::uint8_t read_port(std::uint64_t port);
    void write_port(std::uint64_t port, std::uint8_t value);
    void write_command(std::uint8_t value);
    std::uint8_t read_system_control() const;
    void write_system_control(std::uint8_t value);
    void power_on();
    void settle();
    void arm_timer();

    irq::EdgeLine& line_;
    const event::Clock& clock_;
    SystemControl system_control_{*this};
    State state_;
    std::uint64_t last_pulse_ns_ = 0;
    std::uint64_t lost_interrupts_ = 0;
    std::unique_ptr<event::Timer> timer_;
};

}  // namespace cupule::device
