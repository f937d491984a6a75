/// The parts of the `interrupts` guest.
#pragma once

#include <cstdint>

namespace cupule::guest {

void check_pic();
void check_io_apic();
void check_local_apic();
void check_sci();
void check_keyboard();

/// COM1's transmitter-empty interrupt: a level that the guest can raise and lower at will.
void uart_interrupt_on();
void uart_interrupt_off();
/// Reads IIR, which lowers the line when the transmitter is the reason. Gives it back.
std::uint8_t uart_acknowledge();

inline constexpr std::uint8_t uart_irq = 4;
inline constexpr std::uint8_t io_apic_vector = 0x50;

}  // namespace cupule::guest
