#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "backend/stream_host.h"
#include "device/network/vsock_protocol.h"
#include "virtio/descriptor_chain.h"

namespace cupule::device {

/// One connection between a program of the guest and one of the host (Virtio 1.3, 5.10.6): its
/// states, its credit, and the bytes that the host's program has not taken yet, at most
/// `buffer_bytes`. On the worker's thread.
class VsockConnection : private backend::HostStreamEvents {
  public:
    /// What the guest may send ahead of the host's program.
    static constexpr std::uint32_t buffer_bytes = 128 * 1024;
    static constexpr std::uint32_t packet_bytes_max = 64 * 1024;

    /// Who asked for it.
    enum class Asker : std::uint8_t { guest, host };
    class Owner {
      public:
        virtual ~Owner() = default;
        /// Something happened at the host's end: there may be something for the guest, or nothing
        /// more to drain. The connection may be destroyed inside.
        virtual void host_did_something(VsockConnection& connection) = 0;
    };

    VsockConnection(const vsock::Ports& ports, Asker asker,
                    std::unique_ptr<backend::HostStream> stream, Owner& owner);
    ~VsockConnection() override;

    const vsock::Ports& ports() const { return ports_; }

    /// What every packet of the guest says about its buffer (5.10.6.3).
    void hear_credit(const vsock::Header& header);

    /// What became of the connection by a packet of the guest.
    enum class Verdict : std::uint8_t {
        open,
        closed,    // both have said all: a reset is the answer (5.10.6.6)
        broken,    // the guest broke the rules: a reset is the answer
        finished,  // by a reset of the guest: no answer
    };
    /// `reader` stands at the data, of which there is as much as the header says.
    Verdict take(const vsock::Header& header, virtio::ChainReader reader);

    /// Whether `give` has something to say now.
    bool has_news() const;
    /// The next packet: the header's operation, flags and length, with the data written. Nothing:
    /// `has_news` was wrong, the host had no data.
    std::optional<vsock::Header> give(virtio::ChainWriter& data);

    /// After `closed`: still bytes for the host's program. Then the connection is kept until not.
    bool draining() const { return !buffer_.empty(); }

    /// In the owner's list of those with news.
    bool listed = false;

  private:
    void stream_readable() override;
    void stream_writable() override;

    std::uint32_t credit() const;
    bool may_read() const;
    Verdict take_data(const vsock::Header& header, virtio::ChainReader& reader);
    Verdict take_shutdown(std::uint32_t flags);
    void forward(virtio::ChainReader& reader, std::uint32_t bytes);
    void keep(virtio::ChainReader& reader, std::uint32_t bytes);
    void host_left();
    void flush();
    void forwarded(std::size_t bytes);
    vsock::Header stamped(std::uint16_t operation, std::uint32_t flags = 0);
    std::optional<vsock::Header> give_data(virtio::ChainWriter& data);
    void update_wants();

    const vsock::Ports ports_;
    std::unique_ptr<backend::HostStream> stream_;
    Owner& owner_;

    /// The other side has agreed.
    bool established_;
    // What the guest is still to be told.
    bool tell_request_;
    bool tell_response_;
    bool tell_credit_ = false;
    bool ask_credit_ = false;
    /// Asked, and nothing heard yet.
    bool credit_asked_ = false;
    /// `vsock::will_not`: what the guest said, what the host did, what the guest knows of that.
    std::uint32_t guest_will_not_ = 0;
    std::uint32_t host_will_not_ = 0;
    std::uint32_t told_will_not_ = 0;
    /// The host's end has bytes or an end, as it last said.
    bool readable_ = false;

    // Towards the guest, modulo 2^32: what it can hold, what it took, what was sent.
    std::uint32_t guest_buffer_ = 0;
    std::uint32_t guest_forwarded_ = 0;
    std::uint32_t sent_ = 0;
    // From the guest: what came, what went on to the host, what of that the guest was told.
    std::uint32_t received_ = 0;
    std::uint32_t forwarded_ = 0;
    std::uint32_t told_forwarded_ = 0;
    /// Bytes between `received_` and `forwarded_`, from `buffer_start_` on.
    std::vector<std::uint8_t> buffer_;
    std::size_t buffer_start_ = 0;
};

}  // namespace cupule::device
