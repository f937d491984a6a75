#include "backend/stdio_channel.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "backend/fd_channel.h"
#include "base/file_descriptor.h"
#include "base/log.h"

namespace cupule::backend {
namespace {

constexpr std::uint8_t escape_key = 0x01;  // Ctrl-a

constexpr std::string_view help_text =
    "\r\nCtrl-a x  stop the machine\r\n"
    "Ctrl-a b  send a break\r\n"
    "Ctrl-a h  this help (also Ctrl-a c, Ctrl-a ?)\r\n"
    "Ctrl-a Ctrl-a  send Ctrl-a\r\n";

/// A descriptor of ours of the same pipe or terminal. O_NONBLOCK belongs to the open file, which
/// the shell and our own stderr share, so the file is opened anew. A regular file must share its
/// offset with others and never blocks; a socket cannot be opened anew and has MSG_DONTWAIT.
base::Result<base::FileDescriptor> private_copy(int fd, int access) {
    struct stat status {};
    if (fstat(fd, &status) < 0) {
        return base::fail_errno(errno, "file descriptor {} is not open", fd);
    }
    if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
        auto opened =
            base::open_file(fmt::format("/proc/self/fd/{}", fd), access | O_NONBLOCK | O_NOCTTY);
        if (opened) {
            return opened;
        }
    }
    // Another user's terminal, or no /proc: a slow reader then holds up the writer.
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) {
        return base::fail_errno(errno, "cannot duplicate file descriptor {}", fd);
    }
    return base::FileDescriptor(copy);
}

bool belongs_to_another_job(int terminal) {
    const pid_t foreground = tcgetpgrp(terminal);
    return foreground >= 0 && foreground != getpgrp();
}

}  // namespace

class StdioChannel : public FdChannel {
  public:
    StdioChannel(event::EventLoop& loop, event::Monitor& monitor, StdioOwner& owner)
        : FdChannel(loop, monitor, "stdio"), owner_(owner) {}

    base::Result<void> start(base::FileDescriptor input, base::FileDescriptor output) {
        return attach(std::move(input), std::move(output), Ending::each_way);
    }
    bool connected() const override { return true; }

  protected:
    std::size_t filter_input(std::span<std::uint8_t> bytes) override {
        std::size_t kept = 0;
        for (const std::uint8_t byte : bytes) {
            if (std::exchange(escaped_, false)) {
                kept += escape(byte, bytes[kept]) ? 1U : 0U;
            } else if (byte == escape_key) {
                escaped_ = true;
            } else {
                bytes[kept++] = byte;
            }
        }
        return kept;
    }

    void news() override {
        if (std::exchange(break_owed_, false) && events() != nullptr) {
            events()->break_received();
        }
    }

  private:
    /// The key after Ctrl-a. True when `sent` is a byte for the device.
    bool escape(std::uint8_t key, std::uint8_t& sent) {
        switch (key) {
            case escape_key:
                sent = escape_key;
                return true;
            case 'x':
                loop().post([&owner = owner_] { owner.stop_requested_(); });
                return false;
            case 'b':
                break_owed_ = true;
                request_news();
                return false;
            case 'c':
            case 'h':
            case '?':
                write({reinterpret_cast<const std::uint8_t*>(help_text.data()), help_text.size()});
                return false;
            default:
                return false;
        }
    }

    StdioOwner& owner_;
    bool escaped_ = false;
    bool break_owed_ = false;
};

StdioOwner::StdioOwner(event::Callback stop_requested, int input_fd, int output_fd)
    : stop_requested_(std::move(stop_requested)), input_fd_(input_fd), output_fd_(output_fd) {}

base::Result<std::unique_ptr<ByteChannel>> StdioOwner::open(std::string_view user,
                                                            event::EventLoop& loop,
                                                            event::Monitor& monitor) {
    if (!user_.empty()) {
        return base::fail(
            "stdio for '{}': '{}' has it already and there is one standard input; use "
            "pty, unix:PATH or tcp:PORT",
            user, user_);
    }
    // A closed standard input or output is like /dev/null: nothing comes, nothing is kept.
    auto input = private_copy(input_fd_, O_RDONLY);
    auto output = private_copy(output_fd_, O_WRONLY);
    if (input && isatty(input_fd_) == 1) {
        if (belongs_to_another_job(input_fd_)) {
            base::log_warning("stdio: the terminal belongs to another job; {} has no input", user);
            input = base::FileDescriptor();
        } else {
            CUPULE_TRY(terminal_.set_raw(input_fd_, RawMode::console));
        }
    }
    auto channel = std::make_unique<StdioChannel>(loop, monitor, *this);
    CUPULE_TRY(channel->start(input ? std::move(*input) : base::FileDescriptor(),
                              output ? std::move(*output) : base::FileDescriptor()));
    user_ = user;
    return channel;
}

}  // namespace cupule::backend
