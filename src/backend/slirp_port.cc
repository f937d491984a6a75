#include "backend/slirp_port.h"

#include <arpa/inet.h>
#include <slirp/libslirp.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <utility>

#include "backend/frame_queue.h"
#include "base/file_descriptor.h"
#include "base/log.h"

namespace cupule::backend {
namespace {

constexpr std::uint32_t network = 0x0A00'0200;  // 10.0.2.0
constexpr std::uint32_t netmask = 0xFFFF'FF00;
constexpr std::uint32_t first_guest = network + 15;

in_addr address_of(std::uint32_t host_order) {
    return {.s_addr = htonl(host_order)};
}

std::uint32_t to_epoll(int events) {
    std::uint32_t result = 0;
    result |= (events & SLIRP_POLL_IN) != 0 ? EPOLLIN : 0U;
    result |= (events & SLIRP_POLL_OUT) != 0 ? EPOLLOUT : 0U;
    result |= (events & SLIRP_POLL_PRI) != 0 ? EPOLLPRI : 0U;
    return result;
}

int from_epoll(std::uint32_t events) {
    int result = 0;
    result |= (events & EPOLLIN) != 0 ? SLIRP_POLL_IN : 0;
    result |= (events & EPOLLOUT) != 0 ? SLIRP_POLL_OUT : 0;
    result |= (events & EPOLLPRI) != 0 ? SLIRP_POLL_PRI : 0;
    result |= (events & EPOLLERR) != 0 ? SLIRP_POLL_ERR : 0;
    result |= (events & EPOLLHUP) != 0 ? SLIRP_POLL_HUP : 0;
    return result;
}

/// libslirp asks before each sleep which descriptors to watch. They sit in an epoll set of their
/// own, which the loop watches as one descriptor: a set forgets what libslirp closes.
class SlirpPort : public NetPort {
  public:
    SlirpPort(event::EventLoop& loop, event::Monitor& monitor)
        : loop_(loop), monitor_(monitor), timeout_(loop.make_timer(monitor, [this] { pass(); })) {}

    ~SlirpPort() override {
        watch_.reset();
        if (slirp_ != nullptr) {
            slirp_cleanup(slirp_);
        }
    }

    base::Result<void> start(const SlirpOptions& options) {
        descriptors_ = base::FileDescriptor(epoll_create1(EPOLL_CLOEXEC));
        if (!descriptors_) {
            return base::fail_errno(errno, "cannot create an epoll descriptor");
        }
        CUPULE_TRY_ASSIGN(watch_, loop_.watch(descriptors_.get(), EPOLLIN, monitor_,
                                              [this](std::uint32_t) { pass(); }));
        create(options);
        if (slirp_ == nullptr) {
            return base::fail("the user network cannot start");
        }
        for (const HostForward& forward : options.forwards) {
            CUPULE_TRY(add(forward));
        }
        await();
        return {};
    }

    bool link_up() const override { return true; }

    Sent send(std::span<const iovec> frame) override {
        const auto bytes = gather(frame, net_frame_bytes_max);
        if (bytes.size() > sizeof(NetHeader)) {
            slirp_input(slirp_, bytes.data() + sizeof(NetHeader),
                        static_cast<int>(bytes.size() - sizeof(NetHeader)));
        }
        return Sent::done;
    }
    void flush() override {
        await();
        tell_soon();
    }
    std::size_t receive(std::span<const iovec> to) override { return frames_.pop(to); }
    void want_frames(bool wanted) override {
        wanted_ = wanted;
        tell_soon();
    }
    void set_events(NetPortEvents* events) override {
        events_ = events;
        wanted_ = false;
        frames_.clear();
    }

  private:
    void create(const SlirpOptions& options) {
        SlirpConfig config{};
        config.version = 1;
        config.restricted = options.restricted ? 1 : 0;
        config.in_enabled = true;
        config.vnetwork = address_of(network);
        config.vnetmask = address_of(netmask);
        config.vhost = address_of(network + 2);
        config.in6_enabled = true;
        inet_pton(AF_INET6, "fec0::", &config.vprefix_addr6);
        config.vprefix_len = 64;
        inet_pton(AF_INET6, "fec0::2", &config.vhost6);
        config.vdhcp_start = address_of(first_guest);
        config.vnameserver = address_of(network + 3);
        inet_pton(AF_INET6, "fec0::3", &config.vnameserver6);
        config.disable_host_loopback = !options.host_loopback;
        slirp_ = slirp_new(&config, &callbacks, this);
    }

    base::Result<void> add(const HostForward& forward) {
        const in_addr host{.s_addr = forward.host_address};
        in_addr guest{.s_addr = forward.guest_address};
        if (guest.s_addr == 0) {
            guest = address_of(first_guest);
        }
        if (slirp_add_hostfwd(slirp_, forward.udp ? 1 : 0, host, forward.host_port, guest,
                              forward.guest_port) < 0) {
            return base::fail_errno(errno, "cannot forward the host's {} port {}",
                                    forward.udp ? "udp" : "tcp", forward.host_port);
        }
        return {};
    }

    /// Serves the sockets and timers that are due, then waits for the next.
    void pass() {
        std::array<epoll_event, 64> ready{};
        const int count =
            epoll_wait(descriptors_.get(), ready.data(), static_cast<int>(ready.size()), 0);
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = ready[static_cast<std::size_t>(i)];
            if (const auto found = watched_.find(event.data.fd); found != watched_.end()) {
                found->second.ready = from_epoll(event.events);
            }
        }
        slirp_pollfds_poll(slirp_, 0, &ready_of, this);
        await();
        tell();
    }

