#include "backend/tap_port.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace cupule::backend {
namespace {

// Linux 6.2; older headers lack them.
constexpr unsigned tun_uso4 = 0x20;
constexpr unsigned tun_uso6 = 0x40;

unsigned to_tun(const NetOffloads& offloads) {
    unsigned flags = 0;
    flags |= offloads.checksum ? unsigned{TUN_F_CSUM} : 0U;
    flags |= offloads.tso4 ? unsigned{TUN_F_TSO4} : 0U;
    flags |= offloads.tso6 ? unsigned{TUN_F_TSO6} : 0U;
    flags |= offloads.tso_ecn ? unsigned{TUN_F_TSO_ECN} : 0U;
    flags |= offloads.uso ? tun_uso4 | tun_uso6 : 0U;
    return flags;
}

ifreq request_for(const std::string& name) {
    ifreq request{};
    std::memcpy(request.ifr_name, name.data(), std::min(name.size(), std::size_t{IFNAMSIZ - 1}));
    return request;
}

/// Network interfaces have short files below /sys.
std::string read_line(const std::string& path) {
    auto file = base::open_file(path, O_RDONLY);
    std::array<char, 64> text{};
    const ssize_t count = file ? read(file->get(), text.data(), text.size()) : 0;
    std::string line(text.data(), static_cast<std::size_t>(count < 0 ? 0 : count));
    while (line.ends_with('\n')) {
        line.pop_back();
    }
    return line;
}

/// The character device of a macvtap interface, empty for all others.
std::string macvtap_device(const std::string& name) {
    const std::string index = read_line("/sys/class/net/" + name + "/ifindex");
    const std::string directory = "/sys/class/net/" + name + "/macvtap";
    return access(directory.c_str(), F_OK) == 0 ? "/dev/tap" + index : "";
}

base::Result<void> bind_queue(int queue, const std::string& name, bool several) {
    ifreq request = request_for(name);
    int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (several ? IFF_MULTI_QUEUE : 0);
    request.ifr_flags = static_cast<short>(flags);
    int result = ioctl(queue, TUNSETIFF, &request);
    if (result < 0 && errno == EINVAL) {
        // A tap that was made with the other choice keeps it.
        flags ^= several ? 0 : IFF_MULTI_QUEUE;
        request.ifr_flags = static_cast<short>(flags);
        result = ioctl(queue, TUNSETIFF, &request);
    }
    if (result < 0) {
        const char* mend = "";
        if (errno == EPERM) {
            mend =
                "; make it first: ip tuntap add NAME mode tap user $USER, or use the back end "
                "'user'";
        } else if (errno == EBUSY) {
            mend = "; another program has it";
        } else if (errno == EINVAL && several) {
            mend =
                "; one with several queues is made with: ip tuntap add NAME mode tap "
                "multi_queue";
        }
        const int code = errno;
        return std::unexpected(base::Error{
            .message =
                fmt::format("cannot open the tap '{}': {}{}", name, base::errno_text(code), mend),
            .code = code});
    }
    const int header_bytes = sizeof(NetHeader);
    if (ioctl(queue, TUNSETVNETHDRSZ, &header_bytes) < 0 || ioctl(queue, TUNSETOFFLOAD, 0) < 0) {
        return base::fail_errno(errno, "the tap '{}' has no virtio headers", name);
    }
    return {};
}

base::Result<void> switch_on(const std::string& name) {
    const base::FileDescriptor any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request = request_for(name);
    bool done = any && ioctl(any.get(), SIOCGIFFLAGS, &request) == 0;
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    done = done && ioctl(any.get(), SIOCSIFFLAGS, &request) == 0;
    if (!done) {
        return base::fail_errno(errno, "the new tap '{}' cannot be switched on", name);
    }
    return {};
}

class TapPort : public NetPort {
  public:
    explicit TapPort(TapQueue queue) : queue_(std::move(queue)) {}

    base::Result<void> start(event::EventLoop& loop, event::Monitor& monitor) {
        CUPULE_TRY_ASSIGN(watch_, loop.watch(queue_.fd(), 0, monitor,
                                             [this](std::uint32_t events) { ready(events); }));
        watch_->set_events(0);
        return {};
    }

    NetOffloads offloads() const override { return queue_.offloads(); }
    void set_receive_offloads(const NetOffloads& offloads) override {
        queue_.set_receive_offloads(offloads);
    }
    void set_attached(bool attached) override {
        attached_ = queue_.set_attached(attached);
        update_watch();
    }
    bool can_steer() const override { return queue_.can_steer(); }
    bool steer(const ReceiveSteering* rules) override { return queue_.steer(rules); }
    bool link_up() const override { return link_up_; }

    Sent send(std::span<const iovec> frame) override {
        const ssize_t count = writev(queue_.fd(), frame.data(), static_cast<int>(frame.size()));
        if (count < 0 && errno == EAGAIN) {
            room_owed_ = true;
            update_watch();
            return Sent::busy;
        }
        return Sent::done;  // EIO (switched off) and EINVAL (a header it refuses): lost
    }
    std::size_t receive(std::span<const iovec> to) override {
        const ssize_t count = readv(queue_.fd(), to.data(), static_cast<int>(to.size()));
        return count > static_cast<ssize_t>(sizeof(NetHeader)) ? static_cast<std::size_t>(count)
                                                               : 0;
    }
    void want_frames(bool wanted) override {
        wanted_ = wanted;
        update_watch();
    }
    void set_events(NetPortEvents* events) override {
        events_ = events;
        wanted_ = room_owed_ = false;
        update_watch();
    }

