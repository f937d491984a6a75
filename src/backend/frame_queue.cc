#include "backend/frame_queue.h"

#include <algorithm>

#include "memory/guest_copy.h"

namespace cupule::backend {

std::vector<std::uint8_t> gather(std::span<const iovec> parts, std::size_t bytes_max) {
    std::size_t total = 0;
    for (const iovec& part : parts) {
        total += std::min(part.iov_len, bytes_max - total);
    }
    std::vector<std::uint8_t> bytes(total);
    std::size_t at = 0;
    for (const iovec& part : parts) {
        const std::size_t count = std::min(part.iov_len, total - at);
        memory::copy_from_guest(std::as_writable_bytes(std::span(bytes).subspan(at, count)),
                                static_cast<std::byte*>(part.iov_base));
        at += count;
    }
    return bytes;
}

std::size_t scatter(std::span<const std::uint8_t> from, std::span<const iovec> to) {
    std::size_t done = 0;
    for (const iovec& part : to) {
        const std::size_t count = std::min(part.iov_len, from.size() - done);
        memory::copy_to_guest(static_cast<std::byte*>(part.iov_base),
                              std::as_bytes(from.subspan(done, count)));
        done += count;
    }
    return done;
}

bool FrameQueue::push(std::span<const std::uint8_t> frame) {
    if (frames_.size() >= frames_max) {
        return false;
    }
    std::vector<std::uint8_t> entry(sizeof(NetHeader) + frame.size());
    std::ranges::copy(frame, entry.begin() + sizeof(NetHeader));
    frames_.push_back(std::move(entry));
    return true;
}

std::size_t FrameQueue::pop(std::span<const iovec> to) {
    if (frames_.empty()) {
        return 0;
    }
    const std::size_t count = scatter(frames_.front(), to);
    frames_.pop_front();
    return count;
}

}  // namespace cupule::backend
