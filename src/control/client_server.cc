#include "control/client_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "backend/unix_socket.h"
#include "base/log.h"

namespace cupule::control {

base::Result<std::unique_ptr<ClientServer>> ClientServer::create(event::EventLoop& loop,
                                                                 std::string path,
                                                                 MakeSession make_session) {
    CUPULE_TRY_ASSIGN(auto listener, backend::listen_unix(path, static_cast<int>(clients_max)));
    std::unique_ptr<ClientServer> server(
        new ClientServer(loop, std::move(path), std::move(make_session)));
    CUPULE_TRY(server->start(std::move(listener)));
    return server;
}

ClientServer::ClientServer(event::EventLoop& loop, std::string path, MakeSession make_session)
    : loop_(loop),
      path_(std::move(path)),
      make_session_(std::move(make_session)),
      self_(std::make_shared<ClientServer*>(this)) {}

base::Result<void> ClientServer::start(base::FileDescriptor listener) {
    listener_ = std::move(listener);
    event::MutexLock lock(monitor_);
    CUPULE_TRY_ASSIGN(watch_, loop_.watch(listener_.get(), EPOLLIN, monitor_,
                                          [this](std::uint32_t) CUPULE_NO_THREAD_SAFETY_ANALYSIS {
                                              accept_client();
                                          }));
    return {};
}

ClientServer::~ClientServer() {
    self_.reset();
    event::MutexLock lock(monitor_);
    clients_.clear();
    watch_.reset();
    if (listener_) {
        unlink(path_.c_str());
    }
}

std::size_t ClientServer::client_count() const {
    event::MutexLock lock(monitor_);
    return clients_.size();
}

void ClientServer::publish(std::string_view text) {
    event::MutexLock lock(monitor_);
    std::vector<unsigned> listening;
    for (const auto& [id, client] : clients_) {
        if (client.session->wants_events()) {
            listening.push_back(id);
        }
    }
    for (const unsigned id : listening) {
        send_to(id, text);
    }
}

void ClientServer::accept_client() {
    base::FileDescriptor socket(
        accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
        return;
    }
    if (clients_.size() >= clients_max) {
        base::log_warning("{}: a client is refused: {} are connected", path_, clients_max);
        return;
    }
    const unsigned id = next_id_++;
    auto watch =
        loop_.watch(socket.get(), EPOLLIN, monitor_,
                    [this, id](std::uint32_t) CUPULE_NO_THREAD_SAFETY_ANALYSIS { readable(id); });
    if (!watch) {
        base::log_warning("{}: a client is refused: {}", path_, watch.error().message);
        return;
    }
    clients_.emplace(id, Client{.socket = std::move(socket),
                                .watch = std::move(*watch),
                                .session = make_session_()});
}

void ClientServer::readable(unsigned id) {
    const auto client = clients_.find(id);
    if (client == clients_.end()) {
        return;
    }
    std::array<std::byte, read_bytes_max> buffer{};
    const ssize_t count = ::read(client->second.socket.get(), buffer.data(), buffer.size());
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (count <= 0) {
        clients_.erase(client);
        return;
    }
    std::vector<std::byte> bytes(buffer.begin(), buffer.begin() + count);
    loop_.post([self = std::weak_ptr(self_), id, bytes = std::move(bytes)] {
        if (const auto server = self.lock()) {
            (*server)->handle(id, bytes);
        }
    });
}

void ClientServer::handle(unsigned id, std::span<const std::byte> bytes) {
    std::shared_ptr<ClientSession> session;
    {
        event::MutexLock lock(monitor_);
        const auto client = clients_.find(id);
        if (client == clients_.end()) {
            return;
        }
        session = client->second.session;
    }
    const std::string answer = session->receive(bytes);
    event::MutexLock lock(monitor_);
    send_to(id, answer);
}

void ClientServer::send_to(unsigned id, std::string_view text) {
    const auto client = clients_.find(id);
    if (client == clients_.end() || text.empty()) {
        return;
    }
    const ssize_t count =
        ::send(client->second.socket.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count == static_cast<ssize_t>(text.size())) {
        return;
    }
    if (count >= 0 || errno == EAGAIN) {
        base::log_warning("{}: a client is dropped: it does not read its answers", path_);
    }
    clients_.erase(client);
}

}  // namespace cupule::control
