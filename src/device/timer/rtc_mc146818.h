#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "event/clock.h"
#include "event/timer.h"
#include "io/io_handler.h"
#include "irq/interrupt.h"
#include "snapshot/device.h"

namespace cupule::device {

/// Bytes of guest RAM as firmware reads them from CMOS cells.
struct RamSizes {
    std::uint64_t below_4g = 0;
    std::uint64_t above_4g = 0;
};

/// Hears what the rest of the machine may care about. Called with the clock's monitor held: post,
/// do not act.
class RtcObserver {
  public:
    virtual ~RtcObserver() = default;
    /// The guest set its clock, which showed `before_s` (seconds since 1970), `delta_s` seconds
    /// forward (negative: back).
    virtual void rtc_time_set(std::int64_t before_s, std::int64_t delta_s) = 0;
    /// An enabled alarm went off (what sets RTC_STS of ACPI's PM1 block).
    virtual void rtc_alarm() = 0;
};

/// The PC's real-time clock and CMOS RAM: ports 0x70 (index) and 0x71 (data), IRQ 8.
///
/// Models: time and calendar in BCD or binary, 12 or 24 hours, with the century in cell 0x32; SET
///   and the divider reset (first update half a second after its release); UIP; the alarm with
///   "don't care" codes; the update-ended, alarm and periodic interrupts, level until register C is
///   read; 114 bytes of RAM less the cells with meaning: 0x0F shutdown status, 0x15 to 0x18, 0x30,
///   0x31, 0x34, 0x35 and 0x5B to 0x5D memory sizes.
/// Leaves out: the square wave, daylight saving (DSE is stored), other crystals than 32.768 kHz,
///   loss of the battery (VRT is always one).
/// Differs on purpose: the update takes no time, so UIP is set only in the 244 us before it; the
///   day of the week follows from the date; time is an offset to the host's wall clock, so nothing
///   ticks while no interrupt is wanted; periodic interrupts a slow guest misses are counted, not
///   made up for.
/// Motorola MC146818A, data sheet ADI-1014R1 (1984); the PC's cells: IBM AT technical reference.
class RtcMc146818 : public io::IoHandler, public snapshot::Device {
  public:
    static constexpr std::uint64_t port_count = 2;

    RtcMc146818(irq::LevelLine& line, const event::Clock& clock, event::TimerService& timers,
                RamSizes ram);

    /// Not owned; nullptr: nobody. Set while the machine is put together.
    void set_observer(RtcObserver* observer) { observer_ = observer; }

    /// Offset 0 is the index port, 1 the data port.
    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    std::string_view register_name(std::uint64_t offset) const override;

    /// As if the battery had been out: the host's time again, and RAM as at the start.
    void reset() override;
    /// The RESET pin, what a reboot does: interrupts off and their flags clear; time, modes and RAM
    /// stay ("RESET" in the data sheet).
    void reset_pin();
    void visit(snapshot::Visitor& visitor) override;

    /// Stores the cell that tells firmware why the CPU was reset (0xFE: resume from S3).
    void set_shutdown_status(std::uint8_t status);
    /// When the enabled alarm goes off next, in nanoseconds of the clock's now_ns; nothing when it
    /// is off or can never match.
    std::optional<std::uint64_t> next_alarm_ns() const;
    /// Periodic interrupts that came while the one before was still pending.
    std::uint64_t lost_periodic_interrupts() const { return lost_periodic_; }

  private:
    struct State {
        std::uint8_t index = 0;          // as written: NMI mask in bit 7
        std::uint8_t register_a = 0x26;  // 32.768 kHz divider, 1024 Hz
        std::uint8_t register_b = 0x02;  // BCD, 24 hours, no interrupts
        std::uint8_t flags = 0;          // PF, AF, UF as in register C
        std::int64_t offset_ns = 0;      // guest's time less the host's wall clock
        /// While time stands still the time cells hold it; otherwise they are stale.
        std::array<std::uint8_t, 128> cells{};
        std::uint64_t periodic_base_ns = 0;  // where periodic ticks are counted from
        std::uint64_t periodic_seen = 0;     // ticks turned into PF already
        std::int64_t update_seen_s = 0;      // the last second turned into UF
    };

    State power_on_state() const;
    std::int64_t guest_ns() const;
    std::int64_t guest_s() const;
    bool divider_runs() const;
    bool counting() const;
    std::uint64_t periodic_hz() const;
    std::uint64_t periodic_ticks() const;

    std::uint8_t read_cell(std::uint8_t cell);
    void write_cell(std::uint8_t cell, std::uint8_t value);
    void write_control(std::uint8_t register_a, std::uint8_t register_b);
    void store_time();
    void load_time();
    std::uint8_t encode(unsigned value) const;
    unsigned decode(std::uint8_t raw) const;
    std::uint8_t encode_hour(unsigned hour) const;
    unsigned decode_hour(std::uint8_t raw) const;

    std::optional<std::uint32_t> seconds_to_alarm(std::int64_t after_s) const;
    std::int64_t ns_to_second(std::int64_t second) const;
    void collect_flags();
    void timer_fired();
    void arm_timer();
    void update_irq();

    irq::LevelLine& line_;
    const event::Clock& clock_;
    const RamSizes ram_;
    RtcObserver* observer_ = nullptr;
    State state_;
    std::uint64_t lost_periodic_ = 0;
    std::unique_ptr<event::Timer> timer_;
};

}  // namespace cupule::device