  private:
    void update_watch() {
        const std::uint32_t events =
            // A detached queue is an error to poll, all the time.
            link_up_ && attached_ ? (wanted_ ? EPOLLIN : 0U) | (room_owed_ ? EPOLLOUT : 0U) : 0U;
        if (std::exchange(watched_, events) != events) {
            watch_->set_events(events);
        }
    }
    void ready(std::uint32_t events) {
        if ((events & EPOLLERR) != 0 && (events & EPOLLIN) == 0 && !queue_.attached()) {
            attached_ = false;  // detached by `steer` of the first port; set_attached follows
            update_watch();
            return;
        }
        if ((events & EPOLLERR) != 0 && (events & EPOLLIN) == 0) {
            link_up_ = false;  // the interface is gone
            update_watch();
            base::log_error("tap: the interface is gone; the guest's link goes down");
            if (events_ != nullptr) {
                events_->link_changed(false);
            }
            return;
        }
        if ((events & EPOLLOUT) != 0 && std::exchange(room_owed_, false)) {
            update_watch();
            if (events_ != nullptr) {
                events_->room_came();
            }
        }
        if ((events & EPOLLIN) != 0 && events_ != nullptr && wanted_) {
            events_->frames_came();
        }
    }

    TapQueue queue_;
    std::unique_ptr<event::FdWatch> watch_;
    std::uint32_t watched_ = 0;
    NetPortEvents* events_ = nullptr;
    bool wanted_ = false;
    bool room_owed_ = false;
    bool attached_ = true;
    bool link_up_ = true;
};

}  // namespace

base::Result<TapQueue> TapQueue::create(std::shared_ptr<TapQueues> queues, std::size_t number) {
    TapQueue queue(std::move(queues), number);
    // A kernel before 6.2 refuses USO.
    NetOffloads with_uso = queue.offloads_;
    with_uso.uso = true;
    queue.offloads_.uso = ioctl(queue.fd(), TUNSETOFFLOAD, to_tun(with_uso)) == 0;
    // What the kernel left undone would reach a guest that never asked for it.
    if (ioctl(queue.fd(), TUNSETOFFLOAD, 0) < 0) {
        return base::fail_errno(errno, "the tap's offloads cannot be switched off");
    }
    return queue;
}

base::Result<void> TapQueue::set_header_bytes(std::size_t bytes) {
    const int header_bytes = static_cast<int>(bytes);
    if (ioctl(fd(), TUNSETVNETHDRSZ, &header_bytes) < 0) {
        return base::fail_errno(errno, "the tap takes no headers of {} bytes", bytes);
    }
    return {};
}

void TapQueue::set_receive_offloads(const NetOffloads& offloads) {
    if (ioctl(fd(), TUNSETOFFLOAD, to_tun(offloads)) < 0) {
        queues_->offloads_refused(errno);
    }
}

base::Result<std::vector<base::FileDescriptor>> open_tap(const std::string& name, unsigned queues) {
    const std::string macvtap = macvtap_device(name);
    const std::string path = macvtap.empty() ? "/dev/net/tun" : macvtap;
    const bool fresh = if_nametoindex(name.c_str()) == 0;
    std::vector<base::FileDescriptor> result;
    for (unsigned i = 0; i < queues; ++i) {
        auto queue = base::open_file(path, O_RDWR | O_NONBLOCK);
        if (!queue) {
            return std::unexpected(
                queue.error().in(fmt::format("tap '{}' (is the module 'tun' there?)", name)));
        }
        CUPULE_TRY(bind_queue(queue->get(), name, queues > 1));
        result.push_back(std::move(*queue));
    }
    if (fresh) {
        CUPULE_TRY(switch_on(name));
    }
    return result;
}

std::optional<std::array<std::uint8_t, 6>> macvtap_address(const std::string& name) {
    if (macvtap_device(name).empty()) {
        return std::nullopt;
    }
    const std::string text = read_line("/sys/class/net/" + name + "/address");
    std::array<unsigned, 6> parts{};
    // NOLINTNEXTLINE(cert-err34-c): the kernel's own form
    if (std::sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x", &parts[0], &parts[1], &parts[2],
                    &parts[3], &parts[4], &parts[5]) != 6) {
        return std::nullopt;
    }
    std::array<std::uint8_t, 6> address{};
    for (std::size_t i = 0; i < address.size(); ++i) {
        address[i] = static_cast<std::uint8_t>(parts[i]);
    }
    return address;
}

base::Result<std::unique_ptr<NetPort>> make_tap_port(TapQueue queue, event::EventLoop& loop,
                                                     event::Monitor& monitor) {
    auto port = std::make_unique<TapPort>(std::move(queue));
    CUPULE_TRY(port->start(loop, monitor));
    return port;
}

}  // namespace cupule::backend
