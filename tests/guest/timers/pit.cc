/// 8254 and the bits of port 0x61 that belong to it.
///
/// Document: Intel 8254 data sheet (231164-005).
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/interrupts.h"
#include "runtime/pic.h"
#include "timers/timers.h"

namespace cupule::guest {
namespace {

constexpr std::uint64_t pit_hz = 1'193'182;
constexpr std::uint16_t control_port = 0x43;
constexpr std::uint16_t system_port_b = 0x61;
constexpr std::uint8_t gate_2 = 1;
constexpr std::uint8_t out_2 = 0x20;
constexpr std::uint16_t ten_ms = 11'932;

void program(std::uint8_t channel, std::uint8_t mode, std::uint16_t count) {
    out8(control_port, static_cast<std::uint8_t>((channel << 6) | 0x30 | (mode << 1)));
    out8(static_cast<std::uint16_t>(0x40 + channel), static_cast<std::uint8_t>(count));
    out8(static_cast<std::uint16_t>(0x40 + channel), static_cast<std::uint8_t>(count >> 8));
}

std::uint16_t read_count(std::uint8_t channel) {
    const auto port = static_cast<std::uint16_t>(0x40 + channel);
    const std::uint16_t low = in8(port);
    return static_cast<std::uint16_t>(low | (in8(port) << 8));
}

std::uint16_t latch_and_read(std::uint8_t channel) {
    out8(control_port, static_cast<std::uint8_t>(channel << 6));
    return read_count(channel);
}

std::uint8_t read_status(std::uint8_t channel) {
    out8(control_port, static_cast<std::uint8_t>(0xE0 | (2 << channel)));  // read-back, status only
    return in8(static_cast<std::uint16_t>(0x40 + channel));
}

bool out_2_is_high() {
    return (in8(system_port_b) & out_2) != 0;
}

void set_gate_2(bool on) {
    const auto other = static_cast<std::uint8_t>(in8(system_port_b) & 0x0C);
    out8(system_port_b, static_cast<std::uint8_t>(other | (on ? gate_2 : 0)));
}

/// A full turn is 54.9 ms: a measurement that took longer is done again.
void check_counting_rate() {
    program(0, 2, 0);
    std::uint64_t hz = 0;
    for (int attempt = 0; attempt < 10; ++attempt) {
        const Moment begin = read_with_pm_timer([] { return latch_and_read(0); });
        wait_ms(20);
        const Moment end = read_with_pm_timer([] { return latch_and_read(0); });
        const std::uint64_t ticks = (end.pm - begin.pm) & 0xFFFFFF;
        hz = ((begin.clock - end.clock) & 0xFFFF) * pm_timer_hz / ticks;
        if (ticks < pm_timer_hz / 20) {
            break;
        }
    }
    check("pit_counts_at_1193182_hz", is_near(hz, pit_hz, 5), hz);
}

void check_latch_and_status() {
    program(0, 2, 0);
    out8(control_port, 0);
    wait_ms(3);
    const std::uint16_t latched = read_count(0);
    const std::uint16_t live = read_count(0);
    const auto gap = static_cast<std::uint16_t>(latched - live);
    check("pit_latch_holds_the_count", gap > 2 * 1193, "latched ", latched, " live ", live);
    program(0, 2, ten_ms);
    wait_ms(12);
    const std::uint8_t status = read_status(0);
    check("pit_status_tells_mode_and_access", (status & 0x7F) == 0x34, Hex{status});
    bool within = true;
    for (int i = 0; i < 200; ++i) {
        within = within && latch_and_read(0) <= ten_ms;
    }
    check("pit_count_stays_below_its_reload_value", within, "above ", ten_ms);
}

void check_bcd() {
    set_gate_2(true);
    out8(control_port, 0xB5);  // channel 2, mode 2, BCD
    out8(0x42, 0x00);
    out8(0x42, 0x10);
    bool decimal = true;
    std::uint16_t bad = 0;
    for (int i = 0; i < 200; ++i) {
        const std::uint16_t count = latch_and_read(2);
        for (int shift = 0; shift < 16; shift += 4) {
            if (((count >> shift) & 15) > 9 || count > 0x1000) {
                decimal = false;
                bad = count;
            }
        }
    }
    check_strict("pit_counts_in_bcd", decimal, Hex{bad});
}

void check_interrupts_by_pic() {
    constexpr std::uint8_t vector = pic_vector_base;
    program(0, 0, 0xFFFF);
    pic_init();  // forgets requests of the old mode
    expect(vector, EndOfInterrupt::pic);
    pic_unmask_only(1);
    pic_connect(true);
    check_one_shot("pit_mode_0_interrupts_once", vector, 10'000, [] { program(0, 0, ten_ms); });
    check("pit_mode_0_output_stays_high", (read_status(0) & 0x80) != 0, Hex{read_status(0)});
    program(0, 0, 0xFFFF);
    check("pit_mode_0_output_starts_low", (read_status(0) & 0x80) == 0, Hex{read_status(0)});
    check_one_shot("pit_mode_4_interrupts_once", vector, 10'000, [] { program(0, 4, ten_ms); });
    program(0, 2, ten_ms);
    check_rate("pit_mode_2_interrupts_periodically", vector, 100);
    program(0, 3, ten_ms);
    check_rate("pit_mode_3_interrupts_periodically", vector, 100);
    pic_unmask_only(0);
    const std::uint32_t masked = count_for(vector, 30);
    check("pit_masked_at_the_pic_is_silent", masked == 0, masked);
    pic_connect(false);
}

void check_interrupts_by_io_apic() {
    const std::uint32_t pin = isa_route(0).pin;
    print("# PIT is on I/O APIC pin ", pin);
    expect(timer_vector, EndOfInterrupt::local_apic);
    program(0, 2, ten_ms);
    io_apic_route(pin, timer_vector, 0);
    check_rate("pit_interrupts_by_io_apic", timer_vector, 100);
    program(0, 0, 0xFFFF);
    io_apic_mask(pin);
    io_apic_route(pin, timer_vector, 0);
    check_one_shot("pit_one_shot_by_io_apic", timer_vector, 10'000, [] { program(0, 0, ten_ms); });
    io_apic_mask(pin);
}

void check_channel_2() {
    set_gate_2(true);
    program(2, 0, ten_ms);
    Stopwatch watch;
    const bool low = !out_2_is_high();
    const bool high = wait_until(500, out_2_is_high);
    const std::uint64_t us = watch.us();
    check("pit_channel_2_one_shot", low && high && us >= 8'000, us, " us, low at first: ", low);

    set_gate_2(false);
    program(2, 1, ten_ms);  // a rising gate starts it
    wait_ms(15);
    const bool waits = out_2_is_high();
    set_gate_2(true);
    const bool fell = wait_until(5, [] { return !out_2_is_high(); });
    check_strict("pit_channel_2_starts_by_gate", waits && fell && wait_until(500, out_2_is_high),
                 "waits ", waits, " fell ", fell);

    program(2, 0, ten_ms);
    set_gate_2(false);
    wait_ms(25);
    const bool held = !out_2_is_high();
    set_gate_2(true);
    check_strict("pit_channel_2_pauses_by_gate", held && wait_until(500, out_2_is_high),
                 "the count went on");

    program(2, 3, ten_ms);
    const bool toggles =
        wait_until(500, out_2_is_high) && wait_until(500, [] { return !out_2_is_high(); });
    check("pit_channel_2_square_wave", toggles, "output does not toggle");
    set_gate_2(false);
}

void check_port_b() {
    set_gate_2(true);
    const bool gate_set = (in8(system_port_b) & 0x03) == 1;
    set_gate_2(false);
    check("port_61_keeps_gate_and_speaker", gate_set && (in8(system_port_b) & 0x03) == 0,
          Hex{in8(system_port_b)});
    const std::uint8_t first = in8(system_port_b) & 0x10;
    check("port_61_refresh_bit_toggles",
          wait_until(100, [=] { return (in8(system_port_b) & 0x10) != first; }), "stays ", first);
    check("port_61_reports_no_error", (in8(system_port_b) & 0xC0) == 0, Hex{in8(system_port_b)});
}

}  // namespace

void check_pit() {
    check_counting_rate();
    check_latch_and_status();
    check_bcd();
    check_interrupts_by_pic();
    check_interrupts_by_io_apic();
    check_channel_2();
    check_port_b();
    program(0, 0, 0);  // quiet after one more pulse that nobody listens to
}

}  // namespace cupule::guest
