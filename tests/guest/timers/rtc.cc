/// MC146818: updates, the three interrupts, and the RAM beside it.
///
/// Document: Motorola MC146818A data sheet (ADI1024R1).
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/interrupts.h"
#include "runtime/pic.h"
#include "timers/timers.h"

namespace cupule::guest {
namespace {

constexpr std::uint8_t seconds = 0x00;
constexpr std::uint8_t seconds_alarm = 0x01;
constexpr std::uint8_t minutes_alarm = 0x03;
constexpr std::uint8_t hours_alarm = 0x05;
constexpr std::uint8_t reg_a = 0x0A;
constexpr std::uint8_t reg_b = 0x0B;
constexpr std::uint8_t reg_c = 0x0C;
constexpr std::uint8_t reg_d = 0x0D;
constexpr std::uint8_t updating = 0x80;      // A.UIP
constexpr std::uint8_t halt_updates = 0x80;  // B.SET
constexpr std::uint8_t periodic = 0x40;      // B.PIE, C.PF
constexpr std::uint8_t alarm = 0x20;         // B.AIE, C.AF
constexpr std::uint8_t update_ended = 0x10;  // B.UIE, C.UF
constexpr std::uint8_t binary = 0x04;        // B.DM
constexpr std::uint8_t any = 0xC0;           // "don't care" in an alarm byte
constexpr std::uint8_t pic_vector = pic_vector_base + 8;

std::uint8_t read(std::uint8_t index) {
    out8(0x70, index);
    return in8(0x71);
}
void write(std::uint8_t index, std::uint8_t value) {
    out8(0x70, index);
    out8(0x71, value);
}

constinit std::uint8_t plain_b = 0;  // reg_b without interrupts
constinit std::uint8_t seen_flags = 0;

void on_interrupt(Frame&) {
    seen_flags = seen_flags | read(reg_c);
}

void enable(std::uint8_t interrupts) {
    seen_flags = 0;
    write(reg_b, plain_b);
    (void)read(reg_c);
    write(reg_b, plain_b | interrupts);
}

bool sees_updating() {
    for (int look = 0; look < 50; ++look) {
        if ((in8(0x71) & updating) != 0) {
            return true;
        }
    }
    return false;
}

std::uint8_t read_seconds() {
    while ((read(reg_a) & updating) != 0) {
        pause();
    }
    return read(seconds);
}

bool wait_for_new_second() {
    const std::uint8_t old = read_seconds();
    return wait_until(2500, [=] { return read_seconds() != old; });
}

std::uint8_t later(std::uint8_t value, std::uint8_t by) {
    if ((plain_b & binary) != 0) {
        return static_cast<std::uint8_t>((value + by) % 60);
    }
    const int sum = ((value >> 4) * 10 + (value & 15) + by) % 60;
    return static_cast<std::uint8_t>(((sum / 10) << 4) | (sum % 10));
}

void check_updates() {
    check("rtc_is_valid", (read(reg_d) & 0x80) != 0, Hex{read(reg_d)});
    // 244 us in each second, where an exit of a nested machine may take longer: nothing else stands
    // between the looks, and there are many seconds.
    out8(0x70, reg_a);
    check("rtc_shows_an_update_in_progress", wait_until(30'000, sees_updating), "UIP never set");
    const bool first = wait_for_new_second();
    Stopwatch watch;
    const bool second = wait_for_new_second();
    const std::uint64_t ms = watch.ms();
    check("rtc_second_is_a_second", first && second && ms > 700 && ms < 1500, ms, " ms");
    write(reg_b, plain_b | halt_updates);
    const std::uint8_t before = read(seconds);
    wait_ms(1300);
    const std::uint8_t after = read(seconds);
    write(reg_b, plain_b);
    check("rtc_set_halts_updates", before == after, Hex{before}, " then ", Hex{after});
}

void check_periodic() {
    write(reg_a, 0x29);  // 32768 Hz time base, 128 Hz
    enable(periodic);
    check_rate("rtc_periodic_by_pic", pic_vector, 128);
    check("rtc_periodic_flags", (seen_flags & (0x80 | periodic)) == (0x80 | periodic),
          Hex{seen_flags});
    write(reg_a, 0x2A);
    check_rate("rtc_periodic_at_half_the_rate", pic_vector, 64);
    write(reg_a, 0x29);
    enable(0);
    count_for(pic_vector, 1);  // takes what was under way
    const std::uint32_t silent = count_for(pic_vector, 50);
    check("rtc_silent_without_enable", silent == 0, silent);
    check_strict("rtc_periodic_flag_without_enable", (read(reg_c) & (0x80 | periodic)) == periodic,
                 "polled C is wrong");

    expect(pic_vector, EndOfInterrupt::pic);  // leaves C alone
    enable(periodic);
    const std::uint32_t once = count_for(pic_vector, 50);
    check("rtc_interrupts_once_until_c_is_read", once == 1, once);
    enable(0);
    expect(pic_vector, EndOfInterrupt::pic, on_interrupt);
}

void check_update_ended_and_alarm() {
    write(seconds_alarm, any);
    write(minutes_alarm, any);
    write(hours_alarm, any);
    enable(update_ended | alarm);
    const std::uint32_t count = count_for(pic_vector, 1500);
    check("rtc_update_ended_interrupts", count >= 1 && (seen_flags & update_ended) != 0, count,
          " flags ", Hex{seen_flags});
    check("rtc_alarm_any_second", (seen_flags & alarm) != 0, Hex{seen_flags});
    enable(0);

    wait_for_new_second();
    write(seconds_alarm, later(read_seconds(), 2));
    enable(alarm);
    Stopwatch watch;
    interrupts_on();
    wait_until(3500, [] { return (seen_flags & alarm) != 0; });
    interrupts_off();
    const std::uint64_t ms = watch.ms();
    check("rtc_alarm_at_a_second", (seen_flags & alarm) != 0 && ms > 1200 && ms < 3000, ms,
          " ms, flags ", Hex{seen_flags});
    enable(0);
}

void check_by_io_apic() {
    const std::uint32_t pin = isa_route(8).pin;
    pic_unmask_only(0);
    expect(timer_vector, EndOfInterrupt::local_apic, on_interrupt);
    io_apic_route(pin, timer_vector, 0);
    enable(periodic);
    check_rate("rtc_periodic_by_io_apic", timer_vector, 128);
    enable(0);
    io_apic_mask(pin);
}

void check_ram() {
    const std::uint8_t old = read(0x7E);
    write(0x7E, 0x5A);
    const std::uint8_t first = read(0x7E);
    write(0x7E, 0xA5);
    check("cmos_ram_keeps_its_value", first == 0x5A && read(0x7E) == 0xA5, Hex{first});
    write(0x7E, old);
}

}  // namespace

void check_rtc() {
    plain_b = static_cast<std::uint8_t>(read(reg_b) & 0x07);
    const std::uint8_t old_a = read(reg_a);
    write(reg_b, plain_b);
    (void)read(reg_c);
    pic_init();
    expect(pic_vector, EndOfInterrupt::pic, on_interrupt);
    pic_unmask_only(1 << 8);
    pic_connect(true);
    check_ram();
    check_periodic();
    check_update_ended_and_alarm();
    check_by_io_apic();
    pic_connect(false);
    check_updates();
    write(reg_a, old_a & 0x7F);
}

}  // namespace cupule::guest
