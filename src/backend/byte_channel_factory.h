#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "backend/byte_channel.h"
#include "backend/stdio_channel.h"
#include "base/error.h"
#include "event/event_loop.h"

namespace cupule::backend {

enum class ChannelKind : std::uint8_t {
    null,         // "" or "null"
    stdio,        // "stdio"
    tty,          // "/dev/..."
    tcp,          // "tcp:PORT" on 127.0.0.1, "tcp:ADDRESS:PORT", "tcp:[V6ADDRESS]:PORT"
    pty,          // "pty" or "pty:SYMLINK"
    unix_server,  // "unix:PATH"
    unix_client,  // "unix-client:PATH"
    file,         // "file:PATH"
};

/// The host side of a serial port as the user asked for it.
struct ChannelSpec {
    ChannelKind kind = ChannelKind::null;
    /// The path; for pty the symbolic link, which may be empty.
    std::string path{};
    /// tcp only.
    std::string address{};
    std::uint16_t port = 0;

    bool operator==(const ChannelSpec&) const = default;
};

/// Reads the part of `-l com1,BACKEND` behind the comma. Touches nothing. The error names the
/// value and lists what exists.
base::Result<ChannelSpec> parse_channel(std::string_view text);

/// Opens what `spec` says. `user` ("com1") stands in errors; `stdio` is asked where the kind is
/// stdio. Loop, monitor and stdio outlive the channel; the monitor is that of the device which the
/// channel will belong to.
base::Result<std::unique_ptr<ByteChannel>> open_channel(const ChannelSpec& spec,
                                                        std::string_view user,
                                                        event::EventLoop& loop,
                                                        event::Monitor& monitor, StdioOwner& stdio);

}  // namespace cupule::backend
