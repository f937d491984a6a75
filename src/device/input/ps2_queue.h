#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "snapshot/visitor.h"

namespace cupule::device {

/// Bytes on their way to the controller, the oldest first; at most N.
template <std::uint8_t N>
class Ps2Queue {
  public:
    bool empty() const { return count_ == 0; }
    unsigned room() const { return static_cast<unsigned>(N - count_); }
    unsigned size() const { return count_; }
    void clear() { *this = Ps2Queue{}; }

    /// All of `sequence` or, where there is no room for it, nothing.
    bool push(std::span<const std::uint8_t> sequence) {
        if (sequence.size() > room()) {
            return false;
        }
        std::copy(sequence.begin(), sequence.end(), bytes_.begin() + count_);
        count_ = static_cast<std::uint8_t>(count_ + sequence.size());
        return true;
    }
    bool push(std::uint8_t byte) { return push({&byte, 1}); }

    /// The oldest byte; 0 from an empty queue.
    std::uint8_t take() {
        if (empty()) {
            return 0;
        }
        const std::uint8_t byte = bytes_[0];
        std::shift_left(bytes_.begin(), bytes_.end(), 1);
        bytes_[--count_] = 0;
        return byte;
    }

    void visit(snapshot::Visitor& visitor) {
        visitor.field("bytes", bytes_);
        visitor.field("count", count_);
        if (visitor.restoring()) {
            count_ = std::min(count_, N);
            std::fill(bytes_.begin() + count_, bytes_.end(), std::uint8_t{0});
        }
    }

  private:
    std::array<std::uint8_t, N> bytes_{};
    std::uint8_t count_ = 0;
};

}  // namespace cupule::device
