#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace cupule::hypervisor {

/// One 8259A interrupt controller; two of them make Pic8259aPair.
///
/// Models: ICW1 to ICW4, OCW1 to OCW3; fully and special fully nested mode, automatic end of
///   interrupt, rotation, special mask mode, the poll command; edge or level for each input by
///   ELCR.
/// Leaves out: LTIM of ICW1 (ELCR decides), 8085 mode, buffered mode.
/// Differs on purpose: a request on an edge-triggered input stays when the line falls again, so
///   that a pulse is one interrupt; it goes by acknowledgement or initialisation.
/// Intel 8259A data sheet 231468-003 (1988); ELCR: Intel PIIX3 data sheet 290550-002, 2.5.8.
class Pic8259a {
  public:
    /// `level_inputs`: those that ELCR may make level-triggered.
    explicit Pic8259a(std::uint8_t level_inputs) : level_inputs_(level_inputs) {}

    /// A0 is 0 (command) or 1 (data).
    std::uint8_t read(unsigned a0);
    void write(unsigned a0, std::uint8_t value);
    std::uint8_t elcr() const { return state_.elcr; }
    void set_elcr(std::uint8_t value);

    void set_input(unsigned input, bool high);
    /// The input that asks for an interrupt now.
    std::optional<unsigned> pending() const;
    /// The acknowledge cycle: 7, without a request, when what asked is gone. `master_of_cascade`
    /// in special fully nested mode lets the other chip nest.
    unsigned acknowledge();
    std::uint8_t vector(unsigned input) const;

    /// Power-on; the levels of the inputs stay.
    void reset() { state_ = State{}; }

  private:
    /// What the next write to A0 = 1 is.
    enum class Expects : std::uint8_t { mask, icw2, icw3, icw4 };
    struct State {
        std::uint8_t requests = 0;    // IRR
        std::uint8_t in_service = 0;  // ISR
        std::uint8_t mask = 0;        // IMR
        std::uint8_t elcr = 0;
        std::uint8_t vector_base = 0;  // T7:T3
        std::uint8_t highest = 0;      // the input of highest priority
        Expects expects = Expects::mask;
        bool has_icw4 = false;
        bool single = false;
        bool reads_in_service = false;
        bool polls = false;
        bool special_mask = false;
        bool special_fully_nested = false;
        bool automatic_end = false;
        bool rotates_automatically = false;
    };

    void initialise(std::uint8_t icw1);
    void write_data(std::uint8_t value);
    void write_ocw2(std::uint8_t value);
    void write_ocw3(std::uint8_t value);
    void end(unsigned input, bool rotate);
    std::uint8_t poll();
    /// How many steps below the highest the best of `inputs` stands; 8 for none.
    unsigned priority_of(std::uint8_t inputs) const;

    const std::uint8_t level_inputs_;
    State state_;
    std::uint8_t levels_ = 0;
};

/// The PC's two 8259As, the second on input 2 of the first, at ports 0x20, 0xA0 and 0x4D0.
class Pic8259aPair {
  public:
    static constexpr unsigned inputs = 16;

    /// Whether `port` is one of the chips'.
    static bool owns(std::uint64_t port);
    /// `port` is owned.
    std::uint8_t read(std::uint64_t port);
    void write(std::uint64_t port, std::uint8_t value);

    /// Drives ISA interrupt `irq`, below 16.
    void set_input(unsigned irq, bool high);
    /// INTR: a processor that listens shall acknowledge.
    bool output() const { return chips_[0].pending().has_value(); }
    /// The acknowledge cycle; the vector, that of the spurious interrupt where the cause is gone.
    std::uint8_t acknowledge();
    void reset();

  private:
    void update_cascade();

    std::array<Pic8259a, 2> chips_{Pic8259a{0xF8}, Pic8259a{0xDE}};
};

}  // namespace cupule::hypervisor
