#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "vhost_user/protocol.h"

namespace cupule::vhost_user {

/// Which end asks on a connection.
enum class Asker : std::uint8_t { front_end, back_end };

/// One message: a header, a payload of bounded size, descriptors that belong to it.
struct Message {
    std::uint32_t request = 0;
    std::uint32_t flags = flag::version;
    std::uint32_t size = 0;
    std::array<std::byte, payload_bytes_max> payload{};
    std::vector<base::FileDescriptor> descriptors{};

    bool is_reply() const { return (flags & flag::reply) != 0; }
    bool needs_reply() const { return (flags & flag::need_reply) != 0; }
    std::span<const std::byte> bytes() const { return std::span(payload).first(size); }

    /// The payload from `at` on as a T; what it does not have of one is zero.
    template <class T>
    requires std::is_trivially_copyable_v<T> T get(std::size_t at = 0)
    const {
        T value{};
        if (at < size) {
            std::memcpy(&value, payload.data() + at, size - at < sizeof(T) ? size - at : sizeof(T));
        }
        return value;
    }
    /// Adds to the payload, which has room: `payload_bytes_max` is above all that is ever sent.
    template <class T>
    requires std::is_trivially_copyable_v<T>
    void put(const T& value) { put_bytes(std::as_bytes(std::span(&value, 1))); }
    void put_bytes(std::span<const std::byte> bytes);
};

/// The one place that knows what each request and each reply looks like. An error says what is
/// wrong with a message; the end that got it gives the connection up.
///
/// The sizes of payloads, the number of descriptors and the counts within (regions of a memory
/// table, bytes of a configuration) are checked; what they mean is not.
base::Result<void> check_request(const Message& message, Asker asker);
/// As a reply to `request` of the front end.
base::Result<void> check_reply(const Message& message, Request request);

/// Whether the other end answers this request in any case, REPLY_ACK or not.
bool has_reply(Request request);

/// "SET_MEM_TABLE"; a number for one that is not known.
std::string name_of(std::uint32_t request);

/// A request or reply with a payload of one value, for most of them.
inline Message make_message(Request request) {
    return {.request = static_cast<std::uint32_t>(request)};
}
template <class T>
Message make_message(Request request, const T& payload) {
    Message message = make_message(request);
    message.put(payload);
    return message;
}

}  // namespace cupule::vhost_user
