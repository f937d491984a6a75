#pragma once

#include <cstdint>

#include "device/input/ps2_queue.h"

namespace cupule::device {

/// The i8042's translation of a set 2 code (the byte behind any F0) to set 1. Bytes from 80h on
/// stay as they are but for F7 (83h) and Alt-SysRq (84h).
std::uint8_t set_2_to_set_1(std::uint8_t code);

/// The bytes one key sends: at most eight (Pause).
using KeySequence = Ps2Queue<8>;

/// What a keyboard of scan code set 1 or 2 sends for a KEY_ number of linux/input-event-codes.h.
/// Empty for keys it does not have, and for Pause going up.
KeySequence key_sequence(std::uint16_t key_code, bool pressed, std::uint8_t set);

}  // namespace cupule::device
