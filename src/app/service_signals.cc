#include "app/service_signals.h"

#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>

namespace cupule::app {

base::Result<base::FileDescriptor> take_end_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
        sigaddset(&set, signal);
    }
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    base::FileDescriptor fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd) {
        return base::fail_errno(errno, "cannot receive signals");
    }
    return fd;
}

}  // namespace cupule::app
