#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "backend/frame_queue.h"
#include "backend/net_port.h"

namespace cupule::testing {

/// A port whose other end is the test. Everything on the worker's thread, as with real ones: tests
/// enter by Worker::call.
class FakeNetPort : public backend::NetPort {
  public:
    using Frame = std::vector<std::uint8_t>;

    backend::NetOffloads offloads() const override { return can; }
    void set_receive_offloads(const backend::NetOffloads& offloads) override { gives = offloads; }
    void set_attached(bool now) override { attached = now; }
    bool can_steer() const override { return steers; }
    bool steer(const backend::ReceiveSteering* now) override {
        if (refuses_rules) {
            return false;
        }
        rules = now == nullptr ? std::nullopt : std::optional(*now);
        return true;
    }
    bool link_up() const override { return link; }
    Sent send(std::span<const iovec> frame) override {
        if (room == 0) {
            return Sent::busy;
        }
        --room;
        sent.push_back(backend::gather(frame, backend::net_frame_bytes_max));
        return Sent::done;
    }
    void flush() override { ++flushes; }
    std::size_t receive(std::span<const iovec> to) override {
        if (incoming.empty()) {
            return 0;
        }
        const std::size_t count = backend::scatter(incoming.front(), to);
        incoming.pop_front();
        return count;
    }
    void want_frames(bool now) override { wanted = now; }
    void set_events(backend::NetPortEvents* now) override {
        events = now;
        wanted = false;
    }

    /// The other end sends a frame, with its NetHeader.
    void come(Frame frame) {
        incoming.push_back(std::move(frame));
        if (wanted && events != nullptr) {
            events->frames_came();
        }
    }
    void make_room(unsigned frames) {
        room = frames;
        if (events != nullptr) {
            events->room_came();
        }
    }
    void set_link(bool up) {
        link = up;
        if (events != nullptr) {
            events->link_changed(up);
        }
    }

    backend::NetOffloads can{};
    backend::NetOffloads gives{};
    std::deque<Frame> incoming{};
    std::vector<Frame> sent{};
    unsigned room = ~0U;
    unsigned flushes = 0;
    bool attached = true;
    bool link = true;
    bool steers = false;
    bool refuses_rules = false;
    std::optional<backend::ReceiveSteering> rules{};
    bool wanted = false;
    backend::NetPortEvents* events = nullptr;
};

}  // namespace cupule::testing
