#include "device/network/net_receiver.h"

#include <algorithm>
#include <array>
#include <utility>

#include "backend/frame_queue.h"
#include "device/network/virtio_net_registers.h"
#include "memory/guest_copy.h"

namespace cupule::device {
namespace {

/// Frames between two looks at the event loop.
constexpr unsigned batch_max = 64;
/// Pieces of one frame that a port is given at most.
constexpr std::size_t pieces_max = 256;
constexpr std::size_t header_bytes = sizeof(backend::NetHeader);

}  // namespace

base::Result<void> NetReceiver::start(virtio::RunningQueue queue, virtio::DeviceEvents& events,
                                      const Rules& rules) {
    rules_ = rules;
    CUPULE_TRY_ASSIGN(queue_, virtio::WorkerQueue::create(
                                  worker_, std::move(queue), events, [this] { run(); }, &meter_));
    queue_->again();
    return {};
}

std::optional<virtio::RunningQueue> NetReceiver::stop() {
    if (!queue_) {
        return std::nullopt;
    }
    port_.want_frames(false);
    // Handed back unused: the device may go on with the same queue.
    for (virtio::Chain& chain : held_) {
        queue_->queue().push_used(std::move(chain), 0);
    }
    queue_->publish();
    held_.clear();
    held_bytes_ = 0;
    waiting_bytes_ = 0;
    return std::exchange(queue_, nullptr)->take();
}

void NetReceiver::run() {
    if (!queue_) {
        return;
    }
    virtio::Queue& queue = queue_->queue();
    queue.disable_notifications();
    Step step = Step::moved;
    for (unsigned moved = 0; moved < batch_max && step == Step::moved; ++moved) {
        step = move_frame();
    }
    queue_->publish();
    if (queue.broken()) {
        port_.want_frames(false);
        return;
    }
    if (step == Step::no_frame) {
        port_.want_frames(true);
        return;
    }
    // Without buffers frames stay where they are: the host's queue bounds them.
    port_.want_frames(false);
    if (step == Step::moved || queue.enable_notifications()) {
        queue_->again();
    }
}

NetReceiver::Step NetReceiver::move_frame() {
    if (held_.empty() && waiting_bytes_ == 0) {
        if (const auto step = move_to_next_buffer()) {
            return *step;
        }
    }
    if (!hold_buffers()) {
        return Step::moved;
    }
    if (waiting_bytes_ == 0) {
        if (const auto list = list_buffers(rules_.frame_bytes_max); !list.empty()) {
            return receive_straight(list);
        }
        if (held_.empty()) {
            return Step::no_buffer;
        }
        if (!fetch()) {
            return Step::no_frame;
        }
        if (waiting_bytes_ == 0) {
            return Step::moved;
        }
    }
    if (const auto list = list_buffers(waiting_bytes_); !list.empty()) {
        backend::scatter(std::span(waiting_).first(waiting_bytes_), list);
        deliver(std::exchange(waiting_bytes_, 0));
        return Step::moved;
    }
    const bool fits = waiting_bytes_ <= held_bytes_ + cut_bytes();
    const bool all_held = held_.size() >= queue_->queue().geometry().size;
    if (fits || all_held || (!rules_.merge && !held_.empty())) {
        meter_.request(0, true);
        waiting_bytes_ = 0;  // it will never fit: lost
        return Step::moved;
    }
    return Step::no_buffer;
}

std::optional<NetReceiver::Step> NetReceiver::move_to_next_buffer() {
    virtio::Chain chain = queue_->queue().pop();
    if (!chain) {
        return Step::no_buffer;
    }
    if (chain.writable_bytes() < rules_.frame_bytes_max || cut_bytes() != 0 || filter_ ||
        chain.writable().size() > pieces_max) {
        return hold(std::move(chain)) ? std::nullopt : std::optional(Step::moved);
    }
    const std::size_t bytes = port_.receive(chain.writable());
    if (bytes <= header_bytes) {
        hold(std::move(chain));
        return Step::no_frame;
    }
    meter_.request(bytes - header_bytes, false);
    write_buffers(chain, 1);
    queue_->queue().push_used(std::move(chain), static_cast<std::uint32_t>(bytes));
    return Step::moved;
}

NetReceiver::Step NetReceiver::receive_straight(std::span<const iovec> to) {
    const std::size_t bytes = port_.receive(to);
    if (bytes <= header_bytes) {
        return Step::no_frame;
    }
    if (filter_) {
        // The guest may change these bytes; then it filters its own frame.
        const auto head =
            backend::gather(to, std::min(bytes, header_bytes + NetFilter::head_bytes));
        if (!passes(head)) {
            return Step::moved;
        }
    }
    deliver(bytes);
    return Step::moved;
}

bool NetReceiver::fetch() {
    const iovec place{.iov_base = waiting_.data(), .iov_len = waiting_.size()};
    const std::size_t bytes = port_.receive({&place, 1});
    if (bytes <= header_bytes) {
        return false;
    }
    waiting_bytes_ = passes(std::span(waiting_).first(bytes)) ? bytes : 0;
    return true;
}

bool NetReceiver::passes(std::span<const std::uint8_t> frame) const {
    if (!filter_) {
        return true;
    }
    const std::size_t bytes = std::min(frame.size() - header_bytes, NetFilter::head_bytes);
    return filter_->passes(frame.subspan(header_bytes, bytes));
}

bool NetReceiver::hold_buffers() {
    const std::size_t wanted = std::max(rules_.frame_bytes_max, waiting_bytes_);
    while (held_bytes_ + cut_bytes() < wanted && (rules_.merge || held_.empty())) {
        virtio::Chain chain = queue_->queue().pop();
        if (!chain) {
            break;
        }
        if (!hold(std::move(chain))) {
            return false;
        }
    }
    return true;
}

bool NetReceiver::hold(virtio::Chain chain) {
    // The header of a frame lies whole in its first buffer (5.1.6.3.1).
    if (chain.writable_bytes() < rules_.header_bytes) {
        queue_->queue().push_used(std::move(chain), 0);
        return false;
    }
    held_bytes_ += chain.writable_bytes();
    held_.push_back(std::move(chain));
    return true;
}

std::span<const iovec> NetReceiver::list_buffers(std::size_t bytes) {
    if (held_bytes_ + cut_bytes() < bytes) {
        return {};
    }
    if (cut_bytes() == 0 && held_.front().writable_bytes() >= bytes &&
        held_.front().writable().size() <= pieces_max) {
        return held_.front().writable();
    }
    list_.clear();
    std::size_t listed = 0;
    const auto list = [&](void* base, std::size_t length) {
        list_.push_back({.iov_base = base, .iov_len = length});
        listed += length;
    };
    for (const virtio::Chain& chain : held_) {
        for (const iovec& piece : chain.writable()) {
            if (listed >= bytes) {
                return list_;
            }
            if (list_.size() >= pieces_max) {
                return {};
            }
            auto* base = static_cast<std::uint8_t*>(piece.iov_base);
            std::size_t length = piece.iov_len;
            if (cut_bytes() != 0 && listed < rules_.header_bytes &&
                listed + length >= rules_.header_bytes) {
                const std::size_t rest_of_header = rules_.header_bytes - listed;
                list(base, rest_of_header);
                list(cut_.data(), cut_bytes());
                base += rest_of_header;
                length -= rest_of_header;
            }
            if (length != 0) {
                list(base, length);
            }
        }
    }
    return list_;
}

void NetReceiver::deliver(std::size_t bytes) {
    meter_.request(bytes - header_bytes, false);
    std::size_t left = bytes - cut_bytes();
    std::uint16_t buffers = 0;
    for (const virtio::Chain& chain : held_) {
        if (left == 0) {
            break;
        }
        left -= std::min<std::size_t>(left, chain.writable_bytes());
        ++buffers;
    }
    if (cut_bytes() == 0) {
        write_buffers(held_.front(), buffers);
    }
    left = bytes - cut_bytes();
    for (; buffers != 0; --buffers) {
        const auto written = static_cast<std::uint32_t>(
            std::min<std::uint64_t>(left, held_.front().writable_bytes()));
        left -= written;
        give_back_first(written);
    }
}

void NetReceiver::write_buffers(const virtio::Chain& chain, std::uint16_t buffers) {
    const iovec& first = chain.writable().front();
    if (first.iov_len >= sizeof(backend::NetHeader)) {
        memory::copy_to_guest(static_cast<std::byte*>(first.iov_base) + net::header::buffers_at,
                              std::as_bytes(std::span(&buffers, 1)));
        return;
    }
    virtio::ChainWriter header(chain);
    header.skip(net::header::buffers_at);
    header.value(buffers);
}

void NetReceiver::give_back_first(std::uint32_t written) {
    virtio::Chain chain = std::move(held_.front());
    held_.pop_front();
    held_bytes_ -= chain.writable_bytes();
    queue_->queue().push_used(std::move(chain), written);
}

}  // namespace cupule::device
