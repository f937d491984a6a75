#include "testing/host_faults.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace cupule::testing {
namespace {

/// One way to go wrong: an errno value, or a success that is none.
struct Way {
    static constexpr int half = -1;
    static constexpr int nothing = -2;

    int what = 0;
    bool lasts = false;
};

constexpr Way lasting(int error) {
    return {.what = error, .lasts = true};
}
constexpr Way passing(int error) {
    return {.what = error, .lasts = false};
}

// What the calls can do wrong, by the manual's pages of Linux.
constexpr std::array makes_file{lasting(EMFILE)};
constexpr std::array opens{lasting(EMFILE), lasting(EACCES), passing(EINTR)};
constexpr std::array reads{lasting(EIO), passing(EINTR), passing(Way::half), passing(Way::nothing)};
constexpr std::array writes{lasting(ENOSPC), lasting(EIO), passing(EINTR), passing(EAGAIN),
                            passing(Way::half)};
constexpr std::array moves_at{lasting(EIO), lasting(ENOSPC), passing(EINTR), passing(Way::half),
                              passing(Way::nothing)};
constexpr std::array reads_at_once{passing(EAGAIN), lasting(EOPNOTSUPP), lasting(EIO),
                                   passing(Way::half), passing(Way::nothing)};
constexpr std::array frames{lasting(EIO), passing(EAGAIN), passing(EINTR)};
constexpr std::array receives{lasting(ECONNRESET), passing(EINTR), passing(EAGAIN),
                              passing(Way::half), passing(Way::nothing)};
constexpr std::array sends{lasting(EPIPE), lasting(ENOBUFS), passing(EINTR), passing(EAGAIN),
                           passing(Way::half)};
constexpr std::array syncs{lasting(EIO), lasting(ENOSPC)};
constexpr std::array allocates_room{lasting(EOPNOTSUPP), lasting(ENOSPC), lasting(EIO),
                                    passing(EINTR)};
constexpr std::array takes_memory{lasting(ENOMEM)};
constexpr std::array watches{lasting(ENOMEM)};
constexpr std::array waits{passing(EINTR)};
constexpr std::array accepts{lasting(EMFILE), passing(ECONNABORTED), passing(EINTR)};
constexpr std::array connects{lasting(ECONNREFUSED), passing(EINTR)};
constexpr std::array binds{lasting(EADDRINUSE)};
constexpr std::array controls{lasting(EPERM), lasting(ENOMEM)};
constexpr std::array locks{lasting(EAGAIN), lasting(ENOLCK), passing(EINTR)};
constexpr std::array examines{lasting(EIO)};
constexpr std::array asks_terminal{lasting(EIO)};
constexpr std::array gives_random{passing(EINTR), passing(Way::half), lasting(ENOSYS)};
constexpr std::array sets_up_ring{lasting(ENOSYS), lasting(ENOMEM), passing(EINVAL)};
constexpr std::array registers{lasting(EINVAL), lasting(ENOMEM)};
constexpr std::array submits{passing(EINTR), passing(EAGAIN), passing(EBUSY), lasting(ENOMEM)};

class Injector {
  public:
    void start(const FaultPlan& plan) {
        const std::lock_guard lock(mutex_);
        plan_ = plan;
        record_ = {};
        running_ = true;
    }
    FaultRecord stop() {
        const std::lock_guard lock(mutex_);
        running_ = false;
        return record_;
    }
    /// How a call has to go wrong that is about to be made.
    std::optional<int> due(std::string_view call, std::span<const Way> ways) {
        if (!running_) {
            return std::nullopt;
        }
        const std::lock_guard lock(mutex_);
        if (!running_ || well_ == std::this_thread::get_id()) {
            return std::nullopt;
        }
        ++record_.calls;
        if (record_.fired) {
            // The calls of two runs are not always the same: what passes does not last.
            const bool again = plan_.lasting && record_.may_last && record_.call == call;
            return again ? std::optional(way_) : std::nullopt;
        }
        if (record_.calls != plan_.number) {
            return std::nullopt;
        }
        const Way way = ways[std::min<std::size_t>(plan_.way, ways.size() - 1)];
        way_ = way.what;
        record_.fired = true;
        record_.call = call;
        record_.way = text(way.what);
        record_.ways = static_cast<unsigned>(ways.size());
        record_.may_last = way.lasts;
        return way_;
    }

