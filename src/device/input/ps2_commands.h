#pragma once

#include <cstdint>

// The bytes that PS/2 keyboard and mouse share with their host.
namespace cupule::device::ps2 {

// Both devices.
inline constexpr std::uint8_t identify = 0xF2;
inline constexpr std::uint8_t enable = 0xF4;
inline constexpr std::uint8_t disable = 0xF5;
inline constexpr std::uint8_t defaults = 0xF6;
inline constexpr std::uint8_t resend = 0xFE;
inline constexpr std::uint8_t reset_device = 0xFF;

// The keyboard.
inline constexpr std::uint8_t set_lights = 0xED;
inline constexpr std::uint8_t echo = 0xEE;
inline constexpr std::uint8_t scan_code_set = 0xF0;
inline constexpr std::uint8_t set_typematic = 0xF3;

// The mouse.
inline constexpr std::uint8_t scaling_one = 0xE6;
inline constexpr std::uint8_t scaling_two = 0xE7;
inline constexpr std::uint8_t set_resolution = 0xE8;
inline constexpr std::uint8_t status_request = 0xE9;
inline constexpr std::uint8_t stream_mode = 0xEA;
inline constexpr std::uint8_t read_data = 0xEB;
inline constexpr std::uint8_t leave_wrap_mode = 0xEC;
inline constexpr std::uint8_t wrap_mode = 0xEE;
inline constexpr std::uint8_t remote_mode = 0xF0;
inline constexpr std::uint8_t set_sample_rate = 0xF3;

// Answers.
inline constexpr std::uint8_t acknowledge = 0xFA;
inline constexpr std::uint8_t self_test_passed = 0xAA;

}  // namespace cupule::device::ps2
