#include "backend/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace cupule::backend {
namespace {

constexpr int socket_type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

base::Result<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) {
        return base::fail("socket path '{}' has {} characters; 1 to {} are possible", path,
                          path.size(), sizeof address.sun_path - 1);
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

/// Makes room for a server's socket file where only a dead one is in the way.
base::Result<void> remove_stale(const std::string& path) {
    struct stat status {};
    if (lstat(path.c_str(), &status) < 0) {
        return {};
    }
    if (!S_ISSOCK(status.st_mode)) {
        return base::fail("'{}' exists and is not a socket", path);
    }
    auto server = connect_unix(path);
    if (server || server.error().code != ECONNREFUSED) {
        return base::fail("'{}' is in use by another server", path);
    }
    unlink(path.c_str());
    return {};
}

}  // namespace

base::Result<base::FileDescriptor> connect_unix(const std::string& path) {
    CUPULE_TRY_ASSIGN(const sockaddr_un address, address_of(path));
    base::FileDescriptor socket(::socket(AF_UNIX, socket_type, 0));
    if (!socket ||
        connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
        return base::fail_errno(errno, "cannot connect to '{}'", path);
    }
    return socket;
}

base::Result<base::FileDescriptor> listen_unix(const std::string& path, int waiting_clients_max) {
    CUPULE_TRY_ASSIGN(const sockaddr_un address, address_of(path));
    CUPULE_TRY(remove_stale(path));
    base::FileDescriptor listener(socket(AF_UNIX, socket_type, 0));
    if (!listener) {
        return base::fail_errno(errno, "cannot create a socket");
    }
    fchmod(listener.get(), 0600);  // The file that bind makes takes the socket's mode.
    if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ||
        listen(listener.get(), waiting_clients_max) < 0) {
        return base::fail_errno(errno, "cannot listen on '{}'", path);
    }
    return listener;
}

}  // namespace cupule::backend
