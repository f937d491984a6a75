#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "backend/byte_channel.h"

namespace cupule::testing {

/// A channel whose other end is the test.
class FakeByteChannel : public backend::ByteChannel {
  public:
    std::size_t read(std::span<std::uint8_t> to) override {
        const std::size_t count = std::min(to.size(), incoming.size());
        std::copy_n(incoming.begin(), count, to.begin());
        incoming.erase(incoming.begin(), incoming.begin() + static_cast<std::ptrdiff_t>(count));
        return count;
    }
    std::size_t write(std::span<const std::uint8_t> from) override {
        const std::size_t count = std::min(from.size(), room);
        written.append(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(count));
        room -= count;
        return count;
    }
    bool connected() const override { return true; }
    void set_events(backend::ByteChannelEvents* events) override { events_ = events; }

    /// The other end sends.
    void send(std::string_view text) {
        incoming.insert(incoming.end(), text.begin(), text.end());
        if (events_ != nullptr) {
            events_->readable();
        }
    }
    /// The other end takes bytes again.
    void make_room(std::size_t bytes) {
        room += bytes;
        if (events_ != nullptr) {
            events_->writable();
        }
    }

    std::deque<std::uint8_t> incoming;
    std::string written;
    std::size_t room = ~std::size_t{0} >> 1;

  private:
    backend::ByteChannelEvents* events_ = nullptr;
};

}  // namespace cupule::testing
