/// SCI by the PM timer's carry: a level that stays until its status bit is cleared.
///
/// Document: ACPI Specification 6.5, 4.8.3.1 (PM1 event registers).
#include "interrupts/interrupts.h"
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/interrupts.h"

namespace cupule::guest {
namespace {

constexpr std::uint16_t timer_status = 1;  // PM1_STS.TMR_STS, PM1_EN.TMR_EN
constexpr std::uint16_t sci_enable = 1;    // PM1_CNT.SCI_EN
constexpr std::uint32_t held = 3;          // interrupts until the status is cleared

constinit std::uint16_t event_port = 0;
constinit std::uint32_t count = 0;
constinit std::uint32_t without_status = 0;

void on_sci(Frame&) {
    without_status += (in16(event_port) & timer_status) == 0 ? 1U : 0U;
    if (++count >= held) {
        out16(event_port, timer_status);
    }
}

void go_to_acpi_mode(const Fadt& f) {
    if ((in16(f.pm1_control) & sci_enable) == 0 && f.smi_command != 0) {
        out8(f.smi_command, f.acpi_enable);
        wait_until(500, [&] { return (in16(f.pm1_control) & sci_enable) != 0; });
    }
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
    const auto enable_port = static_cast<std::uint16_t>(f.pm1_event + 2);
    out16(event_port, 0xFFFF);
    check("pm1_status_clears_by_ones", (in16(event_port) & timer_status) == 0,
          Hex{in16(event_port)});
    out16(enable_port, timer_status);
    if ((in16(enable_port) & timer_status) == 0) {
        skip("sci", "TMR_EN cannot be set");
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
    // The carry comes every 2.3 s (24 bits: bit 23 changes).
    const bool came = wait_until(3500, [] { return count >= held; });
    wait_ms(20);
    interrupts_off();
    check("sci_comes_by_the_pm_timer", came, count, " interrupts");
    check("sci_stays_until_its_status_is_cleared", count == held, count);
    check("sci_comes_only_with_a_status", without_status == 0, without_status);
    out16(enable_port, 0);
    io_apic_mask(route.pin);
}

}  // namespace cupule::guest
