#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "vhost_user/message.h"

namespace cupule::vhost_user {

/// A Unix stream socket with vhost-user messages on it. Never waits longer than it is told,
/// whatever the other end does. An error leaves it useless: the caller closes it. One thread at a
/// time.
class Connection {
  public:
    /// The socket may block or not: who has a copy of it can change that at any time. `give_up_fd`:
    /// once that is readable, waiting is an error; -1: nobody interrupts it. It stays the caller's
    /// and outlives the connection.
    explicit Connection(base::FileDescriptor socket, int give_up_fd = -1);

    int fd() const { return socket_.get(); }

    /// The next message as it came, unchecked but for its sizes: at most `payload_bytes_max` bytes
    /// and `descriptors_max` descriptors. Empty: not all of it is there yet. An error when the
    /// other end has gone or sends what no message is.
    base::Result<std::optional<Message>> receive();

    /// Waits up to `timeout_ms` for the whole of one.
    base::Result<Message> wait(unsigned timeout_ms);

    /// Sends one with copies of its descriptors. Waits up to `timeout_ms` for room.
    base::Result<void> send(const Message& message, unsigned timeout_ms);

  private:
    base::Result<std::size_t> read_some(std::span<std::byte> to);
    base::Result<void> poll_for(short events, unsigned timeout_ms) const;

    base::FileDescriptor socket_;
    int give_up_fd_;
    /// What has come of the next message.
    std::size_t got_ = 0;
    std::array<std::byte, sizeof(Header)> head_{};
    Message partial_;
};

}  // namespace cupule::vhost_user
