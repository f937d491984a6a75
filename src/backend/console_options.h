#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "backend/byte_channel_factory.h"
#include "base/error.h"

namespace cupule::backend {

/// One port of a virtio console as the user asked for it.
struct ConsolePortOptions {
    bool console = false;
    std::string name{};
    ChannelSpec channel{};

    bool operator==(const ConsolePortOptions&) const = default;
};

inline constexpr std::size_t console_ports_max = 16;

/// Reads acrn-dm's list of ports, each
/// `[@](stdio|tty|pty|file|socket):NAME[=PATH][:server|:client]`.
/// `@` makes a console (hvc). tty, file and socket need a PATH; a pty's is a symbolic link to it; a
/// socket is a server unless told otherwise. Touches nothing; the error names the port.
base::Result<std::vector<ConsolePortOptions>> parse_console_ports(std::string_view text);

}  // namespace cupule::backend
