/// SCI by the PM timer's carry, or by the RTC's alarm where the timer has 32 bits and carries every
/// ten minutes: a level that stays until its status bit is cleared.
///
/// Document: ACPI Specification 6.5, 4.8.3.1 (PM1 event registers);
/// MC146818A data sheet (alarm).
#include "interrupts/interrupts.h"
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/interrupts.h"

namespace cupule::guest {
namespace {

constexpr std::uint16_t timer_status = 1;        // PM1_STS.TMR_STS, PM1_EN.TMR_EN
constexpr std::uint16_t rtc_status = 1 << 10;    // RTC_STS, RTC_EN
constexpr std::uint32_t timer_is_wide = 1 << 8;  // FADT flag TMR_VAL_EXT
constexpr std::uint16_t sci_enable = 1;          // PM1_CNT.SCI_EN
constexpr std::uint32_t held = 3;                // interrupts until the status is cleared

constinit std::uint16_t event_port = 0;
constinit std::uint16_t source = 0;  ///< the bit in PM1_STS and PM1_EN
constinit std::uint32_t count = 0;
constinit std::uint32_t without_status = 0;

void on_sci(Frame&) {
    without_status += (in16(event_port) & source) == 0 ? 1U : 0U;
    if (++count >= held) {
        out16(event_port, source);
    }
}

void go_to_acpi_mode(const Fadt& f) {
    if ((in16(f.pm1_control) & sci_enable) == 0 && f.smi_command != 0) {
        out8(f.smi_command, f.acpi_enable);
        wait_until(500, [&] { return (in16(f.pm1_control) & sci_enable) != 0; });
    }
}

std::uint8_t rtc_read(std::uint8_t cell) {
    out8(0x70, cell);
    return in8(0x71);
}

void rtc_write(std::uint8_t cell, std::uint8_t value) {
    out8(0x70, cell);
    out8(0x71, value);
}

/// Every second ("don't care" in all three alarm cells); its own interrupt line stays masked.
void rtc_alarm(bool on) {
    constexpr std::uint8_t alarm_enable = 0x20;
    rtc_write(1, 0xFF);
    rtc_write(3, 0xFF);
    rtc_write(5, 0xFF);
    const std::uint8_t b = rtc_read(0x0B);
    rtc_write(0x0B, static_cast<std::uint8_t>(on ? b | alarm_enable : b & ~alarm_enable));
    rtc_read(0x0C);
}

}  // namespace

void check_sci() {
    const Fadt f = fadt();
    if (f.pm1_event == 0 || f.pm1_control == 0) {
        skip("sci", "no PM1 registers");
        return;
    }
    go_to_acpi_mode(f);
    check("machine_is_in_acpi_mode", (in16(f.pm1_control) & sci_enable) != 0,
          Hex{in16(f.pm1_control)});
    event_port = f.pm1_event;
    source = (f.flags & timer_is_wide) != 0 ? rtc_status : timer_status;
    const auto enable_port = static_cast<std::uint16_t>(f.pm1_event + 2);
    out16(event_port, 0xFFFF);
    check("pm1_status_clears_by_ones", (in16(event_port) & source) == 0, Hex{in16(event_port)});
    out16(enable_port, source);
    if ((in16(enable_port) & source) == 0) {
        skip("sci", "TMR_EN or RTC_EN cannot be set");
        return;
    }
    const auto sci = static_cast<std::uint8_t>(f.sci_interrupt);
    const IsaRoute route = isa_route(sci);
    print("# SCI ", sci, " is on pin ", route.pin, route.level ? " level" : " edge",
          route.active_low ? " low" : " high");
    count = 0;
    without_status = 0;
    expect(io_apic_vector, EndOfInterrupt::local_apic, on_sci);
    io_apic_route(route.pin, io_apic_vector,
                  redirection_level | (route.active_low ? redirection_active_low : 0));
    interrupts_on();
    if (source == rtc_status) {
        rtc_alarm(true);
    }
    // The carry comes every 2.3 s (24 bits: bit 23 changes), the alarm every second.
    const bool came = wait_until(3500, [] { return count >= held; });
    wait_ms(20);
    interrupts_off();
    check(source == rtc_status ? "sci_comes_by_the_rtc_alarm" : "sci_comes_by_the_pm_timer", came,
          count, " interrupts");
    check("sci_stays_until_its_status_is_cleared", count == held, count);
    check("sci_comes_only_with_a_status", without_status == 0, without_status);
    out16(enable_port, 0);
    if (source == rtc_status) {
        rtc_alarm(false);
    }
    io_apic_mask(route.pin);
}

}  // namespace cupule::guest
