#include "backend/hub_port.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "backend/frame_queue.h"
#include "backend/unix_socket.h"
#include "base/log.h"

namespace cupule::backend {
namespace {

constexpr std::size_t length_bytes = 4;
constexpr std::size_t frame_bytes_min = 14;
constexpr std::size_t frame_bytes_max = net_frame_bytes_max - sizeof(NetHeader);
constexpr std::size_t input_bytes = 2 * (length_bytes + frame_bytes_max);
/// What may wait for a member that reads slowly.
constexpr std::size_t output_bytes_max = 1 << 20;
/// Bytes taken from a member between two looks at the loop.
constexpr int reads_max = 4;

std::array<std::uint8_t, length_bytes> length_of(std::size_t bytes) {
    std::array<std::uint8_t, length_bytes> result{};
    for (std::size_t i = 0; i < length_bytes; ++i) {
        result[i] = static_cast<std::uint8_t>(bytes >> (8 * (length_bytes - 1 - i)));
    }
    return result;
}

class Member;

/// What the hub is to its members.
class Hub {
  public:
    virtual ~Hub() = default;
    virtual void frame_from(Member& member, std::span<const std::uint8_t> frame) = 0;
    virtual bool may_read() const = 0;
    virtual void room_at(Member& member) = 0;
    /// Its connection ended. The member is destroyed later.
    virtual void left(Member& member) = 0;
};

/// One connection. Frames come whole to the hub; output collects until `flush`.
class Member {
  public:
    Member(Hub& hub, base::FileDescriptor socket) : hub_(hub), socket_(std::move(socket)) {
        input_.reserve(input_bytes);
    }

    base::Result<void> start(event::EventLoop& loop, event::Monitor& monitor) {
        CUPULE_TRY_ASSIGN(watch_, loop.watch(socket_.get(), EPOLLIN, monitor,
                                             [this](std::uint32_t events) { ready(events); }));
        return {};
    }

    bool gone() const { return gone_; }
    bool full() const { return output_.size() - sent_ > output_bytes_max; }

    void add(std::span<const std::uint8_t> frame) {
        if (gone_ || full()) {
            return;
        }
        const auto length = length_of(frame.size());
        output_.insert(output_.end(), length.begin(), length.end());
        output_.insert(output_.end(), frame.begin(), frame.end());
    }

    void flush() {
        while (!gone_ && sent_ < output_.size()) {
            const ssize_t count = send(socket_.get(), output_.data() + sent_,
                                       output_.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (count < 0 && errno != EAGAIN && errno != EINTR) {
                leave();
                return;
            }
            if (count < 0) {
                break;
            }
            sent_ += static_cast<std::size_t>(count);
        }
        if (sent_ == output_.size() || sent_ > output_bytes_max) {
            output_.erase(output_.begin(), output_.begin() + static_cast<std::ptrdiff_t>(sent_));
            sent_ = 0;
        }
        update_watch();
    }

    void update_watch() {
        const std::uint32_t events =
            gone_ ? 0U
                  : (hub_.may_read() ? EPOLLIN : 0U) | (sent_ < output_.size() ? EPOLLOUT : 0U);
        if (std::exchange(watched_, events) != events) {
            watch_->set_events(events);
        }
    }

  private:
    void ready(std::uint32_t events) {
        if ((events & EPOLLOUT) != 0) {
            flush();
            hub_.room_at(*this);
        }
        for (int i = 0; (events & ~std::uint32_t{EPOLLOUT}) != 0 && i < reads_max; ++i) {
            if (gone_ || !hub_.may_read() || !read_some()) {
                break;
            }
        }
        update_watch();
    }

    /// False: nothing more now.
    bool read_some() {
        const std::size_t had = input_.size();
        input_.resize(input_bytes);
        const ssize_t count =
            recv(socket_.get(), input_.data() + had, input_bytes - had, MSG_DONTWAIT);
        const int error = errno;
        input_.resize(had + static_cast<std::size_t>(std::max(count, ssize_t{0})));
        if (count <= 0) {
            if (count == 0 || (error != EAGAIN && error != EINTR)) {
                leave();
            }
            return false;
        }
        return take_frames();
    }

    bool take_frames() {
        std::span<const std::uint8_t> rest(input_);
        while (rest.size() >= length_bytes) {
            std::size_t length = 0;
            for (std::size_t i = 0; i < length_bytes; ++i) {
                length = length << 8 | rest[i];
            }
            if (length < frame_bytes_min || length > frame_bytes_max) {
                base::log_warning("network socket: a peer sends a frame of {} bytes; it is cut off",
                                  length);
                leave();
                return false;
            }
            if (rest.size() < length_bytes + length) {
                break;
            }
            hub_.frame_from(*this, rest.subspan(length_bytes, length));
            rest = rest.subspan(length_bytes + length);
        }
        input_.erase(input_.begin(), input_.end() - static_cast<std::ptrdiff_t>(rest.size()));
        return true;
    }

    void leave() {
        gone_ = true;
        update_watch();
        hub_.left(*this);
    }

    Hub& hub_;
    base::FileDescriptor socket_;
    std::unique_ptr<event::FdWatch> watch_;
    std::uint32_t watched_ = EPOLLIN;
    std::vector<std::uint8_t> input_;
    /// From `sent_` on still to go.
    std::vector<std::uint8_t> output_;
    std::size_t sent_ = 0;
    bool gone_ = false;
};

class HubPort : public NetPort, private Hub {
  public:
    HubPort(event::EventLoop& loop, event::Monitor& monitor, std::string path)
        : loop_(loop),
          monitor_(monitor),
          path_(std::move(path)),
          later_(loop.make_timer(monitor, [this] { catch_up(); })),
          retry_(loop.make_timer(monitor, [this] { reconnect(); })) {}