    void set_well(std::thread::id thread) {
        const std::lock_guard lock(mutex_);
        well_ = thread;
    }

    void is_eventfd(int fd, bool is) {
        if (fd >= 0 && static_cast<std::size_t>(fd) < eventfds_.size()) {
            eventfds_[static_cast<std::size_t>(fd)] = is;
        }
    }
    bool is_eventfd(int fd) const {
        return fd >= 0 && static_cast<std::size_t>(fd) < eventfds_.size() &&
               eventfds_[static_cast<std::size_t>(fd)];
    }

  private:
    static std::string text(int what) {
        return what == Way::half      ? "half of it"
               : what == Way::nothing ? "nothing of it"
                                      : base::errno_text(what);
    }

    std::atomic<bool> running_{false};
    /// Guards what follows.
    std::mutex mutex_;
    FaultPlan plan_;
    FaultRecord record_;
    int way_ = 0;
    /// Whose calls all work.
    std::thread::id well_;
    std::array<std::atomic<bool>, 4096> eventfds_{};
};

Injector& injector() {
    static Injector the_only;
    return the_only;
}

std::function<int(unsigned long, void*)>& ioctl_answer() {
    static std::function<int(unsigned long, void*)> the_only;
    return the_only;
}

/// -1 with errno, the way calls of the C library fail.
template <class T>
T failed(int error) {
    errno = error;
    return static_cast<T>(-1);
}

/// A call that either works or fails.
template <class Call>
auto plain(const char* name, std::span<const Way> ways, Call call) -> decltype(call()) {
    if (const auto what = injector().due(name, ways)) {
        return failed<decltype(call())>(*what);
    }
    return call();
}

/// A call that moves up to `bytes` bytes: `call` is told how many.
template <class Call>
ssize_t partial(const char* name, std::span<const Way> ways, std::size_t bytes, Call call) {
    const auto what = injector().due(name, ways);
    if (!what) {
        return call(bytes);
    }
    if (*what == Way::nothing) {
        return 0;
    }
    return *what == Way::half ? call(std::max<std::size_t>(bytes / 2, 1)) : failed<ssize_t>(*what);
}

/// The first half of the bytes that a vector describes.
std::vector<iovec> first_half(const iovec* vector, std::size_t count) {
    std::size_t left = 0;
    for (std::size_t i = 0; i < count; ++i) {
        left += vector[i].iov_len;
    }
    left = std::max<std::size_t>(left / 2, 1);
    std::vector<iovec> result;
    for (std::size_t i = 0; i < count && left != 0; ++i) {
        result.push_back(vector[i]);
        result.back().iov_len = std::min(left, vector[i].iov_len);
        left -= result.back().iov_len;
    }
    return result;
}

/// A vectored call: `call` gets the vector.
template <class Call>
ssize_t vectored(const char* name, std::span<const Way> ways, const iovec* vector, int count,
                 Call call) {
    const auto what = injector().due(name, ways);
    if (!what) {
        return call(vector, count);
    }
    if (*what == Way::nothing) {
        return 0;
    }
    if (*what != Way::half) {
        return failed<ssize_t>(*what);
    }
    const auto half = first_half(vector, static_cast<std::size_t>(count));
    return call(half.data(), static_cast<int>(half.size()));
}

/// A request in a submission ring that shall end as `result` says, without being carried out.
struct Ending {
    std::uint64_t user_data = 0;
    int result = 0;
};

/// Vectors that the kernel reads during a submission.
using Halves = std::vector<std::vector<iovec>>;

void spoil(io_uring_sqe& sqe, int what, std::vector<Ending>& endings, Halves& halves) {
    const bool vector = sqe.opcode == IORING_OP_READV || sqe.opcode == IORING_OP_WRITEV;
    if (what == Way::half && vector) {
        halves.push_back(first_half(reinterpret_cast<const iovec*>(sqe.addr), sqe.len));
        sqe.addr = reinterpret_cast<std::uint64_t>(halves.back().data());
        sqe.len = static_cast<std::uint32_t>(halves.back().size());
        return;
    }
    const bool fixed = sqe.opcode == IORING_OP_READ_FIXED || sqe.opcode == IORING_OP_WRITE_FIXED;
    if (what == Way::half && fixed) {
        sqe.len = std::max(sqe.len / 2, 1U);
        return;
    }
    if (what == Way::half || (what == Way::nothing && !vector && !fixed)) {
        return;  // such a request has no parts
    }
    const std::uint64_t user_data = sqe.user_data;
    std::memset(&sqe, 0, sizeof sqe);
    sqe.opcode = IORING_OP_NOP;
    sqe.user_data = user_data;
    endings.push_back({.user_data = user_data, .result = what == Way::nothing ? 0 : -what});
}

/// Has requests go wrong that are about to be submitted.
std::vector<Ending> spoil_requests(io_uring& ring, Halves& halves) {
    std::vector<Ending> endings;
    for (unsigned at = ring.sq.sqe_head; at != ring.sq.sqe_tail; ++at) {
        io_uring_sqe& sqe = ring.sq.sqes[at & ring.sq.ring_mask];
        std::span<const Way> ways = moves_at;
        if (sqe.opcode == IORING_OP_FSYNC) {
            ways = syncs;
        } else if (sqe.opcode == IORING_OP_FALLOCATE) {
            ways = allocates_room;
        } else if (sqe.opcode == IORING_OP_NOP) {
            continue;
        }
        if (const auto what = injector().due("a request of io_uring", ways)) {
            spoil(sqe, *what, endings, halves);
        }
    }
    return endings;
}

/// A NOP ends while it is submitted: its result is there, to be changed before anyone sees it.
void change_results(io_uring& ring, const std::vector<Ending>& endings) {
    unsigned head = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(&ring, head, cqe) {
        for (const Ending& ending : endings) {
            if (cqe->user_data == ending.user_data) {
                cqe->res = ending.result;
            }
        }
    }
}

}  // namespace

