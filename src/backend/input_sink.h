#pragma once

#include <cstdint>

namespace cupule::backend {

/// Where a front end (a window, VNC, a host's evdev node) puts keys. Calls with the device's
/// monitor held.
class KeyboardSink {
  public:
    virtual ~KeyboardSink() = default;
    /// `code` is a KEY_ number of linux/input-event-codes.h. A repeated press is autorepeat, which
    /// is the front end's work. Keys the device does not have are ignored.
    virtual void key(std::uint16_t code, bool pressed) = 0;
};

/// Buttons of a pointer, as bits.
inline constexpr std::uint8_t button_left = 1;
inline constexpr std::uint8_t button_right = 2;
inline constexpr std::uint8_t button_middle = 4;

/// Where a front end puts the motion of a relative pointer. Calls with the device's monitor held.
class PointerSink {
  public:
    virtual ~PointerSink() = default;
    /// Motion since the last call: `dx` to the right, `dy` down, `wheel` away from the user; and
    /// the buttons that are down now.
    virtual void move(int dx, int dy, int wheel, std::uint8_t buttons) = 0;
};

}  // namespace cupule::backend
