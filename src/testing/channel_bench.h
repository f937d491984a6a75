#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "backend/byte_channel.h"
#include "event/event_loop.h"

namespace cupule::testing {

/// A real event loop that a test turns by hand, and the other end of a channel.
struct ChannelBench {
    std::unique_ptr<event::EventLoop> loop = take(event::EventLoop::create());
    event::Monitor monitor;

    /// The value of a result that must be one; the test fails with its message otherwise.
    template <class T>
    static T take(base::Result<T> result) {
        EXPECT_TRUE(result) << (result ? "" : result.error().message);
        return result ? std::move(*result) : T{};
    }

    /// Turns the loop until `done`; false after 5 s without an end.
    bool run_until(const std::function<bool()>& done) {
        const std::uint64_t deadline_ns = loop->clock().now_ns() + 5 * event::ns_per_s;
        while (!done()) {
            if (loop->clock().now_ns() > deadline_ns) {
                return false;
            }
            loop->run_once(10);
        }
        return true;
    }
    /// Handles what is there now.
    void settle() {
        for (int i = 0; i < 10; ++i) {
            loop->run_once(0);
        }
    }

    static void put(int fd, std::string_view text) {
        EXPECT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    }
    /// All that can be read without waiting.
    static std::string get(int fd) {
        std::string text;
        std::array<char, 4096> block{};
        for (;;) {
            pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
            if (poll(&ready, 1, 0) <= 0 || (ready.revents & POLLIN) == 0) {
                return text;
            }
            const ssize_t count = ::read(fd, block.data(), block.size());
            if (count <= 0) {
                return text;
            }
            text.append(block.data(), static_cast<std::size_t>(count));
        }
    }
};

/// A device with a receiver of `room` bytes.
class Listener : public backend::ByteChannelEvents {
  public:
    explicit Listener(backend::ByteChannel& channel) : channel_(channel) {
        channel_.set_events(this);
    }
    void readable() override {
        ++readable_calls;
        take();
    }
    void writable() override { ++writable_calls; }
    void connection_changed(bool connected) override {
        connections += connected ? 1 : 0;
        disconnections += connected ? 0 : 1;
    }
    void break_received() override { ++breaks; }

    /// Reads while there is room and the channel fills what it is given.
    void take() {
        std::array<std::uint8_t, 16> block{};
        while (room > 0) {
            const std::size_t asked = std::min(room, block.size());
            const std::size_t count = channel_.read(std::span(block).first(asked));
            received.append(block.begin(), block.begin() + static_cast<std::ptrdiff_t>(count));
            room -= count;
            if (count < asked) {
                return;
            }
        }
    }
    std::size_t send(std::string_view text) {
        return channel_.write({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    }

    std::string received;
    std::size_t room = 1'000'000;
    int readable_calls = 0;
    int writable_calls = 0;
    int connections = 0;
    int disconnections = 0;
    int breaks = 0;

  private:
    backend::ByteChannel& channel_;
};

}  // namespace cupule::testing