void start_host_faults(const FaultPlan& plan) {
    injector().start(plan);
}

FaultRecord stop_host_faults() {
    return injector().stop();
}

WellHost::WellHost() {
    injector().set_well(std::this_thread::get_id());
}

WellHost::~WellHost() {
    injector().set_well({});
}

void answer_ioctls(std::function<int(unsigned long request, void* argument)> answer) {
    ioctl_answer() = std::move(answer);
}

unsigned open_descriptors() {
    std::error_code error;
    const std::filesystem::directory_iterator entries("/proc/self/fd", error);
    return static_cast<unsigned>(std::distance(begin(entries), end(entries)));
}

unsigned walk_host_faults(unsigned calls_max,
                          const std::function<void(const FaultPlan&)>& scenario) {
    unsigned met = 0;
    std::signal(SIGPIPE, SIG_IGN);  // as the program does
    // What is made once and stays: locale, allocator, io_uring's threads.
    scenario({});
    stop_host_faults();
    const unsigned before = open_descriptors();
    for (FaultPlan plan{.number = 1};; plan = {.number = plan.number + 1}) {
        if (plan.number > calls_max) {
            ADD_FAILURE() << "more than " << calls_max << " calls";
            return met;
        }
        FaultRecord record;
        do {
            scenario(plan);
            record = stop_host_faults();
            EXPECT_EQ(open_descriptors(), before) << "descriptors stay open";
            if (::testing::Test::HasFailure()) {
                ADD_FAILURE() << "call " << plan.number << ", " << record.call << ": " << record.way
                              << (plan.lasting ? ", lasting" : "");
                return met;
            }
            met += record.fired ? 1U : 0U;
            if (record.may_last && !plan.lasting) {
                plan.lasting = true;
            } else {
                plan.lasting = false;
                ++plan.way;
            }
        } while (record.fired && plan.way < record.ways);
        if (!record.fired) {
            return met;
        }
    }
}

}  // namespace cupule::testing

// The calls themselves: NAME goes to __wrap_NAME, which the linker calls __real_NAME.
// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names

using namespace cupule::testing;