    /// Asks libslirp what to watch and until when.
    void await() {
        for (auto& [fd, watched] : watched_) {
            watched.wanted = false;
            watched.ready = 0;
        }
        std::uint32_t timeout_ms = ~std::uint32_t{0};
        slirp_pollfds_fill(slirp_, &timeout_ms, &add_watch, this);
        for (auto next = watched_.begin(); next != watched_.end();) {
            if (next->second.wanted) {
                ++next;
                continue;
            }
            epoll_ctl(descriptors_.get(), EPOLL_CTL_DEL, next->first, nullptr);
            next = watched_.erase(next);
        }
        if (timeout_ms == ~std::uint32_t{0}) {
            timeout_->stop();
        } else {
            timeout_->start_at(loop_.clock().now_ns() + timeout_ms * event::ns_per_ms);
        }
    }

    void tell() {
        if (events_ != nullptr && wanted_ && !frames_.empty()) {
            events_->frames_came();
        }
    }
    /// The same outside the call under way.
    void tell_soon() {
        if (events_ != nullptr && wanted_ && !frames_.empty()) {
            timeout_->start_at(loop_.clock().now_ns());
        }
    }

    // What libslirp calls; `opaque` is the port.
    static SlirpPort& self(void* opaque) { return *static_cast<SlirpPort*>(opaque); }

    static ssize_t send_packet(const void* bytes, std::size_t size, void* opaque) {
        SlirpPort& port = self(opaque);
        if (port.events_ != nullptr) {
            port.frames_.push({static_cast<const std::uint8_t*>(bytes), size});
        }
        return static_cast<ssize_t>(size);
    }
    static void guest_error(const char* message, void* opaque) {
        if (!std::exchange(self(opaque).guest_error_told_, true)) {
            base::log_warning("user network: the guest sends nonsense: {}", message);
        }
    }
    static std::int64_t clock_ns(void* opaque) {
        return static_cast<std::int64_t>(self(opaque).loop_.clock().now_ns());
    }
    static void* new_timer(SlirpTimerCb fired, void* argument, void* opaque) {
        SlirpPort& port = self(opaque);
        return port.loop_.make_timer(port.monitor_, [fired, argument] { fired(argument); })
            .release();
    }
    static void free_timer(void* timer, void* /*opaque*/) {
        delete static_cast<event::Timer*>(timer);
    }
    static void set_timer(void* timer, std::int64_t expire_ms, void* /*opaque*/) {
        static_cast<event::Timer*>(timer)->start_at(static_cast<std::uint64_t>(expire_ms) *
                                                    event::ns_per_ms);
    }
    static void register_fd(int /*fd*/, void* /*opaque*/) {}
    static void forget_fd(int fd, void* opaque) {
        SlirpPort& port = self(opaque);
        epoll_ctl(port.descriptors_.get(), EPOLL_CTL_DEL, fd, nullptr);
        port.watched_.erase(fd);
    }
    static void notify(void* /*opaque*/) {}

    static int add_watch(int fd, int events, void* opaque) {
        SlirpPort& port = self(opaque);
        Watched& watched = port.watched_[fd];
        watched.wanted = true;
        if (watched.events != events) {
            epoll_event event{.events = to_epoll(events), .data = {.fd = fd}};
            const int set = port.descriptors_.get();
            const bool set_now = epoll_ctl(set, EPOLL_CTL_MOD, fd, &event) == 0 ||
                                 epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0;
            watched.events = set_now ? events : -1;  // tried again at the next turn
        }
        return fd;
    }
    static int ready_of(int index, void* opaque) {
        const auto& watched = self(opaque).watched_;
        const auto found = watched.find(index);
        return found == watched.end() ? 0 : found->second.ready;
    }

    static constexpr SlirpCb callbacks{.send_packet = &send_packet,
                                       .guest_error = &guest_error,
                                       .clock_get_ns = &clock_ns,
                                       .timer_new = &new_timer,
                                       .timer_free = &free_timer,
                                       .timer_mod = &set_timer,
                                       .register_poll_fd = &register_fd,
                                       .unregister_poll_fd = &forget_fd,
                                       .notify = &notify,
                                       .init_completed = nullptr,
                                       .timer_new_opaque = nullptr};

    struct Watched {
        /// SLIRP_POLL_*: what is watched, and what was found.
        int events = -1;
        int ready = 0;
        bool wanted = false;
    };

    event::EventLoop& loop_;
    event::Monitor& monitor_;
    base::FileDescriptor descriptors_;
    std::unique_ptr<event::FdWatch> watch_;
    std::map<int, Watched> watched_;
    std::unique_ptr<event::Timer> timeout_;
    Slirp* slirp_ = nullptr;
    FrameQueue frames_;
    NetPortEvents* events_ = nullptr;
    bool wanted_ = false;
    bool guest_error_told_ = false;
};

}  // namespace

base::Result<std::unique_ptr<NetPort>> open_slirp_port(const SlirpOptions& options,
                                                       event::EventLoop& loop,
                                                       event::Monitor& monitor) {
    auto port = std::make_unique<SlirpPort>(loop, monitor);
    CUPULE_TRY(port->start(options));
    return port;
}

}  // namespace cupule::backend
