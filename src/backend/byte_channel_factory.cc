#include "backend/byte_channel_factory.h"

#include <optional>

#include "backend/file_channel.h"
#include "backend/null_channel.h"
#include "backend/pty_channel.h"
#include "backend/socket_channel.h"
#include "backend/tty_channel.h"
#include "base/text.h"

namespace cupule::backend {
namespace {

constexpr std::string_view known_backends =
    "stdio, tcp:PORT, tcp:ADDRESS:PORT, /dev/TTY, pty, pty:SYMLINK, unix:PATH, unix-client:PATH, "
    "file:PATH, null";

/// The rest of `text` behind `prefix`.
std::optional<std::string_view> after(std::string_view text, std::string_view prefix) {
    if (!text.starts_with(prefix)) {
        return std::nullopt;
    }
    return text.substr(prefix.size());
}

base::Result<ChannelSpec> with_path(ChannelKind kind, std::string_view text,
                                    std::string_view path) {
    if (path.empty()) {
        return base::fail("serial backend '{}' lacks the path behind the colon", text);
    }
    return ChannelSpec{.kind = kind, .path = std::string(path)};
}

base::Result<ChannelSpec> parse_tcp(std::string_view text, std::string_view rest) {
    ChannelSpec spec{.kind = ChannelKind::tcp, .path = {}, .address = "127.0.0.1"};
    const std::size_t colon = rest.rfind(':');
    if (colon != std::string_view::npos) {
        std::string_view address = rest.substr(0, colon);
        if (address.starts_with('[') && address.ends_with(']')) {
            address = address.substr(1, address.size() - 2);
        }
        spec.address = address;
        rest.remove_prefix(colon + 1);
    }
    spec.port = base::to_number<std::uint16_t>(rest).value_or(0);
    if (spec.port == 0) {
        return base::fail("serial backend '{}': port '{}' is not a number from 1 to 65535", text,
                          rest);
    }
    if (spec.address.empty()) {
        return base::fail("serial backend '{}' lacks the address before the last colon", text);
    }
    return spec;
}

}  // namespace

base::Result<ChannelSpec> parse_channel(std::string_view text) {
    if (text.empty() || text == "null") {
        return ChannelSpec{};
    }
    if (text == "stdio") {
        return ChannelSpec{.kind = ChannelKind::stdio};
    }
    if (text == "pty") {
        return ChannelSpec{.kind = ChannelKind::pty};
    }
    if (text.starts_with("/dev/")) {
        return ChannelSpec{.kind = ChannelKind::tty, .path = std::string(text)};
    }
    if (const auto rest = after(text, "tcp:")) {
        return parse_tcp(text, *rest);
    }
    if (const auto path = after(text, "pty:")) {
        return with_path(ChannelKind::pty, text, *path);
    }
    if (const auto path = after(text, "unix:")) {
        return with_path(ChannelKind::unix_server, text, *path);
    }
    if (const auto path = after(text, "unix-client:")) {
        return with_path(ChannelKind::unix_client, text, *path);
    }
    if (const auto path = after(text, "file:")) {
        return with_path(ChannelKind::file, text, *path);
    }
    return base::fail("unknown serial backend '{}'; there are: {}", text, known_backends);
}

base::Result<std::unique_ptr<ByteChannel>> open_channel(const ChannelSpec& spec,
                                                        std::string_view user,
                                                        event::EventLoop& loop,
                                                        event::Monitor& monitor,
                                                        StdioOwner& stdio) {
    const auto open = [&]() -> base::Result<std::unique_ptr<ByteChannel>> {
        switch (spec.kind) {
            case ChannelKind::null:
                return std::make_unique<NullChannel>();
            case ChannelKind::stdio:
                return stdio.open(user, loop, monitor);
            case ChannelKind::tty:
                return open_tty_channel(spec.path, loop, monitor);
            case ChannelKind::tcp:
                return open_tcp_server(spec.address, spec.port, loop, monitor);
            case ChannelKind::pty:
                return open_pty_channel(spec.path, loop, monitor);
            case ChannelKind::unix_server:
                return open_unix_server(spec.path, loop, monitor);
            case ChannelKind::unix_client:
                return open_unix_client(spec.path, loop, monitor);
            case ChannelKind::file:
                return open_file_channel(spec.path, loop, monitor);
        }
        return base::fail("no such kind of channel");
    };
    auto channel = open();
    if (!channel) {
        return std::unexpected(channel.error().in(user));
    }
    return channel;
}

}  // namespace cupule::backend
