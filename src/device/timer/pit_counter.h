#pragma once

#include <cstdint>

#include "snapshot/visitor.h"

namespace cupule::device {

/// One counter of an 8254 as a function of time: given when its count was loaded, every later count
/// and output level follows from the clock, so nothing ticks. Times are now_ns of the owner's clock
/// and never go back; the owner calls `collect_edges` before anything else at a new time.
/// Intel 8254 data sheet 231164-005 (1993), "Operational Description" and "Mode Definitions".
class PitCounter {
  public:
    static constexpr std::uint64_t frequency_hz = 1'193'182;
    /// No edge will come.
    static constexpr std::uint64_t never = ~std::uint64_t{0};

    /// The counter's part of a control word: RW1:RW0 not zero. Stops counting until a count is
    /// written.
    void write_control(std::uint8_t control, std::uint64_t now_ns);
    /// One byte of a count, in the order the control word asked for.
    void write_count(std::uint8_t byte, std::uint64_t now_ns);
    /// The next byte of a latched status, a latched count, or the live count.
    std::uint8_t read_count(std::uint64_t now_ns);
    /// Freeze what `read_count` gives; a latch not yet read stays (counter latch, read-back).
    void latch_count(std::uint64_t now_ns);
    void latch_status(std::uint64_t now_ns);

    void set_gate(bool high, std::uint64_t now_ns);
    bool gate() const { return state_.gate; }
    bool output(std::uint64_t now_ns) const;

    /// How many times the output has risen since the last call, at most what counting made: writing
    /// a control word is not an edge.
    std::uint64_t collect_edges(std::uint64_t now_ns);
    /// When the output rises next after the edges collected, or `never`.
    std::uint64_t next_edge_ns() const;
    bool periodic() const;

    /// Names the fields; times are stored as what has passed at `now_ns`.
    void visit(snapshot::Visitor& visitor, std::uint64_t now_ns);

  private:
    struct State {
        std::uint8_t control = 0x30;  // RW, mode and BCD bits of the last control word
        bool gate = true;
        /// A count was loaded (modes 1 and 5: and a trigger came) since the control word.
        bool running = false;
        /// The gate holds the count at `held_ticks`.
        bool held = false;
        std::uint32_t reload = 0x10000;  // 1 to 65536 (10000 in BCD)
        std::uint32_t next_reload = 0;   // written but not loaded; 0: none
        std::uint64_t next_reload_tick = 0;
        std::uint64_t start_ns = 0;
        std::uint64_t held_ticks = 0;
        std::uint64_t edges_seen = 0;

        bool write_high_next = false;
        bool read_high_next = false;
        std::uint8_t write_low = 0;
        bool status_latched = false;
        std::uint8_t latched_status = 0;
        std::uint8_t latched_bytes = 0;  // of latched_count still to be read
        std::uint16_t latched_count = 0;
    };

    enum class Mode : std::uint8_t {
        terminal_count = 0,
        one_shot = 1,
        rate_generator = 2,
        square_wave = 3,
        software_strobe = 4,
        hardware_strobe = 5,
    };

    Mode mode() const;
    bool bcd() const;
    std::uint32_t modulus() const { return bcd() ? 10'000 : 0x10000; }
    std::uint64_t ticks(std::uint64_t now_ns) const;
    std::uint64_t edges_at(std::uint64_t ticks) const;
    std::uint64_t edge_tick(std::uint64_t edge) const;
    std::uint16_t count(std::uint64_t now_ns) const;
    std::uint32_t square_wave_count(std::uint64_t position) const;
    void load(std::uint32_t reload, std::uint64_t now_ns);
    void restart(std::uint64_t now_ns);
    void hold(std::uint64_t now_ns);
    std::uint64_t take_next_reload(std::uint64_t now_ns);
    std::uint64_t cycle_end_tick(std::uint64_t now_ns) const;
    void sanitise();

    State state_;
};

}  // namespace cupule::device