    ~HubPort() override {
        if (listener_) {
            unlink(path_.c_str());
        }
    }

    base::Result<void> listen() {
        CUPULE_TRY_ASSIGN(listener_, listen_unix(path_, 8));
        CUPULE_TRY_ASSIGN(listener_watch_, loop_.watch(listener_.get(), EPOLLIN, monitor_,
                                                       [this](std::uint32_t) { accept_one(); }));
        return {};
    }
    base::Result<void> connect() {
        CUPULE_TRY_ASSIGN(auto socket, connect_unix(path_));
        return add(std::move(socket));
    }

    bool link_up() const override { return listener_ || !members_.empty(); }

    Sent send(std::span<const iovec> frame) override {
        // One slow reader holds its peer up; among several it only loses frames itself.
        if (members_.size() == 1 && members_.front()->full()) {
            room_owed_ = true;
            members_.front()->flush();
            return Sent::busy;
        }
        const auto bytes = gather(frame, net_frame_bytes_max);
        if (bytes.size() >= sizeof(NetHeader) + frame_bytes_min) {
            for (const auto& member : members_) {
                member->add(std::span(bytes).subspan(sizeof(NetHeader)));
            }
        }
        return Sent::done;
    }
    void flush() override {
        for (const auto& member : members_) {
            member->flush();
        }
    }
    std::size_t receive(std::span<const iovec> to) override {
        const bool could_read = may_read();
        const std::size_t count = frames_.pop(to);
        if (!could_read && may_read()) {
            update_watches();
        }
        return count;
    }
    void want_frames(bool wanted) override {
        wanted_ = wanted;
        if (wanted_ && !frames_.empty()) {
            catch_up_later();
        }
    }
    void set_events(NetPortEvents* events) override {
        events_ = events;
        wanted_ = room_owed_ = false;
        frames_.clear();
        update_watches();
    }

  private:
    base::Result<void> add(base::FileDescriptor socket) {
        auto member = std::make_unique<Member>(static_cast<Hub&>(*this), std::move(socket));
        CUPULE_TRY(member->start(loop_, monitor_));
        members_.push_back(std::move(member));
        return {};
    }

    void accept_one() {
        base::FileDescriptor socket(
            accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!socket) {
            return;
        }
        if (members_.size() >= hub_members_max) {
            base::log_warning("{}: more than {} clients; one is refused", path_, hub_members_max);
            return;
        }
        if (const auto added = add(std::move(socket)); !added) {
            base::log_error("{}: {}", path_, added.error().message);
        }
    }

    void reconnect() {
        if (!connect()) {
            retry_->start_at(loop_.clock().now_ns() + hub_retry_ms * event::ns_per_ms);
            return;
        }
        base::log_info("{}: connected again", path_);
        if (events_ != nullptr) {
            events_->link_changed(true);
        }
    }

    // What members tell.
    void frame_from(Member& member, std::span<const std::uint8_t> frame) override {
        for (const auto& other : members_) {
            if (other.get() != &member) {
                other->add(frame);
            }
        }
        if (events_ != nullptr) {
            frames_.push(frame);
        }
        catch_up_later();
    }
    bool may_read() const override { return members_.size() > 1 || !frames_.half_full(); }
    void room_at(Member& member) override {
        if (!member.full() && std::exchange(room_owed_, false) && events_ != nullptr) {
            events_->room_came();
        }
    }
    void left(Member& /*member*/) override {
        departed_ = true;
        catch_up_later();
    }

    void catch_up_later() { later_->start_at(loop_.clock().now_ns()); }

    /// What must not be done inside a call of a member or of the device.
    void catch_up() {
        if (std::exchange(departed_, false)) {
            bury();
        }
        flush();
        if (events_ != nullptr && wanted_ && !frames_.empty()) {
            events_->frames_came();
        }
    }

    void bury() {
        std::erase_if(members_, [](const auto& member) { return member->gone(); });
        update_watches();
        if (events_ != nullptr && std::exchange(room_owed_, false)) {
            events_->room_came();
        }
        if (!link_up()) {
            base::log_info("{}: the server left", path_);
            retry_->start_at(loop_.clock().now_ns() + hub_retry_ms * event::ns_per_ms);
            if (events_ != nullptr) {
                events_->link_changed(false);
            }
        }
    }

    void update_watches() {
        for (const auto& member : members_) {
            member->update_watch();
        }
    }

    event::EventLoop& loop_;
    event::Monitor& monitor_;
    const std::string path_;
    base::FileDescriptor listener_;
    std::unique_ptr<event::FdWatch> listener_watch_;
    std::vector<std::unique_ptr<Member>> members_;
    FrameQueue frames_;
    NetPortEvents* events_ = nullptr;
    bool wanted_ = false;
    bool room_owed_ = false;
    bool departed_ = false;
    std::unique_ptr<event::Timer> later_;
    std::unique_ptr<event::Timer> retry_;
};

}  // namespace

base::Result<std::unique_ptr<NetPort>> open_hub_server(const std::string& path,
                                                       event::EventLoop& loop,
                                                       event::Monitor& monitor) {
    auto port = std::make_unique<HubPort>(loop, monitor, path);
    CUPULE_TRY(port->listen());
    return port;
}

base::Result<std::unique_ptr<NetPort>> open_hub_client(const std::string& path,
                                                       event::EventLoop& loop,
                                                       event::Monitor& monitor) {
    auto port = std::make_unique<HubPort>(loop, monitor, path);
    CUPULE_TRY(port->connect());
    return port;
}

}  // namespace cupule::backend
