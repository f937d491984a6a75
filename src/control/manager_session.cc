#include "control/manager_session.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"

namespace cupule::control {
namespace {

constexpr std::size_t offset_id = 8;
constexpr std::size_t offset_timestamp = 16;
constexpr std::size_t offset_payload = 24;
static_assert(offset_payload + ManagerMessage::payload_bytes == ManagerMessage::bytes);

// What DM_QUERY answers: acrn-dm's names for how a machine is suspended.
constexpr std::int32_t state_running = 0;
constexpr std::int32_t state_suspended = 4;

template <class T>
T load(std::span<const std::byte> bytes, std::size_t offset) {
    T value{};
    std::memcpy(&value, bytes.subspan(offset, sizeof value).data(), sizeof value);
    return value;
}

/// Where the next message may begin: at the magic number, or at the end where there is none.
std::size_t find_magic(std::span<const std::byte> bytes) {
    std::array<std::byte, sizeof ManagerMessage::magic> magic{};
    std::memcpy(magic.data(), &ManagerMessage::magic, magic.size());
    const auto found = std::ranges::search(bytes, magic);
    return static_cast<std::size_t>(found.begin() - bytes.begin());
}

}  // namespace

std::optional<ManagerMessage> ManagerMessage::decode(std::span<const std::byte> message) {
    if (message.size() < bytes || load<std::uint64_t>(message, 0) != magic) {
        return std::nullopt;
    }
    ManagerMessage result;
    result.id = load<std::uint32_t>(message, offset_id);
    result.timestamp = load<std::uint64_t>(message, offset_timestamp);
    std::ranges::copy(message.subspan(offset_payload, payload_bytes), result.payload.begin());
    return result;
}

std::string ManagerMessage::encode() const {
    std::string result(bytes, '\0');
    std::memcpy(result.data(), &magic, sizeof magic);
    std::memcpy(result.data() + offset_id, &id, sizeof id);
    std::memcpy(result.data() + offset_timestamp, &timestamp, sizeof timestamp);
    std::memcpy(result.data() + offset_payload, payload.data(), payload.size());
    return result;
}

std::int32_t ManagerMessage::number() const {
    return load<std::int32_t>(payload, 0);
}

void ManagerMessage::set_number(std::int32_t value) {
    std::memcpy(payload.data(), &value, sizeof value);
}

std::string ManagerMessage::text() const {
    const auto end = std::ranges::find(payload, std::byte{0});
    std::string result;
    std::transform(payload.begin(), end, std::back_inserter(result),
                   [](std::byte b) { return static_cast<char>(b); });
    return result;
}

std::string ManagerSession::receive(std::span<const std::byte> bytes) {
    std::string answers;
    while (!bytes.empty()) {
        // Clients write a message at once, so a read gives whole ones.
        if (const std::size_t skip = find_magic(bytes); skip != 0) {
            ignore(fmt::format("{} bytes that are no message", skip));
            bytes = bytes.subspan(skip);
            continue;
        }
        const auto request = ManagerMessage::decode(bytes);
        if (!request) {
            ignore(fmt::format("a message of {} bytes instead of {}", bytes.size(),
                               ManagerMessage::bytes));
            break;
        }
        bytes = bytes.subspan(ManagerMessage::bytes);
        if (const auto reply = answer(*request)) {
            answers += reply->encode();
        }
    }
    return answers;
}

std::optional<ManagerMessage> ManagerSession::answer(const ManagerMessage& request) {
    ManagerMessage reply{.id = request.id, .timestamp = request.timestamp};
    base::Result<void> result;
    switch (static_cast<ManagerCommand>(request.id)) {
        case ManagerCommand::stop:
            result = request.number() != 0 ? commands_.destroy() : commands_.stop();
            break;
        case ManagerCommand::suspend:
            result = commands_.suspend();
            break;
        case ManagerCommand::resume:
            result = commands_.resume();
            break;
        case ManagerCommand::query:
            reply.set_number(commands_.state() == RunState::running ? state_running
                                                                    : state_suspended);
            return reply;
        case ManagerCommand::rescan_disk:
            result = control::rescan_disk(commands_, request.text());
            break;
        default:
            ignore(fmt::format("a message of the unknown kind {}", request.id));
            return std::nullopt;
    }
    if (!result) {
        base::log_warning("the manager's request {} is refused: {}", request.id,
                          result.error().message);
        reply.set_number(-1);
    }
    return reply;
}

void ManagerSession::ignore(std::string_view what) {
    if (ignored_++ == 0) {
        base::log_warning("a client of the manager's socket sent {}: ignored", what);
    }
}

}  // namespace cupule::control
