#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/log.h"
#include "event/clock.h"
#include "event/timer.h"
#include "io/io_handler.h"
#include "irq/interrupt.h"
#include "snapshot/device.h"

namespace cupule::device {

/// Hears when the HPET takes IRQ 0 and IRQ 8 over from the 8254 and the clock, and gives them back.
/// Called with the HPET's monitor held; may be told what it knows already.
class LegacyReplacement {
  public:
    virtual ~LegacyReplacement() = default;
    virtual void set_legacy_replacement(bool on) = 0;
};

/// The two ways to drive one interrupt input; both or neither. Not owned.
struct HpetOutput {
    irq::EdgeLine* edge = nullptr;
    irq::LevelLine* level = nullptr;
};

/// Where comparators may send interrupts.
struct HpetOutputs {
    /// Comparators 0 and 1 under legacy replacement: ISA IRQ 0 (IOAPIC input 2) and IRQ 8.
    std::array<HpetOutput, 2> legacy{};
    /// By GSI; entries left empty are not offered to the guest (Tn_INT_ROUTE_CAP).
    std::array<HpetOutput, 32> gsi{};
};

/// The high precision event timer: a 64-bit counter and eight comparators in 1 KiB of memory.
///
/// Models: comparators of 64 and 32 bits, one-shot and periodic with VAL_SET, edge and level,
/// legacy
///   replacement, routing to the GSIs it was given, delivery as messages (FSB), any access size.
/// Leaves out: a comparator's match in the very tick it is written (it matches one wrap later).
/// Differs on purpose: 10 MHz, the slowest the specification allows (100 ns), because then ticks
/// are
///   whole nanoseconds of the host's clock and nothing is ever rounded; acrn-dm's 2^24 Hz has no
///   period in whole femtoseconds. Periodic matches that a late host finds together are one
///   interrupt, and the host's timer rests 20 us after a periodic interrupt.
/// IA-PC HPET specification 1.0a (October 2004), 2.3.
class Hpet : public io::IoHandler, public snapshot::Device {
  public:
    static constexpr std::uint64_t mmio_size = 0x400;
    static constexpr unsigned comparator_count = 8;
    static constexpr std::uint64_t tick_ns = 100;
    static constexpr std::uint64_t interrupt_interval_min_ns = 20'000;
    /// GCAP_ID[31:0], which the ACPI table repeats as "event timer block id".
    static constexpr std::uint32_t block_id =
        0x8086'0000 | 1U << 15 | 1U << 13 | (comparator_count - 1) << 8 | 0x01;

    Hpet(const HpetOutputs& outputs, irq::MessageSink& messages, LegacyReplacement& legacy,
         const event::Clock& clock, event::TimerService& timers);

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    std::string_view register_name(std::uint64_t offset) const override;

    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

    bool legacy_replacement() const;
    /// Matches of periodic comparators that were merged into a later interrupt.
    std::uint64_t lost_interrupts() const { return lost_interrupts_; }

  private:
    struct Comparator {
        std::uint32_t config = 0;  // Tn_CONF, writable bits
        std::uint64_t value = ~std::uint64_t{0};
        std::uint64_t period = 0;  // the last value written
        std::uint64_t fsb_route = 0;
        std::uint64_t last_interrupt_ns = 0;  // only paces the host; not saved
    };
    struct State {
        std::uint8_t config = 0;       // GEN_CONF
        std::uint32_t interrupts = 0;  // GINTR_STA
        std::uint64_t counter = 0;     // MAIN_CNT at counter_ns
        std::uint64_t counter_ns = 0;  // start of that tick, while enabled
        std::array<Comparator, comparator_count> comparators{};
    };

    bool enabled() const;
    std::uint64_t read_register(std::uint64_t offset) const;
    std::uint64_t read_comparator(const Comparator& comparator, std::uint64_t offset) const;
    void write_register(std::uint64_t offset, unsigned lane, unsigned size, std::uint64_t value);
    void write_config(std::uint8_t value);
    void write_counter(unsigned lane, unsigned size, std::uint64_t value);
    void write_comparator(unsigned index, std::uint64_t offset, unsigned lane, unsigned size,
                          std::uint64_t value);
    void write_comparator_config(unsigned index, std::uint32_t value);
    void write_comparator_value(Comparator& comparator, unsigned lane, unsigned size,
                                std::uint64_t value);

    void collect_matches();
    void advance(unsigned index, std::uint64_t ticks);
    void interrupt(unsigned index);
    unsigned output_number(unsigned index) const;
    const HpetOutput& output(unsigned number) const;
    bool drives_level(unsigned index) const;
    std::uint64_t deadline_of(unsigned index) const;
    void arm_timer();
    void update_irq();
    void sanitise(unsigned index);

    const HpetOutputs outputs_;
    const std::uint32_t route_mask_;  // Tn_INT_ROUTE_CAP
    irq::MessageSink& messages_;
    LegacyReplacement& legacy_;
    const event::Clock& clock_;
    State state_;
    std::uint64_t driven_ = 0;  // outputs whose level line is asserted
    std::uint64_t lost_interrupts_ = 0;
    std::unique_ptr<event::Timer> timer_;
    base::GuestFault counter_write_{"hpet", "write to the main counter while it runs"};
};

}  // namespace cupule::device
