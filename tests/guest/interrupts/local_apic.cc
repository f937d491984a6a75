/// Local APIC: interrupts to itself, priorities, pending requests, NMI.
///
/// Document: Intel SDM volume 3A, 11.6 and 11.8.
#include "interrupts/interrupts.h"
#include "runtime/apic.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/interrupts.h"

namespace cupule::guest {
namespace {

constexpr std::uint8_t low_vector = 0x60;
constexpr std::uint8_t high_vector = 0x90;
constexpr std::uint32_t to_self = ipi_fixed | ipi_assert | ipi_to_self;

struct Seen {
    std::uint8_t order[4] = {};
    std::uint32_t count = 0;
    bool in_service = false;
};
constinit Seen seen;

void on_interrupt(Frame& frame) {
    const auto vector = static_cast<std::uint8_t>(frame.vector);
    if (seen.count < 4) {
        seen.order[seen.count++] = vector;
    }
    seen.in_service = local_apic_bit(LocalApic::in_service, vector);
}

void start() {
    seen = {};
    expect(low_vector, EndOfInterrupt::local_apic, on_interrupt);
    expect(high_vector, EndOfInterrupt::local_apic, on_interrupt);
}

void take_interrupts() {
    interrupts_on();
    wait_ms(2);
    interrupts_off();
}

void check_self() {
    start();
    send_ipi(0, to_self | low_vector);
    check("local_apic_request_waits", local_apic_bit(LocalApic::request, low_vector),
          "no bit in IRR");
    take_interrupts();
    check("local_apic_self_by_shorthand", interrupt_count(low_vector) == 1,
          interrupt_count(low_vector));
    check("local_apic_in_service_during_the_handler", seen.in_service, "no bit in ISR");
    check("local_apic_in_service_is_cleared", !local_apic_bit(LocalApic::in_service, low_vector),
          "bit in ISR");
    send_ipi(local_apic_id(), ipi_fixed | ipi_assert | low_vector);
    take_interrupts();
    check("local_apic_self_by_id", interrupt_count(low_vector) == 2, interrupt_count(low_vector));

    send_ipi(0, to_self | low_vector);
    send_ipi(0, to_self | low_vector);
    take_interrupts();
    check("local_apic_requests_collapse", interrupt_count(low_vector) == 3,
          interrupt_count(low_vector));

    start();
    interrupts_on();
    for (std::uint32_t i = 1; i <= 1000; ++i) {
        send_ipi(0, to_self | low_vector);
        if (!wait_until(200, [=] { return interrupt_count(low_vector) >= i; })) {
            break;
        }
    }
    interrupts_off();
    check("local_apic_loses_no_interrupt", interrupt_count(low_vector) == 1000,
          interrupt_count(low_vector));
}

void check_priorities() {
    start();
    send_ipi(0, to_self | low_vector);
    send_ipi(0, to_self | high_vector);
    take_interrupts();
    check("local_apic_higher_vector_first",
          seen.count == 2 && seen.order[0] == high_vector && seen.order[1] == low_vector,
          seen.count, ": ", Hex{seen.order[0]}, " ", Hex{seen.order[1]});

    start();
    local_apic_write(LocalApic::task_priority, 0x70);
    send_ipi(0, to_self | low_vector);
    send_ipi(0, to_self | high_vector);
    take_interrupts();
    check("task_priority_holds_lower_vectors_back",
          interrupt_count(low_vector) == 0 && interrupt_count(high_vector) == 1,
          interrupt_count(low_vector), " ", interrupt_count(high_vector));
    local_apic_write(LocalApic::task_priority, 0);
    take_interrupts();
    check("lower_task_priority_lets_them_in", interrupt_count(low_vector) == 1,
          interrupt_count(low_vector));

    start();
    std::uint64_t priority = 7;
    asm volatile("mov %0, %%cr8" : : "r"(priority));
    check("cr8_is_the_task_priority", local_apic_read(LocalApic::task_priority) >> 4 == 7,
          Hex{local_apic_read(LocalApic::task_priority)});
    priority = 0;
    asm volatile("mov %0, %%cr8" : : "r"(priority));
}

void check_sleep() {
    start();
    interrupts_off();
    send_ipi(0, to_self | high_vector);
    sleep_interruptible();
    interrupts_off();
    check("halt_wakes_for_a_pending_interrupt", interrupt_count(high_vector) == 1,
          interrupt_count(high_vector));
}

void check_nmi() {
    expect(2, EndOfInterrupt::none);
    interrupts_off();
    send_ipi(local_apic_id(), ipi_nmi | ipi_assert);
    check("nmi_comes_with_interrupts_off", wait_until(200, [] { return interrupt_count(2) == 1; }),
          interrupt_count(2));
    send_ipi(local_apic_id(), ipi_nmi | ipi_assert);
    check("nmi_comes_again_after_return", wait_until(200, [] { return interrupt_count(2) == 2; }),
          interrupt_count(2));
}

}  // namespace

void check_local_apic() {
    const std::uint32_t version = local_apic_read(LocalApic::version);
    check("local_apic_version", (version & 0xF0) == 0x10 && ((version >> 16) & 0xFF) >= 3,
          Hex{version});
    check_self();
    check_priorities();
    check_sleep();
    check_nmi();
}

}  // namespace cupule::guest
