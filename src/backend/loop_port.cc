#include "backend/loop_port.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <vector>

#include "base/assert.h"
#include "memory/guest_copy.h"

namespace cupule::backend {
namespace {

class LoopPort : public NetPort {
  public:
    LoopPort(event::EventLoop& loop, event::Monitor& monitor)
        : news_(loop.make_poller(monitor, [this](std::uint64_t) {
              tell();
              return false;
          })) {}

    bool link_up() const override { return true; }

    Sent send(std::span<const iovec> frame) override {
        if (end_ - first_ == loop_frames_max) {
            return Sent::done;  // lost
        }
        std::size_t bytes = 0;
        for (const iovec& part : frame) {
            bytes += part.iov_len;
        }
        if (bytes > net_frame_bytes_max) {
            return Sent::done;
        }
        Frame& place = frames_[end_ % loop_frames_max];
        place.set_size(bytes);
        std::byte* to = place.data.get();
        // As a value, member by member: a copy of its bytes would read across writes that the
        // processor has not finished, and wait for them.
        CUPULE_ASSERT(frame.front().iov_len == sizeof(NetHeader));
        const NetHeader header = *static_cast<const NetHeader*>(frame.front().iov_base);
        std::memcpy(to, &header, sizeof header);
        to += sizeof header;
        for (const iovec& part : frame.subspan(1)) {
            memory::copy_from_guest({to, part.iov_len}, static_cast<std::byte*>(part.iov_base));
            to += part.iov_len;
        }
        ++end_;
        return Sent::done;
    }
    void flush() override { wake(); }

    std::size_t receive(std::span<const iovec> to) override {
        if (first_ == end_) {
            return 0;
        }
        const Frame& place = frames_[first_++ % loop_frames_max];
        const std::span<const std::byte> frame(place.data.get(), place.size);
        std::size_t done = 0;
        for (const iovec& part : to) {
            const std::size_t count = std::min(part.iov_len, frame.size() - done);
            memory::copy_to_guest(static_cast<std::byte*>(part.iov_base),
                                  frame.subspan(done, count));
            done += count;
        }
        if (first_ == end_) {
            first_ = end_ = 0;  // what comes next finds memory that is still in the cache
        }
        return done;
    }

    void want_frames(bool wanted) override {
        wanted_ = wanted;
        wake();
    }
    void set_events(NetPortEvents* events) override {
        events_ = events;
        wanted_ = false;
        first_ = end_;
    }

  private:
    bool has_news() const { return wanted_ && events_ != nullptr && first_ != end_; }
    void wake() {
        if (has_news()) {
            news_->start();
        }
    }
    void tell() {
        if (has_news()) {
            events_->frames_came();
        }
    }

    /// Keeps its memory.
    struct Frame {
        std::unique_ptr<std::byte[]> data;
        std::size_t size = 0;
        std::size_t capacity = 0;

        void set_size(std::size_t bytes) {
            if (bytes > capacity) {
                capacity = std::bit_ceil(bytes);
                data = std::make_unique_for_overwrite<std::byte[]>(capacity);
            }
            size = bytes;
        }
    };

    /// Those from `first_` to `end_`, modulo their number, are on the wire.
    std::vector<Frame> frames_ = std::vector<Frame>(loop_frames_max);
    std::size_t first_ = 0;
    std::size_t end_ = 0;
    NetPortEvents* events_ = nullptr;
    bool wanted_ = false;
    std::unique_ptr<event::Poller> news_;
};

}  // namespace

std::unique_ptr<NetPort> make_loop_port(event::EventLoop& loop, event::Monitor& monitor) {
    return std::make_unique<LoopPort>(loop, monitor);
}

}  // namespace cupule::backend
