/// I/O APIC: registers, edges, levels with remote IRR, levels that stay, and masking.
///
/// Document: 82093AA data sheet (290566-001).
#include "interrupts/interrupts.h"
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/interrupts.h"

namespace cupule::guest {
namespace {

constexpr std::uint8_t vector = io_apic_vector;

struct Seen {
    std::uint32_t pin = 0;
    std::uint32_t remote_irr = 0;         // interrupts with remote IRR set in the entry
    std::uint32_t acknowledge_after = 1;  // interrupts until the device is asked to stop
    std::uint32_t count = 0;
};
constinit Seen seen;

void on_uart(Frame&) {
    seen.remote_irr += (io_apic_entry(seen.pin) & redirection_remote_irr) != 0 ? 1U : 0U;
    if (++seen.count >= seen.acknowledge_after) {
        (void)uart_acknowledge();
    }
}

void start(std::uint32_t acknowledge_after) {
    seen = {.pin = isa_route(uart_irq).pin, .acknowledge_after = acknowledge_after};
    expect(vector, EndOfInterrupt::local_apic, on_uart);
}

std::uint32_t count_within(std::uint64_t ms) {
    interrupts_on();
    wait_ms(ms);
    interrupts_off();
    return seen.count;
}

void check_registers() {
    const std::uint32_t pins = io_apic_pins();
    print("# I/O APIC version ", Hex{io_apic_read(1)}, ", ", pins, " pins");
    check("io_apic_has_24_pins_or_more", pins >= 24, pins);
    io_apic_write(0x10 + 2 * 5, redirection_masked | redirection_level | 0x5A);
    io_apic_write(0x11 + 2 * 5, 0x0F000000);
    check("io_apic_entries_read_back",
          io_apic_entry(5) == (redirection_masked | redirection_level | 0x5A) &&
              io_apic_read(0x11 + 2 * 5) >> 24 == 0x0F,
          Hex{io_apic_entry(5)}, " ", Hex{io_apic_read(0x11 + 2 * 5)});
    io_apic_mask(5);
}

// Nothing is printed while the interrupt is on: each character would raise it again.

void check_edge() {
    start(1);
    io_apic_route(seen.pin, vector, 0);
    uart_interrupt_on();
    const std::uint32_t first = count_within(10);
    uart_interrupt_off();
    uart_interrupt_on();
    const std::uint32_t second = count_within(10);
    uart_interrupt_off();
    check("io_apic_edge_comes_once", first == 1, first);
    check("io_apic_edge_has_no_remote_irr", seen.remote_irr == 0, seen.remote_irr);
    check("io_apic_next_edge_comes", second == 2, second);

    start(100);  // the line stays up
    uart_interrupt_on();
    const std::uint32_t held = count_within(10);
    uart_interrupt_off();
    check("io_apic_held_line_is_one_edge", held == 1, held);
    io_apic_mask(seen.pin);
}

void check_level() {
    start(1);
    io_apic_route(seen.pin, vector, redirection_level);
    uart_interrupt_on();
    const std::uint32_t once = count_within(20);
    const std::uint32_t entry = io_apic_entry(seen.pin);
    uart_interrupt_off();
    check("io_apic_level_comes_once_when_acknowledged", once == 1, once);
    check("io_apic_level_sets_remote_irr", seen.remote_irr == 1, seen.remote_irr);
    check("io_apic_end_of_interrupt_clears_remote_irr", (entry & redirection_remote_irr) == 0,
          Hex{entry});

    start(4);
    uart_interrupt_on();
    const std::uint32_t again = count_within(50);
    uart_interrupt_off();
    check("io_apic_level_comes_again_while_held", again == 4, again);
}

void check_masked_level() {
    start(1);
    io_apic_route(seen.pin, vector, redirection_level | redirection_masked);
    uart_interrupt_on();
    const std::uint32_t masked = count_within(10);
    io_apic_route(seen.pin, vector, redirection_level);
    const std::uint32_t unmasked = count_within(10);
    uart_interrupt_off();
    check("io_apic_masked_level_is_silent", masked == 0, masked);
    check("io_apic_unmasking_delivers_a_held_level", unmasked == 1, unmasked);

    start(1);
    io_apic_route(seen.pin, vector, redirection_level | redirection_masked);
    uart_interrupt_on();
    uart_interrupt_off();
    io_apic_route(seen.pin, vector, redirection_level);
    const std::uint32_t gone = count_within(10);
    check("io_apic_withdrawn_level_is_forgotten", gone == 0, gone);
    io_apic_mask(seen.pin);
}

}  // namespace

void check_io_apic() {
    check_registers();
    check_edge();
    check_level();
    check_masked_level();
}

}  // namespace cupule::guest
