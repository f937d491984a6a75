#include "app/fatal_signals.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>

#include "base/assert.h"
#include "base/file_descriptor.h"

namespace cupule::app {
namespace {

/// A terminal of which this process keeps the other side.
struct Terminal {
    Terminal() {
        grantpt(main.get());
        unlockpt(main.get());
        user = base::FileDescriptor(::open(ptsname(main.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    }
    bool raw() const {
        termios mode{};
        tcgetattr(user.get(), &mode);
        return (mode.c_lflag & ICANON) == 0;
    }

    base::FileDescriptor main{posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
    base::FileDescriptor user;
};

/// The signal that ended a process which had `terminal` in raw mode and then did `last`.
template <class Last>
int signal_that_ended(const Terminal& terminal, Last last) {
    const pid_t child = fork();
    if (child == 0) {
        // Past the handlers of sanitizers, whose reports are not of interest here.
        for (const int signal : {SIGSEGV, SIGABRT, SIGQUIT}) {
            std::signal(signal, SIG_DFL);
        }
        const auto loop = event::EventLoop::create();
        event::Monitor monitor;
        backend::StdioOwner stdio([] {}, terminal.user.get(), terminal.user.get());
        const FatalSignals fatal_signals(stdio);
        const auto channel = stdio.open("com1", **loop, monitor);
        if (!channel || !terminal.raw()) {
            _exit(1);
        }
        last();
        _exit(2);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

TEST(FatalSignals, AFailedAssertionLeavesTheTerminalAsItWas) {
    const Terminal terminal;
    EXPECT_EQ(signal_that_ended(terminal, [] { CUPULE_ASSERT(getpid() == 0); }), SIGABRT);
    EXPECT_FALSE(terminal.raw());
}

TEST(FatalSignals, ASignalFromOutsideKillsAndLeavesTheTerminalAsItWas) {
    const Terminal terminal;
    for (const int signal : {SIGQUIT, SIGSEGV}) {
        EXPECT_EQ(signal_that_ended(terminal, [signal] { kill(getpid(), signal); }), signal);
        EXPECT_FALSE(terminal.raw());
    }
}

TEST(FatalSignals, TheEarlierActionsComeBackWithItsEnd) {
    backend::StdioOwner stdio([] {});
    struct sigaction before {};
    struct sigaction after {};
    sigaction(SIGQUIT, nullptr, &before);
    { const FatalSignals fatal_signals(stdio); }
    sigaction(SIGQUIT, nullptr, &after);
    EXPECT_EQ(before.sa_handler, after.sa_handler);
}

}  // namespace
}  // namespace cupule::app
