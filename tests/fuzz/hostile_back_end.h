#pragma once

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <semaphore>
#include <thread>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "input.h"
#include "vhost_user/connection.h"

namespace cupule::fuzz {

/// A back end of vhost-user on a thread of its own, whose every answer the input may spoil: for
/// each request it takes one byte that says how. Sound where that is zero or the input is used up.
///
/// Nobody waits for an answer that does not come: on the first connection `quiet_fd` says so, which
/// is what the front end is to give up by; on later ones it says nothing only while the ends agree,
/// which a device that goes must not wait for, and closes the connection after that.
class HostileBackEnd {
  public:
    /// `listener` does not block; what waits there from before is turned away. It outlives this.
    HostileBackEnd(Input script, base::FileDescriptor first, int listener)
        : script_(script), listener_(listener) {
        while (base::FileDescriptor(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC))) {
        }
        connection_.emplace(std::move(first));
        thread_ = std::thread([this] { run(); });
    }
    ~HostileBackEnd() {
        base::signal_eventfd(stop_.get());
        thread_.join();
    }
    HostileBackEnd(const HostileBackEnd&) = delete;
    HostileBackEnd& operator=(const HostileBackEnd&) = delete;

    int quiet_fd() const { return quiet_.get(); }
    /// Lets it do something that nobody asked for, and waits for the end of that.
    void poke() {
        base::signal_eventfd(poke_.get());
        CUPULE_ASSERT(poked_.try_acquire_for(std::chrono::seconds(10)));
    }
    /// How many connections are over.
    unsigned ended() const { return ended_; }
    /// Whether it has taken one on which it says nothing.
    bool hangs() const { return hangs_; }

  private:
    using Message = vhost_user::Message;
    using Request = vhost_user::Request;

    enum class Spoil : std::uint8_t {
        nothing,
        word,
        byte,
        size,
        flags,
        request,
        files_more,
        files_none,
        cut,
        raw,
        silent,
        close,
        twice,
        back_channel,
        memory,
        bells,
    };

    void run() {
        for (;;) {
            std::array<pollfd, 3> places{{{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                                          {.fd = poke_.get(), .events = POLLIN, .revents = 0},
                                          {.fd = connection_ ? connection_->fd() : listener_,
                                           .events = POLLIN,
                                           .revents = 0}}};
            if (hangs_) {
                places[2].fd = -1;
            }
            poll(places.data(), places.size(), -1);
            if (places[0].revents != 0) {
                return;
            }
            if (places[1].revents != 0) {
                base::drain_eventfd(poke_.get());
                do_unasked();
                poked_.release();
            }
            if (places[2].revents != 0) {
                connection_ ? hear() : take_connection();
            }
        }
    }
    void take_connection() {
        base::FileDescriptor socket(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC));
        if (socket) {
            connection_.emplace(std::move(socket));
            is_first_ = false;
            agrees_ = true;
        }
    }
    void end() {
        connection_.reset();
        back_channel_.reset();
        bells_.clear();
        ++ended_;
    }
    void fall_silent() {
        if (is_first_) {
            base::signal_eventfd(quiet_.get());
        } else {
            end();
        }
    }
    void hang() {
        if (!is_first_ && agrees_) {
            hangs_ = true;
        } else {
            fall_silent();
        }
    }

    void hear() {
        auto message = connection_->receive();
        if (!message) {
            end();
        } else if (*message) {
            keep(**message);
            const auto asked = static_cast<Request>((*message)->request);
            if (vhost_user::has_reply(asked) || (*message)->needs_reply()) {
                answer(sound_answer(**message));
            }
        }
    }
    /// What a back end has from a front end.
    void keep(Message& message) {
        const auto request = static_cast<Request>(message.request);
        agrees_ = agrees_ &&
                  (request == Request::get_features || request == Request::get_protocol_features ||
                   request == Request::set_protocol_features || request == Request::get_queue_num ||
                   request == Request::set_owner || request == Request::set_backend_req_fd);
        for (base::FileDescriptor& file : message.descriptors) {
            if (request == Request::set_backend_req_fd) {
                back_channel_.emplace(std::move(file));
            } else if (request == Request::set_mem_table) {
                ram_ = std::move(file);
            } else if (bells_.size() < 16) {
                bells_.push_back(std::move(file));
            }
        }
    }
    static Message sound_answer(const Message& message) {
        Message answer{.request = message.request,
                       .flags = vhost_user::flag::version | vhost_user::flag::reply};
        switch (static_cast<Request>(message.request)) {
            case Request::get_features:
            case Request::get_protocol_features:
                answer.put(~std::uint64_t{0});
                break;
            case Request::get_queue_num:
                answer.put(std::uint64_t{8});
                break;
            case Request::get_config:
                answer.put_bytes(message.bytes());
                break;
            case Request::get_vring_base:
                answer.put(vhost_user::VringState{
                    .index = message.get<vhost_user::VringState>().index, .number = 0});
                break;
            case Request::get_inflight_fd: {
                auto area = message.get<vhost_user::Inflight>();
                area.size = 4096;
                answer.put(area);
                answer.descriptors.push_back(make_file(0));
                break;
            }
            default:
                answer.put(std::uint64_t{0});
                break;
        }
        return answer;
    }
    static base::FileDescriptor make_file(unsigned kind) {
        if (kind % 2 != 0) {
            return std::move(*base::make_eventfd());
        }
        base::FileDescriptor file(memfd_create("inflight", MFD_CLOEXEC));
        CUPULE_ASSERT(ftruncate(file.get(), 4096) == 0);
        return file;
    }

