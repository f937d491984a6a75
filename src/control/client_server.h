#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "event/event_loop.h"
#include "event/mutex.h"

namespace cupule::control {

/// One client's side of a protocol. All calls on the control thread with no lock held.
class ClientSession {
  public:
    virtual ~ClientSession() = default;
    /// Takes what one read gave, at least one byte; the answers to send.
    virtual std::string receive(std::span<const std::byte> bytes) = 0;
    /// Whether ClientServer::publish reaches this client.
    virtual bool wants_events() const { return false; }
};

/// Listens on a Unix stream socket (mode 0600) and serves several clients from the event loop.
/// Nothing waits for a client: one that does not take its answers is dropped, one too many is
/// refused, each with a log line. Made, used and destroyed on the loop's thread.
class ClientServer {
  public:
    using MakeSession = std::function<std::unique_ptr<ClientSession>()>;
    static constexpr std::size_t clients_max = 4;
    /// Bytes of one read: sixteen messages of the manager's.
    static constexpr std::size_t read_bytes_max = 4480;

    /// A stale socket file at `path` is replaced; the file goes with the server.
    static base::Result<std::unique_ptr<ClientServer>> create(event::EventLoop& loop,
                                                              std::string path,
                                                              MakeSession make_session);
    ~ClientServer();
    ClientServer(const ClientServer&) = delete;
    ClientServer& operator=(const ClientServer&) = delete;

    const std::string& path() const { return path_; }
    std::size_t client_count() const CUPULE_EXCLUDES(monitor_);
    /// Sends a text to every client whose session wants events.
    void publish(std::string_view text) CUPULE_EXCLUDES(monitor_);

  private:
    struct Client {
        base::FileDescriptor socket;
        std::unique_ptr<event::FdWatch> watch{};
        std::shared_ptr<ClientSession> session{};
    };

    ClientServer(event::EventLoop& loop, std::string path, MakeSession make_session);
    base::Result<void> start(base::FileDescriptor listener);
    void accept_client() CUPULE_REQUIRES(monitor_);
    void readable(unsigned id) CUPULE_REQUIRES(monitor_);
    void handle(unsigned id, std::span<const std::byte> bytes) CUPULE_EXCLUDES(monitor_);
    void send_to(unsigned id, std::string_view text) CUPULE_REQUIRES(monitor_);

    event::EventLoop& loop_;
    const std::string path_;
    const MakeSession make_session_;
    /// Guards the clients; the loop takes it around callbacks. No command runs under it, since
    /// commands take monitors of devices.
    mutable event::Monitor monitor_;
    base::FileDescriptor listener_;
    std::unique_ptr<event::FdWatch> watch_ CUPULE_GUARDED_BY(monitor_);
    std::map<unsigned, Client> clients_ CUPULE_GUARDED_BY(monitor_);
    unsigned next_id_ CUPULE_GUARDED_BY(monitor_) = 0;
    /// Posted work holds it weakly and finds out whether the server is still there.
    std::shared_ptr<ClientServer*> self_;
};

}  // namespace cupule::control