#define CUPULE_PLAIN(result, name, ways, parameters, arguments)             \
    extern "C" result __real_##name parameters;                             \
    extern "C" result __wrap_##name parameters;                             \
    extern "C" result __wrap_##name parameters {                            \
        return plain(#name, ways, [&] { return __real_##name arguments; }); \
    }

CUPULE_PLAIN(int, fstat64, examines, (int fd, struct stat64* to), (fd, to))
CUPULE_PLAIN(int, fdatasync, syncs, (int fd), (fd))
CUPULE_PLAIN(int, fallocate64, allocates_room, (int fd, int mode, off64_t at, off64_t bytes),
             (fd, mode, at, bytes))
CUPULE_PLAIN(int, ftruncate64, allocates_room, (int fd, off64_t bytes), (fd, bytes))
CUPULE_PLAIN(int, memfd_create, makes_file, (const char* name, unsigned flags), (name, flags))
CUPULE_PLAIN(int, madvise, takes_memory, (void* at, std::size_t bytes, int advice),
             (at, bytes, advice))
CUPULE_PLAIN(int, epoll_create1, makes_file, (int flags), (flags))
CUPULE_PLAIN(int, timerfd_create, makes_file, (int clock, int flags), (clock, flags))
CUPULE_PLAIN(int, epoll_wait, waits, (int fd, epoll_event* events, int count, int timeout),
             (fd, events, count, timeout))
CUPULE_PLAIN(int, socket, makes_file, (int domain, int type, int protocol),
             (domain, type, protocol))
CUPULE_PLAIN(int, socketpair, makes_file, (int domain, int type, int protocol, int* fds),
             (domain, type, protocol, fds))
CUPULE_PLAIN(int, bind, binds, (int fd, const sockaddr* address, socklen_t size),
             (fd, address, size))
CUPULE_PLAIN(int, listen, binds, (int fd, int backlog), (fd, backlog))
CUPULE_PLAIN(int, connect, connects, (int fd, const sockaddr* address, socklen_t size),
             (fd, address, size))
CUPULE_PLAIN(int, accept4, accepts, (int fd, sockaddr* address, socklen_t* size, int flags),
             (fd, address, size, flags))
CUPULE_PLAIN(int, tcgetattr, asks_terminal, (int fd, termios* to), (fd, to))
CUPULE_PLAIN(int, tcsetattr, asks_terminal, (int fd, int when, const termios* from),
             (fd, when, from))
CUPULE_PLAIN(int, unlockpt, asks_terminal, (int fd), (fd))
CUPULE_PLAIN(ssize_t, writev, frames, (int fd, const iovec* vector, int count), (fd, vector, count))
CUPULE_PLAIN(ssize_t, readv, frames, (int fd, const iovec* vector, int count), (fd, vector, count))

#undef CUPULE_PLAIN

extern "C" {

int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags) {
    const int fd = plain("eventfd", makes_file, [&] { return __real_eventfd(value, flags); });
    injector().is_eventfd(fd, true);
    return fd;
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd) {
    injector().is_eventfd(fd, false);
    return __real_close(fd);
}

int __real_open64(const char* path, int flags, ...);
int __wrap_open64(const char* path, int flags, unsigned mode);
int __wrap_open64(const char* path, int flags, unsigned mode) {
    return plain("open", opens, [&] { return __real_open64(path, flags, mode); });
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, void* argument);
int __wrap_fcntl64(int fd, int command, void* argument) {
    const auto call = [&] { return __real_fcntl64(fd, command, argument); };
    if (command == F_DUPFD_CLOEXEC) {
        return plain("fcntl of F_DUPFD_CLOEXEC", makes_file, call);
    }
    return command == F_OFD_SETLK ? plain("fcntl of F_OFD_SETLK", locks, call) : call();
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, void* argument);
int __wrap_ioctl(int fd, unsigned long request, void* argument) {
    return plain("ioctl", controls, [&] {
        const auto& answer = ioctl_answer();
        return answer ? answer(request, argument) : __real_ioctl(fd, request, argument);
    });
}

