#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "control/client_server.h"
#include "control/commands.h"

// The commands of --cmd_monitor: JSON objects {"command": NAME, "arguments": TEXT}, each answered
// by {"ack": 0}, or {"ack": -1} where it is refused (ACRN 3.3, devicemodel/core/cmd_monitor).
namespace cupule::control {

/// Serves destroy, blkrescan and register_vm_event_client as acrn-dm does, and stop, reset,
/// suspend, resume, balloon and query. What is no such object, and an unknown command, gets no
/// answer but a log line, one for each client.
class CommandSession : public ClientSession {
  public:
    /// acrn-dm reads as many at once.
    static constexpr std::size_t request_bytes_max = 4096;

    explicit CommandSession(Commands& commands) : commands_(commands) {}
    std::string receive(std::span<const std::byte> bytes) override;
    bool wants_events() const override { return wants_events_; }
    /// Requests that were ignored.
    std::uint64_t ignored() const { return ignored_; }

  private:
    std::string serve(std::string_view request);
    std::string run(std::string_view command, std::string_view arguments);
    void ignore(std::string_view what);

    Commands& commands_;
    /// The beginning of a request whose end has not come yet.
    std::string unfinished_;
    bool wants_events_ = false;
    std::uint64_t ignored_ = 0;
};

/// How many bytes from the front of `text`, which begins with '{', are one object: up to the brace
/// that closes it, quoted text apart; 0 where it does not end. Looks at nothing else.
std::size_t object_length(std::string_view text);

}  // namespace cupule::control
