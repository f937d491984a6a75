#include "passthrough/driver_keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/log.h"
#include "passthrough/host_files.h"

namespace cupule::passthrough {
namespace {

constexpr int patience_ms = 10'000;

/// A session of its own, as a signal to the terminal's processes must not end it; no signal of
/// ours blocked or ignored; `input` as its standard input.
int spawn_apart(pid_t& child, std::vector<char*>& arguments, int input) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    sigfillset(&signals);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    const int error =
        posix_spawn(&child, arguments[0], &files, &attributes, arguments.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return error;
}

std::string read_to_end(int fd) {
    std::string text;
    std::array<char, 512> buffer{};
    for (;;) {
        const ssize_t count = ::read(fd, buffer.data(), buffer.size());
        if (count > 0) {
            text.append(buffer.data(), static_cast<std::size_t>(count));
        } else if (count == 0 || errno != EINTR) {
            return text;
        }
    }
}

}  // namespace

base::Result<std::unique_ptr<DriverKeeper>> DriverKeeper::start(
    const std::vector<std::string>& command) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) < 0) {
        return base::fail_errno(errno, "no pipe to the process that gives devices back");
    }
    const base::FileDescriptor input(ends[0]);
    base::FileDescriptor output(ends[1]);
    std::vector<std::string> words = command;
    std::vector<char*> arguments;
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    pid_t helper = 0;
    if (const int error = spawn_apart(helper, arguments, input.get()); error != 0) {
        return base::fail_errno(error, "the process that gives devices back does not start: '{}'",
                                command.front());
    }
    return std::unique_ptr<DriverKeeper>(new DriverKeeper(std::move(output), helper));
}

DriverKeeper::~DriverKeeper() {
    pipe_.close();
    const base::FileDescriptor ended(static_cast<int>(syscall(SYS_pidfd_open, helper_, 0)));
    pollfd wait{.fd = ended.get(), .events = POLLIN, .revents = 0};
    if (ended && poll(&wait, 1, patience_ms) == 0) {
        base::log_warning("the host takes long to take its devices back; process {} waits for it",
                          helper_);
        return;
    }
    waitpid(helper_, nullptr, 0);
}

base::Result<void> DriverKeeper::add(const HostAddress& address) {
    const std::string line = address.text() + "\n";
    if (::write(pipe_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
        return base::fail_errno(errno, "{}: nobody would give it back", address.text());
    }
    return {};
}

std::vector<base::Error> keep_drivers(int fd, const DriverBinding& binding,
                                      const std::string& root) {
    const std::string text = read_to_end(fd);
    std::vector<base::Error> failures;
    for (std::string_view rest = text; !rest.empty();) {
        const auto address = HostAddress::parse(next_line(rest));
        const auto host = HostTopology::read(root);
        const HostFunction* function = address && host ? host->find(*address) : nullptr;
        if (address && host && (function == nullptr || !binding.record(*function))) {
            binding.forget(*address);  // unplugged, or given back by hand
        }
        if (function == nullptr || !binding.record(*function)) {
            continue;
        }
        if (auto done = binding.unbind(*function); !done) {
            failures.push_back(std::move(done.error()));
        }
    }
    return failures;
}

}  // namespace cupule::passthrough
