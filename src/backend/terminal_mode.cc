#include "backend/terminal_mode.h"

#include <cerrno>
#include <csignal>

namespace cupule::backend {
namespace {

/// tcsetattr from a background job stops the process unless SIGTTOU is blocked (POSIX, 11.1.4).
int set_attributes(int fd, const termios& attributes) noexcept {
    sigset_t stop_signal;
    sigset_t old_signals;
    sigemptyset(&stop_signal);
    sigaddset(&stop_signal, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &stop_signal, &old_signals);
    const int result = tcsetattr(fd, TCSANOW, &attributes);
    const int code = errno;
    pthread_sigmask(SIG_SETMASK, &old_signals, nullptr);
    errno = code;
    return result;
}

}  // namespace

base::Result<void> TerminalMode::set_raw(int fd, RawMode mode) {
    if (tcgetattr(fd, &saved_) < 0) {
        return base::fail_errno(errno, "cannot read the terminal's mode");
    }
    termios raw = saved_;
    cfmakeraw(&raw);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (mode == RawMode::console) {
        raw.c_oflag = saved_.c_oflag | OPOST;
    } else {
        raw.c_cflag |= CLOCAL | CREAD;
    }
    fd_ = fd;
    raw_.store(true);
    if (set_attributes(fd, raw) < 0) {
        const int code = errno;
        raw_.store(false);
        return base::fail_errno(code, "cannot set the terminal to raw mode");
    }
    return {};
}

void TerminalMode::restore() noexcept {
    if (raw_.exchange(false)) {
        const int code = errno;
        set_attributes(fd_, saved_);
        errno = code;
    }
}

}  // namespace cupule::backend
