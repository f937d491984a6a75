#include "control/command_session.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/log.h"

namespace cupule::control {
namespace {

using Json = nlohmann::json;

std::string line(const Json& object) {
    return object.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

std::string_view text_of(const Json& object, const char* key) {
    const auto found = object.find(key);
    const auto* text = found == object.end() ? nullptr : found->get_ptr<const std::string*>();
    return text == nullptr ? std::string_view{} : std::string_view(*text);
}

}  // namespace

std::size_t object_length(std::string_view text) {
    std::size_t depth = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted && c == '\\') {
            ++i;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && c == '{') {
            ++depth;
        } else if (!quoted && c == '}' && --depth == 0) {
            return i + 1;
        }
    }
    return 0;
}

std::string CommandSession::receive(std::span<const std::byte> bytes) {
    for (const std::byte b : bytes) {
        unfinished_ += static_cast<char>(b);
    }
    std::string answers;
    std::string_view left = unfinished_;
    while (!left.empty()) {
        // Scripts write through Python, netcat or libvirt: with a line's end, a NUL or neither.
        const auto begin = left.find_first_not_of(std::string_view(" \t\r\n\0", 5));
        if (begin == std::string_view::npos) {
            left = {};
            break;
        }
        left.remove_prefix(begin);
        if (left.front() != '{') {
            ignore("bytes that are no JSON object");
            left.remove_prefix(std::min(left.find('{'), left.size()));
            continue;
        }
        const std::size_t length = object_length(left);
        if (length == 0) {
            break;
        }
        answers += serve(left.substr(0, length));
        left.remove_prefix(length);
    }
    if (left.size() > request_bytes_max) {
        ignore(fmt::format("a request of more than {} bytes", request_bytes_max));
        left = {};
    }
    unfinished_ = std::string(left);
    return answers;
}

std::string CommandSession::serve(std::string_view request) {
    if (request.size() > request_bytes_max) {
        ignore(fmt::format("a request of more than {} bytes", request_bytes_max));
        return {};
    }
    const Json object = Json::parse(request, nullptr, false);
    if (!object.is_object()) {
        ignore("text that is not JSON");
        return {};
    }
    const std::string_view command = text_of(object, "command");
    if (command.empty()) {
        ignore("an object without a command");
        return {};
    }
    return run(command, text_of(object, "arguments"));
}

std::string CommandSession::run(std::string_view command, std::string_view arguments) {
    base::Result<void> result;
    Json answer = {{"ack", 0}};
    if (command == "register_vm_event_client") {
        // A client that asks twice is refused, as in acrn-dm.
        result = wants_events_ ? base::fail("the client gets events already") : result;
        wants_events_ = true;
    } else if (command == "destroy") {
        result = commands_.destroy();
    } else if (command == "blkrescan") {
        result = rescan_disk(commands_, arguments);
    } else if (command == "balloon") {
        result = set_balloon(commands_, arguments);
    } else if (command == "stop") {
        result = commands_.stop();
    } else if (command == "reset") {
        result = commands_.reset();
    } else if (command == "suspend") {
        result = commands_.suspend();
    } else if (command == "resume") {
        result = commands_.resume();
    } else if (command == "query") {
        answer["state"] = commands_.state() == RunState::running ? "running" : "suspended";
        if (arguments == "statistics") {
            answer["statistics"] = commands_.statistics();
        }
    } else {
        ignore(fmt::format("the unknown command '{}'", command.substr(0, 40)));
        return {};
    }
    if (!result) {
        base::log_warning("the command {} is refused: {}", command, result.error().message);
        answer["ack"] = -1;
    }
    return line(answer);
}

void CommandSession::ignore(std::string_view what) {
    if (ignored_++ == 0) {
        base::log_warning("a client of the command socket sent {}: ignored", what);
    }
}

}  // namespace cupule::control
