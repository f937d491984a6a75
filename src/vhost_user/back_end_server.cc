#include "vhost_user/back_end_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "backend/unix_socket.h"
#include "base/log.h"

namespace cupule::vhost_user {
namespace {

constexpr int waiting_front_ends_max = 4;

}  // namespace

base::Result<std::unique_ptr<BackEndServer>> BackEndServer::create(const BackEndPowers& powers,
                                                                   const std::string& path) {
    std::unique_ptr<BackEndServer> server(new BackEndServer(powers, path));
    CUPULE_TRY_ASSIGN(server->listener_, backend::listen_unix(path, waiting_front_ends_max));
    CUPULE_TRY_ASSIGN(server->watch_,
                      powers.loop.watch(server->listener_.get(), EPOLLIN, powers.monitor,
                                        [self = server.get()](std::uint32_t) { self->came(); }));
    return server;
}

BackEndServer::~BackEndServer() {
    event::MutexLock lock(powers_.monitor);
    watch_.reset();
    session_.reset();
    if (listener_) {
        unlink(path_.c_str());
    }
}

void BackEndServer::came() {
    base::FileDescriptor socket(
        accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket || session_) {
        return;
    }
    auto session = BackEnd::create(powers_, std::move(socket),
                                   [this] { powers_.loop.post([this] { left(); }); });
    if (!session) {
        base::log_error("vhost-user: a front end at '{}' cannot be served: {}", path_,
                        session.error().message);
        return;
    }
    base::log_info("vhost-user: a front end uses {} at '{}'", powers_.device.id().name, path_);
    session_ = std::move(*session);
    watch_->set_events(0);
}

void BackEndServer::left() {
    event::MutexLock lock(powers_.monitor);
    session_.reset();
    watch_->set_events(EPOLLIN);
}

}  // namespace cupule::vhost_user
