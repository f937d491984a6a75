/// Every timer of the platform: rates against the PM timer, and each way it interrupts.
///
/// Tolerances are wide: a nested or emulated virtual machine is often late, never early.
#include "timers/timers.h"

#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/interrupts.h"
#include "runtime/pic.h"

namespace cupule::guest {
namespace {

void check_pm_timer() {
    const std::uint16_t port = fadt().pm_timer;
    const bool wide = (fadt().flags & (1U << 8)) != 0;
    std::uint32_t seen = 0;
    for (int i = 0; i < 1000; ++i) {
        seen |= in32(port);
    }
    check("pm_timer_upper_byte_is_zero_when_24_bits_wide", wide || seen >> 24 == 0, Hex{seen});

    std::uint32_t backwards = 0;
    std::uint32_t last = pm_timer();
    for (int i = 0; i < 10'000; ++i) {
        const std::uint32_t now = pm_timer();
        backwards += ((now - last) & 0xFFFFFF) > 0x800000 ? 1U : 0U;
        last = now;
    }
    check("pm_timer_never_goes_back", backwards == 0, backwards, " times");
}

void check_tsc() {
    const std::uint64_t first = measure_hz(60, read_tsc);
    const std::uint64_t second = measure_hz(60, read_tsc);
    print("# TSC ", first / 1'000'000, " MHz");
    check("tsc_rate_is_steady", first > 1'000'000 && is_near(second, first, 10), first, " then ",
          second, " Hz");
}

}  // namespace

std::uint32_t count_for(std::uint8_t vector, std::uint64_t ms) {
    const std::uint32_t before = interrupt_count(vector);
    interrupts_on();
    wait_ms(ms);
    interrupts_off();
    return interrupt_count(vector) - before;
}

bool check_rate(const char* name, std::uint8_t vector, std::uint64_t hz) {
    std::uint64_t count = 0;
    std::uint64_t expected = 0;
    for (int attempt = 0; attempt < 10; ++attempt) {
        const std::uint32_t before = interrupt_count(vector);
        Stopwatch watch;
        interrupts_on();
        while (watch.ms() < 250) {
            pause_for_a_while();
        }
        interrupts_off();
        count = interrupt_count(vector) - before;
        expected = watch.us() * hz / 1'000'000;
        const bool too_often = count * 10 > expected * 12 + 20;
        if (too_often || count * 2 >= expected) {
            return check(name, !too_often, count, " interrupts instead of ", expected);
        }
    }
    return check(name, false, "at last ", count, " interrupts instead of ", expected);
}

bool check_one_shot(const char* name, std::uint8_t vector, std::uint64_t us, void (*start)()) {
    count_for(vector, 1);  // takes what was under way
    const std::uint32_t before = interrupt_count(vector);
    Stopwatch watch;
    start();
    interrupts_on();
    const bool came = wait_until(500, [=] { return interrupt_count(vector) != before; });
    const std::uint64_t after_us = watch.us();
    wait_ms(us / 1000 * 2 + 5);
    interrupts_off();
    const std::uint32_t count = interrupt_count(vector) - before;
    return check(name, came && count == 1 && after_us * 10 >= us * 8, count, " interrupts after ",
                 after_us, " us instead of 1 after ", us);
}

void guest_main() {
    local_apic_init();
    pic_init();
    io_apic_mask_all();
    check_pm_timer();
    check_tsc();
    check_pit();
    check_hpet();
    check_local_apic_timer();
    check_rtc();
}

}  // namespace cupule::guest
