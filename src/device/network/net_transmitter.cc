#include "device/network/net_transmitter.h"

#include <array>
#include <span>
#include <utility>

#include "device/network/virtio_net_registers.h"

namespace cupule::device {
namespace {

using backend::NetHeader;
using Sent = backend::NetPort::Sent;

constexpr unsigned batch_max = 64;
/// Frames between the one that is sent and the one that is fetched into the cache.
constexpr std::size_t ahead = 4;
constexpr std::uint64_t frame_bytes_min = 14;
constexpr std::uint64_t frame_bytes_max = backend::net_frame_bytes_max - sizeof(NetHeader);

/// Takes out of a header what means nothing to ports. Hardly ever is there anything: what is right
/// is not written again, as a port would then copy fresh bytes beside older ones, which processors
/// are slow at.
void tidy(NetHeader& header) {
    if ((header.flags & ~net::header::needs_csum) != 0) {
        header.flags &= net::header::needs_csum;  // 5.1.6.2.2
    }
    if (header.buffers != 0) {
        header.buffers = 0;
    }
}

}  // namespace

base::Result<void> NetTransmitter::start(virtio::RunningQueue queue, virtio::DeviceEvents& events,
                                         const backend::NetOffloads& offloads,
                                         std::size_t header_bytes) {
    offloads_ = offloads;
    header_bytes_ = header_bytes;
    CUPULE_TRY_ASSIGN(
        queue_, virtio::WorkerQueue::create(
                    worker_, std::move(queue), events, [this] { run(); }, &meter_, poll_ns_max_));
    return {};
}

std::optional<virtio::RunningQueue> NetTransmitter::stop() {
    if (!queue_) {
        return std::nullopt;
    }
    queue_->queue().push_used(std::span(taken_).subspan(next_, end_ - next_));
    next_ = end_;
    queue_->publish();
    return std::exchange(queue_, nullptr)->take();
}

void NetTransmitter::run() {
    if (!queue_) {
        return;
    }
    virtio::Queue& queue = queue_->queue();
    queue.disable_notifications();
    bool drained = false;
    std::size_t sent = send_taken();
    while (sent < batch_max && next_ == end_ && !drained) {
        next_ = 0;
        end_ = queue.pop(taken_);
        drained = end_ == 0;
        sent += send_taken();
    }
    const bool busy = next_ != end_;
    const bool found = sent != 0;
    if (found) {
        port_.flush();
    }
    queue_->publish();
    if (queue.broken() || busy) {
        return;
    }
    if (drained) {
        queue_->rest(found);
    } else {
        queue_->again();
    }
}

std::size_t NetTransmitter::send_taken() {
    const std::size_t begin = next_;
    while (next_ != end_) {
        if (next_ + ahead < end_) {
            taken_[next_ + ahead].prefetch();
        }
        if (send(taken_[next_]) == Sent::busy) {
            break;
        }
        ++next_;
    }
    queue_->queue().push_used(std::span(taken_).subspan(begin, next_ - begin));
    return next_ - begin;
}

bool NetTransmitter::read_short_header(virtio::ChainReader& reader, NetHeader& header) const {
    const auto place = std::as_writable_bytes(std::span(&header, 1)).first(header_bytes_);
    return reader.read(place) == place.size();
}

Sent NetTransmitter::send(const virtio::Chain& chain) {
    virtio::ChainReader reader(chain);
    NetHeader header;
    const bool whole = header_bytes_ == sizeof header ? reader.value(header)
                                                      : read_short_header(reader, header);
    const std::uint64_t bytes = reader.remaining();
    if (!whole || bytes < frame_bytes_min || bytes > frame_bytes_max) {
        bad_frame_.report(chain.readable_bytes());
        meter_.request(0, true);
        return Sent::done;
    }
    tidy(header);
    if (!acceptable(header, bytes)) {
        bad_header_.report(header.gso_type);
        meter_.request(0, true);
        return Sent::done;
    }
    std::array<iovec, segments_max + 1> frame;
    frame[0] = {.iov_base = &header, .iov_len = sizeof(NetHeader)};
    const std::uint32_t pieces = reader.take(bytes, std::span(frame).subspan(1));
    const Sent result = port_.send(std::span(frame).first(pieces + 1));
    if (result == Sent::busy) {
        meter_.throttle();
    } else {
        meter_.request(bytes, false);
    }
    return result;
}

bool NetTransmitter::acceptable(const NetHeader& header, std::uint64_t frame_bytes) const {
    const bool checksum = header.flags != 0;
    const std::uint64_t checksum_end =
        std::uint64_t{header.checksum_start} + header.checksum_offset + 2;
    if (checksum && (!offloads_.checksum || checksum_end > frame_bytes)) {
        return false;
    }
    const bool ecn = (header.gso_type & net::header::gso_ecn) != 0;
    const auto type = static_cast<std::uint8_t>(header.gso_type & ~net::header::gso_ecn);
    if (type == net::header::gso_none) {
        return !ecn;
    }
    const bool offered = (type == net::header::gso_tcpv4 && offloads_.tso4) ||
                         (type == net::header::gso_tcpv6 && offloads_.tso6) ||
                         (type == net::header::gso_udp_l4 && offloads_.uso && !ecn);
    return offered && checksum && header.gso_size != 0 && header.header_length <= frame_bytes &&
           (!ecn || offloads_.tso_ecn);
}

}  // namespace cupule::device
