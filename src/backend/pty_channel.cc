#include "backend/pty_channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "backend/fd_channel.h"
#include "base/log.h"

namespace cupule::backend {
namespace {

base::Result<void> replace_link(const std::string& target, const std::string& link) {
    struct stat status {};
    if (lstat(link.c_str(), &status) == 0) {
        if (!S_ISLNK(status.st_mode)) {
            return base::fail("'{}' exists and is not a symbolic link", link);
        }
        unlink(link.c_str());
    }
    if (::symlink(target.c_str(), link.c_str()) < 0) {
        return base::fail_errno(errno, "cannot make the symbolic link '{}'", link);
    }
    return {};
}

/// The master of a pty hangs up whenever nobody has the slave open, and epoll cannot wait for the
/// end of a hang-up. So the channel is attached only while somebody has, and inotify says when.
class PtyChannel : public FdChannel {
  public:
    using FdChannel::FdChannel;
    ~PtyChannel() override {
        std::array<char, 256> target{};
        const ssize_t length = readlink(link_.c_str(), target.data(), target.size());
        if (length > 0 && slave_ == std::string(target.data(), static_cast<std::size_t>(length))) {
            unlink(link_.c_str());
        }
    }

    base::Result<void> start(const std::string& link) {
        CUPULE_TRY(open_master());
        CUPULE_TRY(watch_opens());
        if (!link.empty()) {
            CUPULE_TRY(replace_link(slave_, link));
            link_ = link;
        }
        base::log(base::LogLevel::notice, "{}: {}", name(), slave_);
        return {};
    }

  protected:
    void hung_up() override {
        announce(false);
        look();
    }

  private:
    base::Result<void> open_master() {
        CUPULE_TRY_ASSIGN(master_, base::open_file("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK));
        std::array<char, 64> path{};
        if (unlockpt(master_.get()) < 0 ||
            ptsname_r(master_.get(), path.data(), path.size()) != 0) {
            return base::fail_errno(errno, "cannot unlock a new pseudo terminal");
        }
        slave_ = path.data();
        // Opening and closing the slave once sets its mode and starts the hang-up.
        CUPULE_TRY_ASSIGN(base::FileDescriptor slave,
                          base::open_file(slave_, O_RDWR | O_NOCTTY | O_NONBLOCK));
        termios mode{};
        if (tcgetattr(slave.get(), &mode) < 0) {
            return base::fail_errno(errno, "cannot read the mode of '{}'", slave_);
        }
        cfmakeraw(&mode);
        if (tcsetattr(slave.get(), TCSANOW, &mode) < 0) {
            return base::fail_errno(errno, "cannot set '{}' to raw mode", slave_);
        }
        return {};
    }

    base::Result<void> watch_opens() {
        opens_ = base::FileDescriptor(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
        if (!opens_ || inotify_add_watch(opens_.get(), slave_.c_str(), IN_OPEN) < 0) {
            return base::fail_errno(errno, "cannot watch for users of '{}' with inotify", slave_);
        }
        CUPULE_TRY_ASSIGN(watch_, loop().watch(opens_.get(), EPOLLIN, monitor(),
                                               [this](std::uint32_t) { on_open(); }));
        return {};
    }

    void on_open() {
        std::array<char, 4096> events{};
        while (::read(opens_.get(), events.data(), events.size()) > 0) {
        }
        look();
    }

    /// Attaches when somebody has the slave open now, or wrote and has left already.
    void look() {
        pollfd state{.fd = master_.get(), .events = POLLIN, .revents = 0};
        if (connected() || poll(&state, 1, 0) < 0 ||
            (state.revents & (POLLHUP | POLLIN)) == POLLHUP) {
            return;
        }
        auto copy = master_.duplicate();
        auto attached = copy ? attach_both_ways(std::move(*copy))
                             : base::Result<void>(std::unexpected(copy.error()));
        if (!attached) {
            base::log_error("{}: {}", name(), attached.error().message);
            return;
        }
        announce(true);
    }

    base::FileDescriptor master_;
    base::FileDescriptor opens_;
    std::unique_ptr<event::FdWatch> watch_;
    std::string slave_;
    std::string link_;
};

}  // namespace

base::Result<std::unique_ptr<ByteChannel>> open_pty_channel(const std::string& symlink,
                                                            event::EventLoop& loop,
                                                            event::Monitor& monitor) {
    auto channel = std::make_unique<PtyChannel>(loop, monitor, "pty");
    CUPULE_TRY(channel->start(symlink));
    return channel;
}

}  // namespace cupule::backend
