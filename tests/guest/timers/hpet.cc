/// HPET: main counter, each comparator in each mode, routing by IOAPIC, legacy and FSB.
///
/// Document: IA-PC HPET Specification 1.0a.
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/interrupts.h"
#include "runtime/pic.h"
#include "timers/timers.h"

namespace cupule::guest {
namespace {

constexpr std::uint64_t capabilities = 0x00;
constexpr std::uint64_t configuration = 0x10;
constexpr std::uint64_t interrupt_status = 0x20;
constexpr std::uint64_t main_counter = 0xF0;
constexpr std::uint64_t enable = 1;         // ENABLE_CNF
constexpr std::uint64_t legacy_routes = 2;  // LEG_RT_CNF

constexpr std::uint64_t level_triggered = 0x02;   // Tn_INT_TYPE_CNF
constexpr std::uint64_t interrupt_enable = 0x04;  // Tn_INT_ENB_CNF
constexpr std::uint64_t periodic = 0x08;          // Tn_TYPE_CNF
constexpr std::uint64_t can_be_periodic = 0x10;   // Tn_PER_INT_CAP
constexpr std::uint64_t value_set = 0x40;         // Tn_VAL_SET_CNF
constexpr std::uint64_t fsb_enable = 0x4000;      // Tn_FSB_EN_CNF
constexpr std::uint64_t can_do_fsb = 0x8000;      // Tn_FSB_INT_DEL_CAP

/// The timer under test, for functions without captures.
struct Subject {
    std::uint64_t base = 0;
    std::uint64_t hz = 0;
    std::uint64_t timer = 0;
    std::uint64_t flags = 0;
};
constinit Subject subject;

std::uint64_t read(std::uint64_t offset) {
    return mmio_read<std::uint64_t>(subject.base + offset);
}
void write(std::uint64_t offset, std::uint64_t value) {
    mmio_write<std::uint64_t>(subject.base + offset, value);
}
std::uint64_t timer_register(std::uint64_t n) {
    return 0x100 + 0x20 * n;
}

void on_level_interrupt(Frame&) {
    write(interrupt_status, std::uint64_t{1} << subject.timer);
}

/// With the counter halted: on a slow machine the match could pass before the interrupt is on, and
/// an earlier match of a level timer leave its status behind.
void start_in_5_ms() {
    const std::uint64_t at = timer_register(subject.timer);
    const std::uint64_t running = read(configuration);
    write(configuration, running & ~enable);
    write(at + 8, read(main_counter) + subject.hz / 200);
    write(interrupt_status, std::uint64_t{1} << subject.timer);
    write(at, subject.flags | interrupt_enable);
    write(configuration, running);
}

void start_periodic(std::uint64_t timer, std::uint64_t flags, std::uint64_t hz) {
    const std::uint64_t at = timer_register(timer);
    const std::uint64_t period = subject.hz / hz;
    write(at, flags | periodic | value_set | interrupt_enable);
    write(at + 8, read(main_counter) + period);  // value_set: this is the accumulator,
    write(at + 8, period);                       // and this the period
}

/// An I/O APIC pin the timer can use that is none of the classic ISA interrupts if possible.
bool choose_pin(std::uint64_t timer, std::uint32_t& pin) {
    const auto routes = static_cast<std::uint32_t>(read(timer_register(timer)) >> 32);
    for (std::uint32_t candidate = io_apic_pins(); candidate-- > 0;) {
        if (candidate < 32 && ((routes >> candidate) & 1) != 0) {
            pin = candidate;
            return true;
        }
    }
    return false;
}

void check_main_counter() {
    write(configuration, 0);
    const bool wide = (read(capabilities) & 0x2000) != 0;  // COUNT_SIZE_CAP
    const std::uint64_t written = wide ? 0x123456789 : 0x23456789;
    write(main_counter, written);
    const std::uint64_t first = read(main_counter);
    wait_ms(2);
    check("hpet_halted_counter_keeps_what_is_written",
          first == written && read(main_counter) == first, Hex{first}, " then ",
          Hex{read(main_counter)});
    write(main_counter, 0);
    write(configuration, enable);
    const std::uint64_t hz = measure_hz(50, [] { return read(main_counter); });
    check("hpet_counts_at_its_rate", is_near(hz, subject.hz, 5), hz, " Hz instead of ", subject.hz);
    const auto low = mmio_read<std::uint32_t>(subject.base + main_counter);
    check("hpet_reads_in_halves", low != 0 && low <= read(main_counter), low);
}

void check_comparator(std::uint64_t timer) {
    subject.timer = timer;
    subject.flags = 0;
    const std::uint64_t offered = read(timer_register(timer));
    print("# HPET timer ", timer, " offers ", Hex{offered});
    std::uint32_t pin = 0;
    if (!choose_pin(timer, pin)) {
        skip("hpet_by_io_apic", "timer ", timer, " has no route");
        return;
    }
    const std::uint64_t route = std::uint64_t{pin} << 9;
    write(timer_register(timer), route);
    check("hpet_keeps_the_route", ((read(timer_register(timer)) >> 9) & 31) == pin,
          Hex{read(timer_register(timer))});

    expect(timer_vector, EndOfInterrupt::local_apic);
    subject.flags = route;
    io_apic_route(pin, timer_vector, 0);
    check_one_shot("hpet_one_shot_edge", timer_vector, 5'000, start_in_5_ms);
    if ((offered & can_be_periodic) != 0) {
        start_periodic(timer, route, 100);
        check_rate("hpet_periodic", timer_vector, 100);
    } else {
        skip("hpet_periodic", "timer ", timer, " is one-shot only");
    }
    write(timer_register(timer), 0);

    expect(timer_vector, EndOfInterrupt::local_apic, on_level_interrupt);
    subject.flags = route | level_triggered;
    write(timer_register(timer), subject.flags);
    write(interrupt_status, std::uint64_t{1} << timer);
    io_apic_route(pin, timer_vector, redirection_level);
    check_one_shot("hpet_one_shot_level", timer_vector, 5'000, start_in_5_ms);
    check("hpet_level_status_is_cleared", ((read(interrupt_status) >> timer) & 1) == 0,
          Hex{read(interrupt_status)});
    write(timer_register(timer), 0);
    io_apic_mask(pin);
}

void check_fsb(std::uint64_t timer) {
    if ((read(timer_register(timer)) & can_do_fsb) == 0) {
        skip("hpet_fsb", "timer ", timer, " does not offer it");
        return;
    }
    subject.timer = timer;
    subject.flags = fsb_enable;
    expect(timer_vector, EndOfInterrupt::local_apic);
    const std::uint64_t address = 0xFEE00000 | (std::uint64_t{local_apic_id()} << 12);
    write(timer_register(timer) + 0x10, (address << 32) | timer_vector);
    check_one_shot("hpet_fsb", timer_vector, 5'000, start_in_5_ms);
    write(timer_register(timer), 0);
}

/// Timer 0 takes the place of the PIT and timer 1 that of the RTC (2.3.5, LEG_RT_CNF).
void check_legacy() {
    if ((read(capabilities) & 0x8000) == 0) {
        skip("hpet_legacy_routes", "not offered");
        return;
    }
    write(configuration, enable | legacy_routes);
    check("hpet_keeps_legacy_routes", (read(configuration) & 3) == 3, Hex{read(configuration)});
    expect(timer_vector, EndOfInterrupt::local_apic);
    const std::uint32_t pin_0 = isa_route(0).pin;
    if ((read(timer_register(0)) & can_be_periodic) != 0) {
        io_apic_route(pin_0, timer_vector, 0);
        start_periodic(0, 0, 100);
        check_rate("hpet_legacy_timer_0_by_io_apic", timer_vector, 100);
        io_apic_mask(pin_0);

        pic_init();
        expect(pic_vector_base, EndOfInterrupt::pic);
        pic_unmask_only(1);
        pic_connect(true);
        check_rate("hpet_legacy_timer_0_by_pic", pic_vector_base, 100);
        pic_unmask_only(0);
        pic_connect(false);
        write(timer_register(0), 0);
    }
    const std::uint32_t pin_8 = isa_route(8).pin;
    expect(second_timer_vector, EndOfInterrupt::local_apic);
    io_apic_route(pin_8, second_timer_vector, 0);
    subject.timer = 1;
    subject.flags = 0;
    check_one_shot("hpet_legacy_timer_1_is_irq_8", second_timer_vector, 5'000, start_in_5_ms);
    io_apic_mask(pin_8);
    write(timer_register(1), 0);
}

}  // namespace

void check_hpet() {
    subject.base = hpet_base();
    if (subject.base == 0) {
        skip("hpet", "no HPET table");
        return;
    }
    const std::uint64_t offered = read(capabilities);
    const std::uint64_t period_fs = offered >> 32;
    const std::uint64_t timers = ((offered >> 8) & 31) + 1;
    if (!check("hpet_capabilities", period_fs > 0 && period_fs <= 0x05F5E100 && timers >= 3,
               Hex{offered})) {
        return;
    }
    subject.hz = 1'000'000'000'000'000 / period_fs;
    print("# HPET ", subject.hz, " Hz, ", timers, " timers");
    check_main_counter();
    for (std::uint64_t timer = 0; timer < timers; ++timer) {
        check_comparator(timer);
        check_fsb(timer);
    }
    check_legacy();
    write(configuration, 0);
}

}  // namespace cupule::guest
