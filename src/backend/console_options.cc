#include "backend/console_options.h"

#include <algorithm>
#include <array>

#include "base/text.h"

namespace cupule::backend {
namespace {

constexpr std::string_view grammar = "[@](stdio|tty|pty|file|socket):NAME[=PATH][:server|:client]";

struct Kind {
    std::string_view word;
    ChannelKind kind;
    bool needs_path;
};
constexpr auto kinds = std::to_array<Kind>({
    {"stdio", ChannelKind::stdio, false},
    {"tty", ChannelKind::tty, true},
    {"pty", ChannelKind::pty, false},
    {"file", ChannelKind::file, true},
    {"socket", ChannelKind::unix_server, true},
});

/// Takes `suffix` off the end of `text`.
bool take_end(std::string_view& text, std::string_view suffix) {
    if (!text.ends_with(suffix)) {
        return false;
    }
    text.remove_suffix(suffix.size());
    return true;
}

base::Result<ConsolePortOptions> parse_port(std::string_view text) {
    ConsolePortOptions port;
    std::string_view rest = text;
    port.console = rest.starts_with('@');
    rest.remove_prefix(port.console ? 1 : 0);
    const std::size_t colon = rest.find(':');
    const std::string_view word = rest.substr(0, colon);
    const auto* const kind = std::ranges::find(kinds, word, &Kind::word);
    if (kind == kinds.end() || colon == std::string_view::npos) {
        return base::fail("console port '{}' is not of the form {}", text, grammar);
    }
    rest.remove_prefix(colon + 1);
    port.channel.kind = kind->kind;
    if (kind->kind == ChannelKind::unix_server && !take_end(rest, ":server") &&
        take_end(rest, ":client")) {
        port.channel.kind = ChannelKind::unix_client;
    }
    const std::size_t equals = rest.find('=');
    port.name = rest.substr(0, equals);
    if (equals != std::string_view::npos) {
        port.channel.path = rest.substr(equals + 1);
    }
    if (port.name.empty()) {
        return base::fail("console port '{}' lacks its name; the form is {}", text, grammar);
    }
    if (kind->needs_path && port.channel.path.empty()) {
        return base::fail("console port '{}' lacks the path; the form is {}:NAME=PATH", text, word);
    }
    return port;
}

}  // namespace

base::Result<std::vector<ConsolePortOptions>> parse_console_ports(std::string_view text) {
    std::vector<ConsolePortOptions> ports;
    std::string_view rest = text;
    do {
        CUPULE_TRY_ASSIGN(ConsolePortOptions port, parse_port(base::take_word(rest, ',')));
        if (std::ranges::find(ports, port.name, &ConsolePortOptions::name) != ports.end()) {
            return base::fail("two console ports have the name '{}'", port.name);
        }
        ports.push_back(std::move(port));
    } while (!rest.empty());
    if (ports.size() > console_ports_max) {
        return base::fail("{} console ports; there can be {}", ports.size(), console_ports_max);
    }
    return ports;
}

}  // namespace cupule::backend
