/// The local APIC's timer.
///
/// Document: Intel SDM volume 3A, 11.5.4.
#include "runtime/apic.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/interrupts.h"
#include "timers/timers.h"

namespace cupule::guest {
namespace {

constexpr std::uint32_t periodic_mode = 1U << 17;
constexpr std::uint32_t deadline_mode = 2U << 17;
constexpr std::uint32_t divide_by_2 = 0;
constexpr std::uint32_t divide_by_16 = 3;
constexpr std::uint32_t tsc_deadline_msr = 0x6E0;

constinit std::uint64_t timer_hz = 0;  // after division by 16
constinit std::uint64_t tsc_hz = 0;

std::uint64_t measure(std::uint32_t divide) {
    local_apic_write(LocalApic::lvt_timer, lvt_masked | timer_vector);
    local_apic_write(LocalApic::timer_divide, divide);
    local_apic_write(LocalApic::timer_initial, 0xFFFFFFFF);
    return measure_hz(
        20, [] { return std::uint64_t{0xFFFFFFFF} - local_apic_read(LocalApic::timer_current); });
}

void start_10_ms() {
    local_apic_write(LocalApic::timer_initial, static_cast<std::uint32_t>(timer_hz / 100));
}

void start_deadline() {
    write_msr(tsc_deadline_msr, read_tsc() + tsc_hz / 100);
}

void check_deadline() {
    if ((cpuid(1).ecx & (1U << 24)) == 0) {
        skip("tsc_deadline", "not in CPUID");
        return;
    }
    tsc_hz = measure_hz(50, read_tsc);
    local_apic_write(LocalApic::lvt_timer, deadline_mode | timer_vector);
    asm volatile("mfence" : : : "memory");  // 11.5.4.1: orders the LVT before the MSR
    check_one_shot("tsc_deadline_interrupts_once", timer_vector, 10'000, start_deadline);
    check("tsc_deadline_is_zero_afterwards", read_msr(tsc_deadline_msr) == 0,
          read_msr(tsc_deadline_msr));
    write_msr(tsc_deadline_msr, read_tsc() + tsc_hz / 100);
    write_msr(tsc_deadline_msr, 0);
    const std::uint32_t count = count_for(timer_vector, 30);
    check("tsc_deadline_can_be_disarmed", count == 0, count);
    local_apic_write(LocalApic::lvt_timer, lvt_masked);
}

}  // namespace

void check_local_apic_timer() {
    expect(timer_vector, EndOfInterrupt::local_apic);
    const std::uint64_t fast = measure(divide_by_2);
    timer_hz = measure(divide_by_16);
    print("# local APIC timer ", timer_hz, " Hz when divided by 16");
    if (!check("local_apic_timer_counts_down", timer_hz > 1000, timer_hz)) {
        return;
    }
    check("local_apic_timer_divides", is_near(fast, timer_hz * 8, 20), fast, " and ", timer_hz);

    start_10_ms();
    const std::uint32_t masked = count_for(timer_vector, 30);
    check("local_apic_timer_masked_is_silent", masked == 0, masked);
    local_apic_write(LocalApic::timer_initial, 0);
    local_apic_write(LocalApic::lvt_timer, timer_vector);
    check_one_shot("local_apic_timer_one_shot", timer_vector, 10'000, start_10_ms);
    check("local_apic_timer_stops_at_zero", local_apic_read(LocalApic::timer_current) == 0,
          local_apic_read(LocalApic::timer_current));
    local_apic_write(LocalApic::lvt_timer, periodic_mode | timer_vector);
    local_apic_write(LocalApic::timer_initial, static_cast<std::uint32_t>(timer_hz / 100));
    check_rate("local_apic_timer_periodic", timer_vector, 100);
    local_apic_write(LocalApic::timer_initial, 0);
    const std::uint32_t stopped = count_for(timer_vector, 30);
    check("local_apic_timer_stops_by_zero", stopped <= 1, stopped);
    local_apic_write(LocalApic::lvt_timer, lvt_masked);
    check_deadline();
}

}  // namespace cupule::guest