void* __real_mmap64(void* at, std::size_t bytes, int protection, int flags, int fd, off64_t from);
void* __wrap_mmap64(void* at, std::size_t bytes, int protection, int flags, int fd, off64_t from);
void* __wrap_mmap64(void* at, std::size_t bytes, int protection, int flags, int fd, off64_t from) {
    if (const auto what = injector().due("mmap", takes_memory)) {
        errno = *what;
        return MAP_FAILED;
    }
    return __real_mmap64(at, bytes, protection, flags, fd, from);
}

int __real_epoll_ctl(int set, int change, int fd, epoll_event* event);
int __wrap_epoll_ctl(int set, int change, int fd, epoll_event* event);
int __wrap_epoll_ctl(int set, int change, int fd, epoll_event* event) {
    const auto call = [&] { return __real_epoll_ctl(set, change, fd, event); };
    return change == EPOLL_CTL_ADD ? plain("epoll_ctl of EPOLL_CTL_ADD", watches, call) : call();
}

ssize_t __real_read(int fd, void* to, std::size_t bytes);
ssize_t __wrap_read(int fd, void* to, std::size_t bytes);
ssize_t __wrap_read(int fd, void* to, std::size_t bytes) {
    if (injector().is_eventfd(fd)) {
        return __real_read(fd, to, bytes);
    }
    return partial("read", reads, bytes, [&](std::size_t n) { return __real_read(fd, to, n); });
}

ssize_t __real_write(int fd, const void* from, std::size_t bytes);
ssize_t __wrap_write(int fd, const void* from, std::size_t bytes);
ssize_t __wrap_write(int fd, const void* from, std::size_t bytes) {
    if (injector().is_eventfd(fd) || fd == STDERR_FILENO || fd == STDOUT_FILENO) {
        return __real_write(fd, from, bytes);
    }
    return partial("write", writes, bytes,
                   [&](std::size_t n) { return __real_write(fd, from, n); });
}

ssize_t __real_recv(int fd, void* to, std::size_t bytes, int flags);
ssize_t __wrap_recv(int fd, void* to, std::size_t bytes, int flags);
ssize_t __wrap_recv(int fd, void* to, std::size_t bytes, int flags) {
    return partial("recv", receives, bytes,
                   [&](std::size_t n) { return __real_recv(fd, to, n, flags); });
}

ssize_t __real_send(int fd, const void* from, std::size_t bytes, int flags);
ssize_t __wrap_send(int fd, const void* from, std::size_t bytes, int flags);
ssize_t __wrap_send(int fd, const void* from, std::size_t bytes, int flags) {
    return partial("send", sends, bytes,
                   [&](std::size_t n) { return __real_send(fd, from, n, flags); });
}

ssize_t __real_preadv64(int fd, const iovec* vector, int count, off64_t at);
ssize_t __wrap_preadv64(int fd, const iovec* vector, int count, off64_t at);
ssize_t __wrap_preadv64(int fd, const iovec* vector, int count, off64_t at) {
    return vectored("preadv", moves_at, vector, count,
                    [&](const iovec* v, int n) { return __real_preadv64(fd, v, n, at); });
}

ssize_t __real_pwritev64(int fd, const iovec* vector, int count, off64_t at);
ssize_t __wrap_pwritev64(int fd, const iovec* vector, int count, off64_t at);
ssize_t __wrap_pwritev64(int fd, const iovec* vector, int count, off64_t at) {
    return vectored("pwritev", moves_at, vector, count,
                    [&](const iovec* v, int n) { return __real_pwritev64(fd, v, n, at); });
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f) {
    if (number == SYS_bpf) {
        return plain("bpf", controls, [&] { return __real_syscall(number, a, b, c, d, e, f); });
    }
    if (number != SYS_preadv2) {
        return __real_syscall(number, a, b, c, d, e, f);
    }
    return vectored(
        "preadv2", reads_at_once, reinterpret_cast<const iovec*>(b), static_cast<int>(c),
        [&](const iovec* v, int n) { return __real_syscall(number, a, v, long{n}, d, e, f); });
}

