#include "backend/unix_streams.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "backend/unix_socket.h"
#include "base/log.h"
#include "base/text.h"

namespace cupule::backend {
namespace {

constexpr int waiting_clients_max = 16;
/// Longer than "CONNECT 4294967295\n".
constexpr std::size_t command_bytes_max = 32;
constexpr std::uint64_t accept_retry_ns = 100 * event::ns_per_ms;

class SocketStream : public HostStream {
  public:
    explicit SocketStream(base::FileDescriptor socket) : socket_(std::move(socket)) {}

    base::Result<void> start(event::EventLoop& loop, event::Monitor& monitor) {
        CUPULE_TRY_ASSIGN(watch_, loop.watch(socket_.get(), 0, monitor,
                                             [this](std::uint32_t events) { ready(events); }));
        watch_->set_events(0);
        return {};
    }

    void set_events(HostStreamEvents* events) override { events_ = events; }
    void want(bool readable, bool writable) override {
        const std::uint32_t events = (readable ? EPOLLIN : 0U) | (writable ? EPOLLOUT : 0U);
        if (std::exchange(watched_, events) != events) {
            watch_->set_events(events);
        }
    }

    Read read(std::span<const iovec> to) override {
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(to.data());  // recvmsg does not change them
        message.msg_iovlen = to.size();
        const ssize_t count = recvmsg(socket_.get(), &message, MSG_DONTWAIT);
        if (count > 0) {
            return {.bytes = static_cast<std::size_t>(count)};
        }
        if (count < 0) {
            const bool later = errno == EAGAIN || errno == EINTR;
            return {.bytes = 0, .ended = !later, .closed = !later};
        }
        return {.bytes = 0, .ended = true, .closed = hung_up()};
    }
    Written write(std::span<const iovec> from) override {
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(from.data());
        message.msg_iovlen = from.size();
        const ssize_t count = sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count >= 0) {
            return {.bytes = static_cast<std::size_t>(count)};
        }
        return {.bytes = 0, .closed = errno != EAGAIN && errno != EINTR};
    }
    void end_writing() override { shutdown(socket_.get(), SHUT_WR); }
    void end_reading() override { shutdown(socket_.get(), SHUT_RD); }
    void accepted(std::uint32_t port) override {
        std::string text = fmt::format("OK {}\n", port);
        const iovec all{.iov_base = text.data(), .iov_len = text.size()};
        // The first bytes there are find room, or nobody wants them. Where the host has none all
        // the same, the caller reads an end instead of a word that is cut.
        if (write({&all, 1}).bytes != text.size()) {
            shutdown(socket_.get(), SHUT_RDWR);
        }
    }

  private:
    /// An end that was read may be of one direction or of both.
    bool hung_up() const {
        pollfd state{.fd = socket_.get(), .events = 0, .revents = 0};
        return poll(&state, 1, 0) > 0;
    }
    void ready(std::uint32_t events) {
        const bool failed = (events & (EPOLLHUP | EPOLLERR)) != 0;
        const bool writable = (events & EPOLLOUT) != 0 || failed;
        const bool readable = (events & EPOLLIN) != 0 || failed;
        if (events_ == nullptr) {
            want(false, false);
        } else if (writable && (watched_ & EPOLLOUT) != 0) {
            events_->stream_writable();  // may be the end of this: what is readable stays so
        } else if (readable) {
            events_->stream_readable();
        }
    }

    base::FileDescriptor socket_;
    std::unique_ptr<event::FdWatch> watch_;
    std::uint32_t watched_ = 0;
    HostStreamEvents* events_ = nullptr;
};

/// The port of "CONNECT P\n".
std::optional<std::uint32_t> port_of(std::string_view line) {
    const auto [word, figures] = base::cut(line, ' ');
    return word == "CONNECT" ? base::to_number<std::uint32_t>(figures) : std::nullopt;
}

class UnixStreams : public StreamHost {
  public:
    UnixStreams(std::string path, event::EventLoop& loop, event::Monitor& monitor)
        : path_(std::move(path)),
          loop_(loop),
          monitor_(monitor),
          retry_(loop.make_timer(monitor, [this] { listener_watch_->set_events(EPOLLIN); })) {}
    ~UnixStreams() override {
        if (listener_) {
            unlink(path_.c_str());
        }
    }

