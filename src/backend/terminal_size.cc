#include "backend/terminal_size.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

namespace cupule::backend {
namespace {

sigset_t window_signal() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    return set;
}

}  // namespace

base::Result<std::unique_ptr<TerminalSize>> TerminalSize::watch(int terminal_fd,
                                                                event::EventLoop& loop,
                                                                event::Monitor& monitor,
                                                                Changed changed) {
    std::unique_ptr<TerminalSize> size(new TerminalSize(terminal_fd, std::move(changed)));
    const sigset_t set = window_signal();
    size->signal_ = base::FileDescriptor(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!size->signal_) {
        return base::fail_errno(errno, "cannot watch for the terminal's size");
    }
    CUPULE_TRY_ASSIGN(
        size->watch_,
        loop.watch(size->signal_.get(), EPOLLIN, monitor, [self = size.get()](std::uint32_t) {
            signalfd_siginfo info{};
            while (read(self->signal_.get(), &info, sizeof info) > 0) {
            }
            self->look();
        }));
    size->first_ = loop.make_timer(monitor, [self = size.get()] { self->look(); });
    size->first_->start_at(loop.clock().now_ns());
    return size;
}

void TerminalSize::look() {
    winsize cells{};
    if (ioctl(terminal_fd_, TIOCGWINSZ, &cells) < 0) {
        return;
    }
    const std::uint32_t now = std::uint32_t{cells.ws_col} | std::uint32_t{cells.ws_row} << 16;
    if (std::exchange(last_, now) != now) {
        changed_(cells.ws_col, cells.ws_row);
    }
}

}  // namespace cupule::backend
