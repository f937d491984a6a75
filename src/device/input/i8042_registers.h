#pragma once

#include <cstdint>

#include "base/field.h"

namespace cupule::device::i8042 {

using base::Bit;

namespace status {
inline constexpr Bit<std::uint8_t, 0> output_full{};    // OBF
inline constexpr Bit<std::uint8_t, 2> system{};         // SYS
inline constexpr Bit<std::uint8_t, 3> last_command{};   // A2: the last write was to port 64h
inline constexpr Bit<std::uint8_t, 4> not_inhibited{};  // INH: the key lock is open
inline constexpr Bit<std::uint8_t, 5> output_aux{};     // AUXB: the byte is the mouse's
}  // namespace status

namespace control {
inline constexpr Bit<std::uint8_t, 0> keyboard_interrupt{};  // KIE
inline constexpr Bit<std::uint8_t, 1> mouse_interrupt{};     // MIE
inline constexpr Bit<std::uint8_t, 2> system{};              // SYS
inline constexpr Bit<std::uint8_t, 4> keyboard_disabled{};   // DKB
inline constexpr Bit<std::uint8_t, 5> mouse_disabled{};      // DMS
inline constexpr Bit<std::uint8_t, 6> translate{};           // KCC
inline constexpr std::uint8_t writable = 0x7F;
}  // namespace control

namespace output_port {
inline constexpr Bit<std::uint8_t, 0> not_reset{};  // P20
inline constexpr Bit<std::uint8_t, 1> a20{};        // P21
inline constexpr Bit<std::uint8_t, 4> keyboard_full{};
inline constexpr Bit<std::uint8_t, 5> mouse_full{};
inline constexpr std::uint8_t writable = 0xCF;
}  // namespace output_port

// Commands at port 64h. Those marked * take a byte at port 60h.
inline constexpr std::uint8_t read_ram = 0x20;   // to 3Fh
inline constexpr std::uint8_t write_ram = 0x60;  // to 7Fh *
inline constexpr std::uint8_t ram_size = 0x20;
inline constexpr std::uint8_t test_password = 0xA4;
inline constexpr std::uint8_t disable_mouse = 0xA7;
inline constexpr std::uint8_t enable_mouse = 0xA8;
inline constexpr std::uint8_t test_mouse_port = 0xA9;
inline constexpr std::uint8_t self_test = 0xAA;
inline constexpr std::uint8_t test_keyboard_port = 0xAB;
inline constexpr std::uint8_t disable_keyboard = 0xAD;
inline constexpr std::uint8_t enable_keyboard = 0xAE;
inline constexpr std::uint8_t read_input_port = 0xC0;
inline constexpr std::uint8_t read_output_port = 0xD0;
inline constexpr std::uint8_t write_output_port = 0xD1;      // *
inline constexpr std::uint8_t write_keyboard_output = 0xD2;  // *
inline constexpr std::uint8_t write_mouse_output = 0xD3;     // *
inline constexpr std::uint8_t write_mouse = 0xD4;            // *
inline constexpr std::uint8_t pulse_output = 0xF0;           // to FFh

}  // namespace cupule::device::i8042
