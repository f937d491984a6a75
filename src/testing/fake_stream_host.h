#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backend/stream_host.h"

namespace cupule::testing {

/// The far end of a stream: what the test does as the program of the host. Lives as long as either
/// side; everything on the worker's thread.
struct FakeStreamEnd {
    /// For whoever reads the stream, and what was written to it.
    std::string incoming{};
    std::string written{};
    std::size_t room = ~std::size_t{0} >> 1;
    /// What this end does not do any more.
    bool sends_no_more = false;
    bool reads_no_more = false;
    // What the other side did.
    bool writing_ended = false;
    bool reading_ended = false;
    bool destroyed = false;
    bool wants_readable = false;
    bool wants_writable = false;
    std::uint32_t accepted_at = 0;
    backend::HostStreamEvents* events = nullptr;

    void send(std::string_view text) {
        incoming += text;
        tell();
    }
    void end() {
        sends_no_more = true;
        tell();
    }
    void close() {
        sends_no_more = reads_no_more = true;
        tell();
    }
    void make_room(std::size_t bytes) {
        room += bytes;
        tell();
    }
    /// As a loop would, once.
    void tell() {
        const bool readable = wants_readable && (!incoming.empty() || sends_no_more);
        const bool writable = wants_writable && (room != 0 || reads_no_more);
        if (events != nullptr && writable) {
            events->stream_writable();
        } else if (events != nullptr && readable) {
            events->stream_readable();
        }
    }
};

class FakeStream : public backend::HostStream {
  public:
    explicit FakeStream(std::shared_ptr<FakeStreamEnd> end) : end_(std::move(end)) {}
    ~FakeStream() override {
        end_->destroyed = true;
        end_->events = nullptr;
    }
    void set_events(backend::HostStreamEvents* events) override { end_->events = events; }
    void want(bool readable, bool writable) override {
        end_->wants_readable = readable;
        end_->wants_writable = writable;
    }
    Read read(std::span<const iovec> to) override {
        std::size_t bytes = 0;
        for (const iovec& piece : to) {
            const std::size_t count = std::min(piece.iov_len, end_->incoming.size() - bytes);
            std::memcpy(piece.iov_base, end_->incoming.data() + bytes, count);
            bytes += count;
        }
        end_->incoming.erase(0, bytes);
        const bool ended = bytes == 0 && end_->sends_no_more;
        return {.bytes = bytes, .ended = ended, .closed = ended && end_->reads_no_more};
    }
    Written write(std::span<const iovec> from) override {
        if (end_->reads_no_more) {
            return {.bytes = 0, .closed = true};
        }
        std::size_t bytes = 0;
        for (const iovec& piece : from) {
            const std::size_t count = std::min(piece.iov_len, end_->room);
            end_->written.append(static_cast<const char*>(piece.iov_base), count);
            end_->room -= count;
            bytes += count;
        }
        return {.bytes = bytes};
    }
    void end_writing() override { end_->writing_ended = true; }
    void end_reading() override { end_->reading_ended = true; }
    void accepted(std::uint32_t port) override { end_->accepted_at = port; }

  private:
    std::shared_ptr<FakeStreamEnd> end_;
};

/// Programs of the host, played by the test.
class FakeStreamHost : public backend::StreamHost {
  public:
    void set_events(backend::StreamHostEvents* now) override { events = now; }
    std::unique_ptr<backend::HostStream> connect(std::uint32_t port) override {
        if (!served.contains(port)) {
            return nullptr;
        }
        return make_stream();
    }
    /// A program of the host calls; false when nobody turns to it.
    bool call(std::uint32_t port) {
        if (events == nullptr) {
            return false;
        }
        auto stream = make_stream();
        events->connect_wanted(std::move(stream), port);
        return true;
    }

    std::set<std::uint32_t> served{};
    std::vector<std::shared_ptr<FakeStreamEnd>> ends{};
    backend::StreamHostEvents* events = nullptr;

  private:
    std::unique_ptr<backend::HostStream> make_stream() {
        ends.push_back(std::make_shared<FakeStreamEnd>());
        return std::make_unique<FakeStream>(ends.back());
    }
};

}  // namespace cupule::testing
