#pragma once

#include <cstdint>

#include "base/field.h"

namespace cupule::device::uart_16550 {

using base::Bit;
using base::Field;

// Register offsets (PC16550D, table II). With the divisor latch open (DLAB) 0 and 1 are the latch.
inline constexpr std::uint64_t data_offset = 0;              // RBR, THR, DLL
inline constexpr std::uint64_t interrupt_enable_offset = 1;  // IER, DLM
inline constexpr std::uint64_t interrupt_id_offset = 2;      // IIR, FCR
inline constexpr std::uint64_t line_control_offset = 3;      // LCR
inline constexpr std::uint64_t modem_control_offset = 4;     // MCR
inline constexpr std::uint64_t line_status_offset = 5;       // LSR
inline constexpr std::uint64_t modem_status_offset = 6;      // MSR
inline constexpr std::uint64_t scratch_offset = 7;           // SCR
inline constexpr std::uint64_t register_count = 8;

namespace interrupt_enable {
inline constexpr Bit<std::uint8_t, 0> received_data{};      // ERBFI
inline constexpr Bit<std::uint8_t, 1> transmitter_empty{};  // ETBEI
inline constexpr Bit<std::uint8_t, 2> line_status{};        // ELSI
inline constexpr Bit<std::uint8_t, 3> modem_status{};       // EDSSI
inline constexpr std::uint8_t writable = 0x0F;
}  // namespace interrupt_enable

/// What the low four bits of IIR say, highest priority first (table IV).
enum class InterruptId : std::uint8_t {
    line_status = 0x6,
    received_data = 0x4,
    character_timeout = 0xC,
    transmitter_empty = 0x2,
    modem_status = 0x0,
    none = 0x1,
};
inline constexpr Field<std::uint8_t, 3, 0, InterruptId> interrupt_id{};
inline constexpr Field<std::uint8_t, 7, 6> fifos_enabled{};

namespace fifo_control {
inline constexpr Bit<std::uint8_t, 0> enable{};          // FCR0
inline constexpr Bit<std::uint8_t, 1> reset_receiver{};  // FCR1
inline constexpr Bit<std::uint8_t, 2> reset_sender{};    // FCR2
inline constexpr Field<std::uint8_t, 7, 6> trigger{};    // FCR7:6
}  // namespace fifo_control

namespace line_control {
inline constexpr Bit<std::uint8_t, 7> divisor_latch_access{};  // DLAB
}  // namespace line_control

namespace modem_control {
inline constexpr Bit<std::uint8_t, 0> data_terminal_ready{};  // DTR
inline constexpr Bit<std::uint8_t, 1> request_to_send{};      // RTS
inline constexpr Bit<std::uint8_t, 2> output_1{};             // OUT1
inline constexpr Bit<std::uint8_t, 3> output_2{};             // OUT2: lets interrupts out on a PC
inline constexpr Bit<std::uint8_t, 4> loopback{};             // LOOP
inline constexpr std::uint8_t writable = 0x1F;
}  // namespace modem_control

namespace line_status {
inline constexpr Bit<std::uint8_t, 0> data_ready{};         // DR
inline constexpr Bit<std::uint8_t, 1> overrun{};            // OE
inline constexpr Bit<std::uint8_t, 3> framing_error{};      // FE
inline constexpr Bit<std::uint8_t, 4> break_interrupt{};    // BI
inline constexpr Bit<std::uint8_t, 5> holding_empty{};      // THRE
inline constexpr Bit<std::uint8_t, 6> transmitter_empty{};  // TEMT
inline constexpr Bit<std::uint8_t, 7> error_in_fifo{};
}  // namespace line_status

namespace modem_status {
inline constexpr Field<std::uint8_t, 3, 0> changes{};    // DCTS DDSR TERI DDCD
inline constexpr Bit<std::uint8_t, 2> ring_ended{};      // TERI
inline constexpr Bit<std::uint8_t, 4> clear_to_send{};   // CTS
inline constexpr Bit<std::uint8_t, 5> data_set_ready{};  // DSR
inline constexpr Bit<std::uint8_t, 6> ring{};            // RI
inline constexpr Bit<std::uint8_t, 7> carrier{};         // DCD
}  // namespace modem_status

}  // namespace cupule::device::uart_16550