    base::Result<void> listen() {
        CUPULE_TRY_ASSIGN(listener_, listen_unix(path_, waiting_clients_max));
        CUPULE_TRY_ASSIGN(listener_watch_, loop_.watch(listener_.get(), EPOLLIN, monitor_,
                                                       [this](std::uint32_t) { accept_one(); }));
        return {};
    }

    void set_events(StreamHostEvents* events) override { events_ = events; }

    std::unique_ptr<HostStream> connect(std::uint32_t port) override {
        auto socket = connect_unix(fmt::format("{}_{}", path_, port));
        if (!socket) {
            base::log_debug("{}", socket.error().message);
            return nullptr;
        }
        return stream_of(std::move(*socket));
    }

  private:
    /// One that has not said what it wants.
    struct Caller {
        base::FileDescriptor socket{};
        std::unique_ptr<event::FdWatch> watch{};
        /// What has come of its line, less than command_bytes_max.
        std::string line{};
    };
    using Place = std::list<Caller>::iterator;

    std::unique_ptr<HostStream> stream_of(base::FileDescriptor socket) {
        auto stream = make_socket_stream(std::move(socket), loop_, monitor_);
        if (!stream) {
            base::log_error("{}: {}", path_, stream.error().message);
            return nullptr;
        }
        return std::move(*stream);
    }

    void accept_one() {
        base::FileDescriptor socket(
            accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!socket) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                listener_watch_->set_events(0);
                retry_->start_at(loop_.clock().now_ns() + accept_retry_ns);
            }
            return;
        }
        if (callers_.size() >= unix_callers_max) {
            callers_.pop_front();
        }
        const Place place = callers_.insert(callers_.end(), {.socket = std::move(socket)});
        auto watch = loop_.watch(place->socket.get(), EPOLLIN, monitor_,
                                 [this, place](std::uint32_t) { hear(place); });
        if (!watch) {
            base::log_error("{}: {}", path_, watch.error().message);
            callers_.erase(place);
            return;
        }
        place->watch = std::move(*watch);
    }

    /// Takes the line and nothing behind it, which is for the other side.
    void hear(Place caller) {
        std::array<char, command_bytes_max> bytes{};
        const int fd = caller->socket.get();
        const std::size_t room = bytes.size() - caller->line.size();
        const ssize_t seen = recv(fd, bytes.data(), room, MSG_DONTWAIT | MSG_PEEK);
        if (seen < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        std::string_view text(bytes.data(), static_cast<std::size_t>(std::max(seen, 0L)));
        std::size_t end = text.find('\n');
        const std::size_t wanted = end == text.npos ? text.size() : end + 1;
        const ssize_t taken = recv(fd, bytes.data(), wanted, MSG_DONTWAIT);
        if (taken < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        text = text.substr(0, static_cast<std::size_t>(std::max(taken, 0L)));
        end = text.find('\n');
        caller->line += text.substr(0, std::min(end, text.size()));
        if (end != text.npos) {
            answer(caller);
        } else if (text.empty() || caller->line.size() == command_bytes_max) {
            callers_.erase(caller);
        }
    }

    void answer(Place caller) {
        const auto port = port_of(caller->line);
        base::FileDescriptor socket = std::move(caller->socket);
        caller->watch.reset();
        callers_.erase(caller);
        if (!port) {
            base::log_warning("{}: a caller does not say CONNECT and a port", path_);
            return;
        }
        auto stream = events_ == nullptr ? nullptr : stream_of(std::move(socket));
        if (stream) {
            events_->connect_wanted(std::move(stream), *port);
        }
    }

    const std::string path_;
    event::EventLoop& loop_;
    event::Monitor& monitor_;
    base::FileDescriptor listener_;
    std::unique_ptr<event::FdWatch> listener_watch_;
    std::unique_ptr<event::Timer> retry_;
    std::list<Caller> callers_;
    StreamHostEvents* events_ = nullptr;
};

}  // namespace

base::Result<std::unique_ptr<StreamHost>> open_unix_streams(const std::string& path,
                                                            event::EventLoop& loop,
                                                            event::Monitor& monitor) {
    auto streams = std::make_unique<UnixStreams>(path, loop, monitor);
    CUPULE_TRY(streams->listen());
    return streams;
}

base::Result<std::unique_ptr<HostStream>> make_socket_stream(base::FileDescriptor socket,
                                                             event::EventLoop& loop,
                                                             event::Monitor& monitor) {
    auto stream = std::make_unique<SocketStream>(std::move(socket));
    CUPULE_TRY(stream->start(loop, monitor));
    return stream;
}

}  // namespace cupule::backend