    void answer(Message message) {
        const auto choice = script_.take<std::uint8_t>();
        const unsigned times = choice / 16U;
        switch (static_cast<Spoil>(choice % 16)) {
            case Spoil::word:
                message.size = 0;
                message.put(script_.take<std::uint64_t>());
                break;
            case Spoil::byte:
                for (unsigned i = 0; i <= times; ++i) {
                    const auto at = script_.take<std::uint8_t>();
                    message.payload[at] ^= std::byte{script_.take<std::uint8_t>()};
                }
                break;
            case Spoil::size:
                message.size = script_.take<std::uint16_t>() % (message.payload.size() + 1);
                break;
            case Spoil::flags:
                message.flags = script_.take<std::uint32_t>();
                break;
            case Spoil::request:
                message.request ^= script_.take<std::uint8_t>();
                break;
            case Spoil::files_more:
                for (unsigned i = 0; i <= times; ++i) {
                    message.descriptors.push_back(make_file(i));
                }
                break;
            case Spoil::files_none:
                message.descriptors.clear();
                break;
            case Spoil::cut:
                say_bytes(message, script_.take<std::uint8_t>());
                return (times & 1U) != 0 ? end() : fall_silent();
            case Spoil::raw:
                say_raw(script_.take<std::uint8_t>() % 64);
                return fall_silent();
            case Spoil::silent:
                return hang();
            case Spoil::close:
                return end();
            case Spoil::twice:
                say(message);
                break;
            default:
                do_besides(choice);
                break;
        }
        say(message);
    }
    /// What takes no answer away.
    void do_besides(std::uint8_t choice) {
        switch (static_cast<Spoil>(choice % 16)) {
            case Spoil::back_channel:
                for (unsigned i = 0; i <= choice / 16U; ++i) {
                    say_news();
                }
                break;
            case Spoil::memory: {
                // Rings are where the guest's driver has put them.
                const off_t at = 0x1'0000 + off_t{script_.take<std::uint16_t>()};
                const auto bytes = script_.bytes(script_.take<std::uint8_t>() % 33);
                static_cast<void>(pwrite(ram_.get(), bytes.data(), bytes.size(), at));
                break;
            }
            case Spoil::bells: {
                const std::uint64_t count = (choice & 16) != 0 ? ~std::uint64_t{1} : 1;
                for (const base::FileDescriptor& bell : bells_) {
                    static_cast<void>(write(bell.get(), &count, sizeof count));
                }
                break;
            }
            default:
                break;
        }
    }
    void do_unasked() {
        if (!connection_ || hangs_) {
            return;
        }
        const auto choice = script_.take<std::uint8_t>();
        switch (static_cast<Spoil>(choice % 16)) {
            case Spoil::nothing:
            case Spoil::word:
            case Spoil::twice:
                return say(sound_answer({.request = script_.take<std::uint8_t>() % 40U}));
            case Spoil::cut:
            case Spoil::raw:
                say_raw(script_.take<std::uint8_t>() % 64);
                return fall_silent();
            case Spoil::silent:
                return fall_silent();
            case Spoil::close:
                return end();
            default:
                return do_besides(choice);
        }
    }
    void say(const Message& message) { static_cast<void>(connection_->send(message, 0)); }
    void say_bytes(const Message& message, std::size_t count) {
        const vhost_user::Header head{
            .request = message.request, .flags = message.flags, .size = message.size};
        static_cast<void>(send(connection_->fd(), &head, std::min(count, sizeof head), flags));
        if (count > sizeof head) {
            const std::size_t left = std::min<std::size_t>(count - sizeof head, message.size);
            static_cast<void>(send(connection_->fd(), message.payload.data(), left, flags));
        }
    }
    void say_raw(std::size_t count) {
        const auto bytes = script_.bytes(count);
        static_cast<void>(send(connection_->fd(), bytes.data(), bytes.size(), flags));
    }
    /// CONFIG_CHANGE, or what none is.
    void say_news() {
        const auto choice = script_.take<std::uint8_t>();
        Message message{.request = 2, .flags = vhost_user::flag::version};
        message.flags ^= (choice & 1) != 0 ? vhost_user::flag::need_reply : 0;
        message.flags ^= (choice & 2) != 0 ? script_.take<std::uint8_t>() : 0U;
        message.request ^= (choice & 4) != 0 ? script_.take<std::uint8_t>() : 0U;
        message.put_bytes(script_.bytes((choice & 8) != 0 ? script_.take<std::uint8_t>() : 0));
        if ((choice & 16) != 0) {
            message.descriptors.push_back(make_file(choice));
        }
        if (back_channel_) {
            if ((choice & 32) != 0) {
                back_channel_.reset();
            } else {
                static_cast<void>(back_channel_->send(message, 0));
            }
        }
    }

    static constexpr int flags = MSG_NOSIGNAL | MSG_DONTWAIT;

    Input script_;
    const int listener_;
    base::FileDescriptor stop_ = *base::make_eventfd();
    base::FileDescriptor poke_ = *base::make_eventfd();
    base::FileDescriptor quiet_ = *base::make_eventfd();
    std::binary_semaphore poked_{0};
    std::atomic<unsigned> ended_{0};
    std::optional<vhost_user::Connection> connection_;
    std::optional<vhost_user::Connection> back_channel_;
    base::FileDescriptor ram_;
    std::vector<base::FileDescriptor> bells_;
    bool is_first_ = true;
    /// The ends do not yet know what they have.
    bool agrees_ = true;
    std::atomic<bool> hangs_{false};
    std::thread thread_;
};

}  // namespace cupule::fuzz
