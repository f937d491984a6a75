#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "event/event_loop.h"

namespace cupule::backend {

/// Follows the size of the terminal that a descriptor is: SIGWINCH by a signalfd, so the signal is
/// blocked in all threads, and one such object there can be.
class TerminalSize {
  public:
    using Changed = std::move_only_function<void(std::uint16_t columns, std::uint16_t rows)>;

    /// Calls `changed` soon with the size there is, then with each new one, on the loop with the
    /// monitor held. `terminal_fd` stays the caller's. A descriptor that is no terminal never
    /// calls.
    static base::Result<std::unique_ptr<TerminalSize>> watch(int terminal_fd,
                                                             event::EventLoop& loop,
                                                             event::Monitor& monitor,
                                                             Changed changed);

  private:
    TerminalSize(int terminal_fd, Changed changed)
        : terminal_fd_(terminal_fd), changed_(std::move(changed)) {}
    void look();

    const int terminal_fd_;
    Changed changed_;
    std::uint32_t last_ = 0;
    base::FileDescriptor signal_;
    std::unique_ptr<event::FdWatch> watch_;
    std::unique_ptr<event::Timer> first_;
};

}  // namespace cupule::backend
