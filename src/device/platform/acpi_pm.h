#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/log.h"
#include "device/platform/machine_requests.h"
#include "event/clock.h"
#include "event/timer.h"
#include "io/io_handler.h"
#include "irq/interrupt.h"
#include "snapshot/device.h"

namespace cupule::device {

/// How many bits the PM timer counts in; FADT flag TMR_VAL_EXT says it to the guest.
enum class PmTimerWidth : std::uint8_t { bits_24 = 24, bits_32 = 32 };

/// What ended a sleep.
enum class WakeSource : std::uint8_t { power_button, sleep_button, rtc, other };

/// ACPI's fixed hardware: the PM1a event and control blocks, the PM timer, the GPE0 block, and the
/// SMI command port that hands the hardware to the operating system.
///
/// Registers, from the block's base: PM1_STS +0 (2), PM1_EN +2 (2), PM1_CNT +4 (2), two bytes that
/// read zero, PM_TMR +8 (4), GPE0_STS +12 (1), GPE0_EN +13 (1).
///
/// Models: timer carry, global lock, power button, sleep button, RTC and wake status with their
///   enables; eight general-purpose events; SCI as a level while SCI_EN; SLP_TYP/SLP_EN for S3 and
///   S5; any access size and alignment; SMI_CMD's enable and disable commands.
/// Leaves out: bus-master status and reload (BM_RLD is stored), the global lock's release towards
///   firmware (GBL_RLS does nothing: there is no SMM), PM1b, PM2, GPE1, waking by a
///   general-purpose event, S1, S2 and S4.
/// Differs on purpose: without SCI_EN an event raises nothing (a PC would raise an SMI).
/// ACPI Specification 6.5, 4.8.3 (PM timer, buttons), 4.8.4.1 (PM1 event and control) and 4.8.5.1
/// (general-purpose events).
class AcpiPm : public io::IoHandler, public snapshot::Device {
  public:
    static constexpr std::uint64_t port_count = 14;
    /// The general-purpose events: status and enable, a byte each.
    static constexpr std::uint64_t gpe0_offset = 12;
    static constexpr std::uint64_t gpe0_port_count = 2;
    static constexpr std::uint64_t smi_command_port_count = 1;
    static constexpr std::uint8_t smi_acpi_enable = 0xA0;
    static constexpr std::uint8_t smi_acpi_disable = 0xA1;
    static constexpr std::uint8_t sleep_type_s3 = 3;
    static constexpr std::uint8_t sleep_type_s5 = 5;
    static constexpr std::uint64_t timer_frequency_hz = 3'579'545;

    AcpiPm(irq::LevelLine& sci, const event::Clock& clock, event::TimerService& timers,
           SleepRequests& requests, PmTimerWidth timer_width);

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    std::string_view register_name(std::uint64_t offset) const override;

    /// The SMI_CMD port, under the same monitor. Reads give the last command.
    io::IoHandler& smi_command() { return smi_command_; }

    /// A person pressed a button, an alarm went off: with the monitor held.
    void press_power_button();
    void press_sleep_button();
    void rtc_alarm();
    /// Sets the status of a general-purpose event, 0 to 7; the DSDT's \_GPE says what it means.
    void raise_general_event(unsigned number);
    /// An event that wakes from S3 by ACPI's rules: its status and its enable bit are set
    /// (4.8.3.2).
    std::optional<WakeSource> pending_wake() const;
    /// The machine runs again after suspend_to_ram: sets WAK_STS and the source's status.
    void wake(WakeSource source);

    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

  private:
    class SmiCommand : public io::IoHandler {
      public:
        explicit SmiCommand(AcpiPm& pm) : pm_(pm) {}
        std::uint64_t read(std::uint64_t, unsigned) override { return pm_.state_.smi_command; }
        void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
        std::string_view register_name(std::uint64_t) const override { return "SMI_CMD"; }

      private:
        AcpiPm& pm_;
    };

    struct State {
        std::uint16_t status = 0;         // PM1_STS
        std::uint16_t enable = 0;         // PM1_EN
        std::uint16_t control = 0;        // PM1_CNT, without the write-only bits
        std::uint8_t general_status = 0;  // GPE0_STS
        std::uint8_t general_enable = 0;  // GPE0_EN
        std::uint8_t smi_command = 0;
        std::uint64_t timer_base_ns = 0;  // when the PM timer was zero
        std::uint64_t carries_seen = 0;   // changes of the timer's top bit turned into TMR_STS
    };

    void power_on();
    void write_byte(std::uint64_t offset, std::uint8_t value);
    void write_control(std::uint16_t value);
    void request_sleep(std::uint8_t type);
    std::uint64_t ticks() const;
    std::uint64_t carry_ticks() const;
    void raise_status(std::uint16_t bits);
    void collect_carry();
    void arm_timer();
    void update_irq();

    irq::LevelLine& sci_;
    const event::Clock& clock_;
    SleepRequests& requests_;
    const PmTimerWidth timer_width_;
    SmiCommand smi_command_{*this};
    State state_;
    std::unique_ptr<event::Timer> timer_;
    base::GuestFault unknown_sleep_type_{"acpi-pm", "sleep type that the DSDT does not offer"};
};

}  // namespace cupule::device
