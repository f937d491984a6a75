#pragma once

#include <termios.h>

#include <atomic>
#include <cstdint>

#include "base/error.h"

namespace cupule::backend {

/// What raw mode leaves of a terminal's own work.
enum class RawMode : std::uint8_t {
    /// Keys come one by one, no echo, no signals; output still turns LF into CR LF, so that our
    /// own log lines on the same terminal stay readable.
    console,
    /// Nothing at all is changed on the way, and modem lines are ignored: a serial line.
    line,
};

/// Puts a terminal into raw mode and back. `restore` may be called by a signal handler: main keeps
/// the object (inside its StdioOwner) reachable for its handlers of fatal signals, restores there,
/// sets the default action and raises the signal again. See docs/serial_backends.md.
class TerminalMode {
  public:
    TerminalMode() = default;
    ~TerminalMode() { restore(); }
    TerminalMode(const TerminalMode&) = delete;
    TerminalMode& operator=(const TerminalMode&) = delete;

    /// `fd` is a terminal; it stays the caller's and open until `restore`. Once per object.
    base::Result<void> set_raw(int fd, RawMode mode);
    /// The terminal as it was found; nothing when not raw. Async-signal-safe; any thread.
    void restore() noexcept;

  private:
    int fd_ = -1;
    termios saved_{};
    /// Set last, after fd_ and saved_: a handler sees all or nothing.
    std::atomic<bool> raw_{false};
};

}  // namespace cupule::backend
