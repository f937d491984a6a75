#include "device/network/vsock_connection.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/bits.h"

namespace cupule::device {
namespace {

using namespace vsock;

/// Pieces of a packet that one call of the host gets.
constexpr std::size_t pieces_max = 64;

}  // namespace

VsockConnection::VsockConnection(const Ports& ports, Asker asker,
                                 std::unique_ptr<backend::HostStream> stream, Owner& owner)
    : ports_(ports),
      stream_(std::move(stream)),
      owner_(owner),
      established_(asker == Asker::guest),
      tell_request_(asker == Asker::host),
      tell_response_(asker == Asker::guest) {
    stream_->set_events(this);
    update_wants();
}

VsockConnection::~VsockConnection() = default;

void VsockConnection::hear_credit(const Header& header) {
    guest_buffer_ = header.buffer_bytes;
    guest_forwarded_ = header.forwarded_bytes;
    credit_asked_ = credit_asked_ && credit() == 0;
    update_wants();
}

std::uint32_t VsockConnection::credit() const {
    // A guest that takes more than was sent, or shrinks its buffer, has no room (5.10.6.3).
    const std::uint32_t in_flight = base::wrapping_sub(sent_, guest_forwarded_);
    return in_flight < guest_buffer_ ? guest_buffer_ - in_flight : 0;
}

bool VsockConnection::may_read() const {
    return established_ && (host_will_not_ & will_not::send) == 0 &&
           (guest_will_not_ & will_not::receive) == 0;
}

// From the guest.

VsockConnection::Verdict VsockConnection::take(const Header& header, virtio::ChainReader reader) {
    hear_credit(header);
    Verdict verdict = Verdict::open;
    switch (header.operation) {
        case operation::response:
            if (established_ || tell_request_) {
                return Verdict::broken;
            }
            established_ = true;
            stream_->accepted(ports_.host);
            break;
        case operation::reset:
            return Verdict::finished;
        case operation::shutdown:
            verdict = take_shutdown(header.flags);
            break;
        case operation::data:
            verdict = take_data(header, reader);
            break;
        case operation::credit_update:
            break;
        case operation::credit_request:
            tell_credit_ = true;
            break;
        default:  // a second request, or what nobody knows
            return Verdict::broken;
    }
    update_wants();
    return verdict;
}

VsockConnection::Verdict VsockConnection::take_shutdown(std::uint32_t flags) {
    // What a side will not do, it will never do again.
    const std::uint32_t before = std::exchange(guest_will_not_, guest_will_not_ | flags);
    const std::uint32_t news = guest_will_not_ & ~before;
    if ((news & will_not::send) != 0 && buffer_.empty()) {
        stream_->end_writing();
    }
    if ((news & will_not::receive) != 0) {
        stream_->end_reading();
        readable_ = false;
    }
    return (guest_will_not_ & will_not::both) == will_not::both ? Verdict::closed : Verdict::open;
}

VsockConnection::Verdict VsockConnection::take_data(const Header& header,
                                                    virtio::ChainReader& reader) {
    const bool allowed = established_ && (guest_will_not_ & will_not::send) == 0 &&
                         header.length <= buffer_bytes - base::wrapping_sub(received_, forwarded_);
    if (!allowed) {
        return Verdict::broken;
    }
    received_ = base::wrapping_add(received_, header.length);
    if ((host_will_not_ & will_not::receive) != 0) {
        forwarded(header.length);  // perhaps sent before the guest could know
    } else if (buffer_.empty()) {
        forward(reader, header.length);
    } else {
        keep(reader, header.length);
    }
    return Verdict::open;
}

/// Straight from the guest's buffers; what the host does not take is kept.
void VsockConnection::forward(virtio::ChainReader& reader, std::uint32_t bytes) {
    while (bytes != 0) {
        virtio::ChainReader pieces_from = reader;
        std::array<iovec, pieces_max> pieces;
        const std::uint32_t count = pieces_from.take(bytes, pieces);
        std::size_t listed_bytes = 0;
        for (const iovec& piece : std::span(pieces).first(count)) {
            listed_bytes += piece.iov_len;
        }
        const auto written = stream_->write(std::span(pieces).first(count));
        reader.skip(written.bytes);
        bytes -= static_cast<std::uint32_t>(written.bytes);
        forwarded(written.bytes);
        if (written.closed) {
            forwarded(bytes);
            host_left();
            return;
        }
        if (written.bytes < listed_bytes) {
            keep(reader, bytes);
            return;
        }
    }
}

void VsockConnection::keep(virtio::ChainReader& reader, std::uint32_t bytes) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(buffer_start_));
    buffer_start_ = 0;
    const std::size_t had = buffer_.size();
    buffer_.resize(had + bytes);
    reader.read(std::as_writable_bytes(std::span(buffer_).subspan(had)));
}

