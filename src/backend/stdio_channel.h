#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "backend/byte_channel.h"
#include "backend/terminal_mode.h"
#include "base/error.h"
#include "event/event_loop.h"

namespace cupule::backend {

/// Standard input and output, which a process has once. Made by main, outlives the channel and the
/// event loop's last run. On a terminal, raw mode holds from `open` to `restore_terminal` or the
/// end of this object.
class StdioOwner {
  public:
    /// `stop_requested` runs on the channel's loop, with no lock held, when the user types Ctrl-a
    /// x. The descriptors stay the caller's.
    explicit StdioOwner(event::Callback stop_requested, int input_fd = 0, int output_fd = 1);

    /// The one channel on standard input and output. `user` ("com1") stands in messages; a second
    /// open is an error that names the first user. Input that is at its end, or a terminal that
    /// belongs to another job, is no error: such a channel only sends.
    base::Result<std::unique_ptr<ByteChannel>> open(std::string_view user, event::EventLoop& loop,
                                                    event::Monitor& monitor);

    /// Gives the terminal back as it was found. Async-signal-safe, any thread, any number of times.
    void restore_terminal() noexcept { terminal_.restore(); }

  private:
    friend class StdioChannel;
    event::Callback stop_requested_;
    const int input_fd_;
    const int output_fd_;
    std::string user_;
    TerminalMode terminal_;
};

}  // namespace cupule::backend
