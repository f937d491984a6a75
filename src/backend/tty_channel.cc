#include "backend/tty_channel.h"

#include <fcntl.h>
#include <unistd.h>

#include "backend/fd_channel.h"
#include "backend/terminal_mode.h"
#include "base/log.h"

namespace cupule::backend {
namespace {

class TtyChannel : public FdChannel {
  public:
    using FdChannel::FdChannel;

    base::Result<void> start(base::FileDescriptor terminal) {
        // A second descriptor, as the first is closed when the terminal hangs up.
        CUPULE_TRY_ASSIGN(terminal_, terminal.duplicate());
        CUPULE_TRY(mode_.set_raw(terminal_.get(), RawMode::line));
        return attach_both_ways(std::move(terminal));
    }

  protected:
    void hung_up() override {
        base::log_warning("{}: the terminal is gone; output is dropped", name());
        announce(false);
    }

  private:
    base::FileDescriptor terminal_;
    TerminalMode mode_;
};

}  // namespace

base::Result<std::unique_ptr<ByteChannel>> open_tty_channel(const std::string& path,
                                                            event::EventLoop& loop,
                                                            event::Monitor& monitor) {
    // Non-blocking, or the open would wait for a carrier.
    CUPULE_TRY_ASSIGN(base::FileDescriptor terminal,
                      base::open_file(path, O_RDWR | O_NOCTTY | O_NONBLOCK));
    if (isatty(terminal.get()) == 0) {
        return base::fail("'{}' is not a terminal; for a file say file:{}", path, path);
    }
    auto channel = std::make_unique<TtyChannel>(loop, monitor, path);
    CUPULE_TRY(channel->start(std::move(terminal)));
    return channel;
}

}  // namespace cupule::backend
