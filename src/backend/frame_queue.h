#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "backend/net_port.h"

namespace cupule::backend {

/// All bytes of `parts` in one piece, at most `bytes_max`.
std::vector<std::uint8_t> gather(std::span<const iovec> parts, std::size_t bytes_max);
/// Copies as much of `from` as `to` has room for; returns how much that was.
std::size_t scatter(std::span<const std::uint8_t> from, std::span<const iovec> to);

/// Ethernet frames, without NetHeader, that wait for a guest: bounded, what comes when it is full
/// is lost. One thread.
class FrameQueue {
  public:
    static constexpr std::size_t frames_max = 1024;

    bool half_full() const { return frames_.size() >= frames_max / 2; }
    bool empty() const { return frames_.empty(); }
    /// False: lost.
    bool push(std::span<const std::uint8_t> frame);
    /// The oldest with a NetHeader of zeros, as NetPort::receive.
    std::size_t pop(std::span<const iovec> to);
    void clear() { frames_.clear(); }

  private:
    std::deque<std::vector<std::uint8_t>> frames_;
};

}  // namespace cupule::backend