ssize_t __real_pread64(int fd, void* to, std::size_t bytes, off64_t at);
ssize_t __wrap_pread64(int fd, void* to, std::size_t bytes, off64_t at);
ssize_t __wrap_pread64(int fd, void* to, std::size_t bytes, off64_t at) {
    return partial("pread", moves_at, bytes,
                   [&](std::size_t n) { return __real_pread64(fd, to, n, at); });
}

ssize_t __real_getrandom(void* to, std::size_t bytes, unsigned flags);
ssize_t __wrap_getrandom(void* to, std::size_t bytes, unsigned flags);
ssize_t __wrap_getrandom(void* to, std::size_t bytes, unsigned flags) {
    return partial("getrandom", gives_random, bytes,
                   [&](std::size_t n) { return __real_getrandom(to, n, flags); });
}

ssize_t __real_recvmsg(int fd, msghdr* message, int flags);
ssize_t __wrap_recvmsg(int fd, msghdr* message, int flags);
ssize_t __wrap_recvmsg(int fd, msghdr* message, int flags) {
    return vectored("recvmsg", receives, message->msg_iov, static_cast<int>(message->msg_iovlen),
                    [&](const iovec* v, int n) {
                        message->msg_iov = const_cast<iovec*>(v);
                        message->msg_iovlen = static_cast<std::size_t>(n);
                        return __real_recvmsg(fd, message, flags);
                    });
}

ssize_t __real_sendmsg(int fd, const msghdr* message, int flags);
ssize_t __wrap_sendmsg(int fd, const msghdr* message, int flags);
ssize_t __wrap_sendmsg(int fd, const msghdr* message, int flags) {
    return vectored("sendmsg", sends, message->msg_iov, static_cast<int>(message->msg_iovlen),
                    [&](const iovec* v, int n) {
                        msghdr part = *message;
                        part.msg_iov = const_cast<iovec*>(v);
                        part.msg_iovlen = static_cast<std::size_t>(n);
                        return __real_sendmsg(fd, &part, flags);
                    });
}

// liburing answers with the negative errno.

int __real_io_uring_queue_init(unsigned entries, io_uring* ring, unsigned flags);
int __wrap_io_uring_queue_init(unsigned entries, io_uring* ring, unsigned flags);
int __wrap_io_uring_queue_init(unsigned entries, io_uring* ring, unsigned flags) {
    const auto what = injector().due("io_uring_queue_init", sets_up_ring);
    return what ? -*what : __real_io_uring_queue_init(entries, ring, flags);
}

int __real_io_uring_register_buffers(io_uring* ring, const iovec* buffers, unsigned count);
int __wrap_io_uring_register_buffers(io_uring* ring, const iovec* buffers, unsigned count);
int __wrap_io_uring_register_buffers(io_uring* ring, const iovec* buffers, unsigned count) {
    const auto what = injector().due("io_uring_register_buffers", registers);
    return what ? -*what : __real_io_uring_register_buffers(ring, buffers, count);
}

int __real_io_uring_register_files(io_uring* ring, const int* files, unsigned count);
int __wrap_io_uring_register_files(io_uring* ring, const int* files, unsigned count);
int __wrap_io_uring_register_files(io_uring* ring, const int* files, unsigned count) {
    const auto what = injector().due("io_uring_register_files", registers);
    return what ? -*what : __real_io_uring_register_files(ring, files, count);
}

int __real_io_uring_register_eventfd(io_uring* ring, int fd);
int __wrap_io_uring_register_eventfd(io_uring* ring, int fd);
int __wrap_io_uring_register_eventfd(io_uring* ring, int fd) {
    const auto what = injector().due("io_uring_register_eventfd", registers);
    return what ? -*what : __real_io_uring_register_eventfd(ring, fd);
}

int __real_io_uring_submit(io_uring* ring);
int __wrap_io_uring_submit(io_uring* ring);
int __wrap_io_uring_submit(io_uring* ring) {
    if (const auto what = injector().due("io_uring_submit", submits)) {
        return -*what;
    }
    Halves halves;
    const auto endings = spoil_requests(*ring, halves);
    const int result = __real_io_uring_submit(ring);
    if (!endings.empty()) {
        change_results(*ring, endings);
    }
    return result;
}

}  // extern "C"

// NOLINTEND(bugprone-reserved-identifier)