/// Nobody reads what the guest sends.
void VsockConnection::host_left() {
    forwarded(buffer_.size() - buffer_start_);
    buffer_ = {};
    buffer_start_ = 0;
    host_will_not_ |= will_not::receive;
}

void VsockConnection::forwarded(std::size_t bytes) {
    forwarded_ = base::wrapping_add(forwarded_, static_cast<std::uint32_t>(bytes));
    // As far as the guest knows, half of the buffer is taken.
    if (forwarded_ != told_forwarded_ &&
        base::wrapping_sub(received_, told_forwarded_) > buffer_bytes / 2) {
        tell_credit_ = true;
    }
}

// From the host.

void VsockConnection::flush() {
    if (buffer_.empty()) {
        return;
    }
    const auto rest = std::span(buffer_).subspan(buffer_start_);
    const iovec piece{.iov_base = rest.data(), .iov_len = rest.size()};
    const auto written = stream_->write({&piece, 1});
    if (written.closed) {
        host_left();
        return;
    }
    buffer_start_ += written.bytes;
    forwarded(written.bytes);
    if (buffer_start_ != buffer_.size()) {
        return;
    }
    buffer_ = {};  // a connection that keeps up has no memory
    buffer_start_ = 0;
    if ((guest_will_not_ & will_not::send) != 0) {
        stream_->end_writing();
    }
}

void VsockConnection::stream_readable() {
    readable_ = true;
    update_wants();
    owner_.host_did_something(*this);  // the last thing: this may be gone
}

void VsockConnection::stream_writable() {
    flush();
    update_wants();
    owner_.host_did_something(*this);
}

void VsockConnection::update_wants() {
    stream_->want(may_read() && !readable_ && credit() != 0, !buffer_.empty());
}

// To the guest.

bool VsockConnection::has_news() const {
    return tell_request_ || tell_response_ || tell_credit_ || ask_credit_ ||
           host_will_not_ != told_will_not_ || (readable_ && may_read() && credit() != 0);
}

Header VsockConnection::stamped(std::uint16_t operation, std::uint32_t flags) {
    told_forwarded_ = forwarded_;
    tell_credit_ = false;
    return {.source_port = ports_.host,
            .target_port = ports_.guest,
            .type = type_stream,
            .operation = operation,
            .flags = flags,
            .buffer_bytes = buffer_bytes,
            .forwarded_bytes = forwarded_};
}

std::optional<Header> VsockConnection::give(virtio::ChainWriter& data) {
    if (std::exchange(tell_request_, false)) {
        return stamped(operation::request);
    }
    if (std::exchange(tell_response_, false)) {
        return stamped(operation::response);
    }
    if (readable_ && may_read() && credit() != 0) {
        if (auto header = give_data(data)) {
            return header;
        }
    }
    if (host_will_not_ != told_will_not_) {
        told_will_not_ = host_will_not_;
        return stamped(operation::shutdown, told_will_not_);
    }
    if (std::exchange(ask_credit_, false)) {
        return stamped(operation::credit_request);
    }
    if (tell_credit_) {
        return stamped(operation::credit_update);
    }
    return std::nullopt;
}

std::optional<Header> VsockConnection::give_data(virtio::ChainWriter& data) {
    std::array<iovec, pieces_max> pieces;
    const std::uint32_t count = data.take(std::min(credit(), packet_bytes_max), pieces);
    const auto got = stream_->read(std::span(pieces).first(count));
    std::optional<Header> header;
    if (got.bytes != 0) {
        sent_ = base::wrapping_add(sent_, static_cast<std::uint32_t>(got.bytes));
        header = stamped(operation::data);
        header->length = static_cast<std::uint32_t>(got.bytes);
        ask_credit_ = credit() == 0 && !std::exchange(credit_asked_, credit() == 0);
    } else {
        readable_ = false;
    }
    if (got.ended) {
        host_will_not_ |= will_not::send;
    }
    if (got.closed) {
        host_left();
    }
    update_wants();
    return header;
}

}  // namespace cupule::device
