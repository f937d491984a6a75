#include "backend/socket_channel.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "backend/fd_channel.h"
#include "backend/unix_socket.h"
#include "base/log.h"

namespace cupule::backend {
namespace {

constexpr int socket_type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
constexpr int waiting_clients_max = 4;

/// An address of any family as the socket calls want it.
struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;

    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
    int family() const { return storage.ss_family; }
};

base::Result<SocketAddress> tcp_address(const std::string& text, std::uint16_t port) {
    SocketAddress result;
    sockaddr_in v4{};
    sockaddr_in6 v6{};
    if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        std::memcpy(&result.storage, &v4, sizeof v4);
        result.size = sizeof v4;
        return result;
    }
    if (inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        std::memcpy(&result.storage, &v6, sizeof v6);
        result.size = sizeof v6;
        return result;
    }
    return base::fail("'{}' is not an IPv4 or IPv6 address in figures", text);
}

class ServerChannel : public FdChannel {
  public:
    using FdChannel::FdChannel;
    ~ServerChannel() override {
        if (!path_.empty()) {
            unlink(path_.c_str());
        }
    }

    base::Result<void> start_unix(const std::string& path) {
        CUPULE_TRY_ASSIGN(listener_, listen_unix(path, waiting_clients_max));
        path_ = path;
        return serve();
    }

    base::Result<void> start_tcp(const SocketAddress& address) {
        listener_ = base::FileDescriptor(socket(address.family(), socket_type, 0));
        if (!listener_) {
            return base::fail_errno(errno, "cannot create a socket");
        }
        const int on = 1;
        setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(listener_.get(), address.get(), address.size) < 0 ||
            listen(listener_.get(), waiting_clients_max) < 0) {
            return base::fail_errno(errno, "cannot listen on {}", name());
        }
        return serve();
    }

    std::uint16_t port() const {
        sockaddr_storage storage{};
        socklen_t size = sizeof storage;
        getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&storage), &size);
        // The port stands at the same place in both families (RFC 3493, 3.3).
        sockaddr_in address{};
        std::memcpy(&address, &storage, sizeof address);
        return ntohs(address.sin_port);
    }

  protected:
    void hung_up() override {
        base::log_info("{}: client disconnected", name());
        announce(false);
        watch_->set_events(EPOLLIN);
    }

  private:
    base::Result<void> serve() {
        CUPULE_TRY_ASSIGN(watch_, loop().watch(listener_.get(), EPOLLIN, monitor(),
                                               [this](std::uint32_t) { on_client(); }));
        return {};
    }

    void on_client() {
        base::FileDescriptor client(
            accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!client || connected()) {
            return;
        }
        const int on = 1;
        setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // TCP only
        auto attached = attach_both_ways(std::move(client));
        if (!attached) {
            base::log_error("{}", attached.error().message);
            detach();
            return;
        }
        watch_->set_events(0);  // The next client waits in the queue.
        base::log_info("{}: client connected", name());
        announce(true);
    }

    base::FileDescriptor listener_;
    std::unique_ptr<event::FdWatch> watch_;
    std::string path_;
};

class ClientChannel : public FdChannel {
  public:
    ClientChannel(event::EventLoop& loop, event::Monitor& monitor, const std::string& path)
        : FdChannel(loop, monitor, "unix-client:" + path),
          path_(path),
          retry_(loop.make_timer(monitor, [this] { retry(); })) {}

    base::Result<void> start() {
        CUPULE_TRY_ASSIGN(base::FileDescriptor socket, connect_unix(path_));
        return attach_both_ways(std::move(socket));
    }

  protected:
    void hung_up() override {
        base::log_info("{}: server disconnected", name());
        announce(false);
        start_retry();
    }

  private:
    void start_retry() {
        retry_->start_at(loop().clock().now_ns() + reconnect_ms * event::ns_per_ms);
    }
    void retry() {
        if (!start()) {
            detach();
            start_retry();
            return;
        }
        base::log_info("{}: connected again", name());
        announce(true);
    }

    const std::string path_;
    std::unique_ptr<event::Timer> retry_;
};

}  // namespace

base::Result<std::unique_ptr<ByteChannel>> open_unix_server(const std::string& path,
                                                            event::EventLoop& loop,
                                                            event::Monitor& monitor) {
    auto channel = std::make_unique<ServerChannel>(loop, monitor, "unix:" + path);
    CUPULE_TRY(channel->start_unix(path));
    return channel;
}

base::Result<std::unique_ptr<ByteChannel>> open_unix_client(const std::string& path,
                                                            event::EventLoop& loop,
                                                            event::Monitor& monitor) {
    auto channel = std::make_unique<ClientChannel>(loop, monitor, path);
    CUPULE_TRY(channel->start());
    return channel;
}

base::Result<std::unique_ptr<ByteChannel>> open_tcp_server(const std::string& address,
                                                           std::uint16_t port,
                                                           event::EventLoop& loop,
                                                           event::Monitor& monitor) {
    CUPULE_TRY_ASSIGN(const SocketAddress where, tcp_address(address, port));
    auto channel =
        std::make_unique<ServerChannel>(loop, monitor, fmt::format("tcp:{}:{}", address, port));
    CUPULE_TRY(channel->start_tcp(where));
    base::log(base::LogLevel::notice, "tcp:{}: listening on port {}", address, channel->port());
    return channel;
}

}  // namespace cupule::backend
