/// Every kind of interrupt: 8259, IOAPIC edge and level, local APIC, NMI, SCI, keyboard.
/// Message interrupts are in `timers` (HPET FSB).
#include "interrupts/interrupts.h"

#include "runtime/apic.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/interrupts.h"
#include "runtime/pic.h"

namespace cupule::guest {
namespace {

constexpr std::uint16_t com1 = 0x3F8;
constexpr std::uint8_t transmitter_interrupt = 0x02;  // IER.ETBEI
constexpr std::uint8_t transmitter_idle = 0x60;       // LSR.TEMT, LSR.THRE

}  // namespace

void uart_interrupt_on() {
    wait_until(100, [] { return (in8(com1 + 5) & transmitter_idle) == transmitter_idle; });
    out8(com1 + 4, 0x0B);  // OUT2 connects the interrupt
    out8(com1 + 1, transmitter_interrupt);
}

void uart_interrupt_off() {
    out8(com1 + 1, 0);
    (void)uart_acknowledge();
}

std::uint8_t uart_acknowledge() {
    return in8(com1 + 2);
}

void guest_main() {
    local_apic_init();
    pic_init();
    io_apic_mask_all();
    uart_interrupt_off();
    check_pic();
    check_io_apic();
    check_local_apic();
    check_keyboard();
    check_sci();
}

}  // namespace cupule::guest
