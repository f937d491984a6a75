#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "memory/guest_memory.h"
#include "vhost_user/connection.h"
#include "virtio/device.h"

namespace cupule::vhost_user {

/// A connection to a back end: asks what it has, gives it memory and rings. All that is asked
/// between two calls of `begin` takes at most `timeout_ms`, whatever the back end does; an error
/// means that the back end is of no use any more. One thread at a time.
class FrontEnd {
  public:
    static constexpr unsigned timeout_ms = 5000;

    /// Connects to the socket and agrees on the protocol; a beginning. The error names the socket.
    /// `give_up_fd` as Connection has it.
    static base::Result<std::unique_ptr<FrontEnd>> connect(const std::string& path,
                                                           int give_up_fd = -1);
    /// The same over a socket that is connected.
    static base::Result<std::unique_ptr<FrontEnd>> over(base::FileDescriptor socket,
                                                        int give_up_fd = -1);

    /// From now on the back end has `timeout_ms`, until this is called again.
    void begin();

    /// Feature bits of the device for a driver.
    std::uint64_t features() const { return features_; }
    bool has(std::uint64_t protocol_feature) const {
        return (protocol_features_ & protocol_feature) != 0;
    }
    /// How many queues it serves, of a network card pairs; nothing where it does not say.
    std::optional<std::uint64_t> queues() const { return queues_; }

    /// `size` bytes of the configuration space from its start.
    base::Result<std::vector<std::uint8_t>> read_config(std::uint32_t size);
    /// False: the back end does not take it, and says so (REPLY_ACK).
    base::Result<bool> write_config(std::uint32_t offset, std::span<const std::uint8_t> bytes);

    /// What the driver took; `set_up` says it too. Before an inflight area is asked for: its layout
    /// depends on it.
    base::Result<void> set_features(std::uint64_t features);
    /// Asks for an inflight area: its description and file, for the front end to keep.
    struct InflightFile {
        Inflight description{};
        base::FileDescriptor file{};
    };
    base::Result<InflightFile> make_inflight(std::uint16_t queues, std::uint16_t queue_size);

    /// What a back end needs to run rings.
    struct Start {
        std::uint64_t features = 0;
        const memory::GuestMemory& memory;
        /// Where the back end goes on or begins its record; nullptr: without one.
        const InflightFile* inflight = nullptr;
    };
    /// Gives it features, inflight area and memory.
    base::Result<void> set_up(const Start& start);
    /// Starts a ring at the queue's position; one that is not enabled waits for `enable_ring`. The
    /// back end signals `error_fd` when it finds the ring broken; -1: nobody.
    base::Result<void> start_ring(const virtio::RunningQueue& queue, bool enabled = true,
                                  int error_fd = -1);
    /// A ring that is not enabled stands still. All of them run where the back end has no protocol
    /// features.
    base::Result<void> enable_ring(std::uint16_t index, bool enabled);
    /// Stops it: the back end has ended what it took. GET_VRING_BASE's answer.
    base::Result<std::uint32_t> stop_ring(std::uint16_t index);
    /// Waits until the back end has taken all that was said.
    base::Result<void> settle();

    /// Readable when the back end says something or has gone.
    int fd() const { return connection_.fd(); }
    int back_channel_fd() const { return back_channel_ ? back_channel_->fd() : -1; }
    /// Something came on `fd`, where nothing is expected: an error.
    base::Result<void> check_alive();
    /// Something came on the back channel: how many times the configuration has changed.
    base::Result<unsigned> hear_back_channel();

  private:
    FrontEnd(base::FileDescriptor socket, int give_up_fd)
        : connection_(std::move(socket), give_up_fd) {}
    base::Result<void> agree();
    base::Result<void> open_back_channel();
    unsigned time_left() const;
    /// Sends; waits for a reply where there is one in any case.
    base::Result<Message> ask(Message message);
    /// False: refused.
    base::Result<bool> offer(Message message);
    /// The same where a refusal is an error.
    base::Result<void> tell(Message message);
    base::Result<std::uint64_t> ask_word(Request request);
    base::Result<void> send_memory(const memory::GuestMemory& memory);
    base::Result<void> send_file(Request request, std::uint16_t ring, int fd);

    Connection connection_;
    std::optional<Connection> back_channel_;
    std::uint64_t features_ = 0;
    std::uint64_t raw_features_ = 0;
    std::uint64_t protocol_features_ = 0;
    std::optional<std::uint64_t> queues_;
    std::uint64_t deadline_ms_ = 0;
    const memory::GuestMemory* memory_ = nullptr;
};

}  // namespace cupule::vhost_user
