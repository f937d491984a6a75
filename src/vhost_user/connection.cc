#include "vhost_user/connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

namespace cupule::vhost_user {
namespace {

/// Room for the descriptors of one message and some that do not belong there, which are closed.
constexpr std::size_t control_descriptors = 2 * descriptors_max;
struct alignas(cmsghdr) ControlBuffer {
    std::array<std::byte, CMSG_SPACE(control_descriptors * sizeof(int))> bytes{};
};

std::uint64_t now_ms() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

/// Takes ownership of all that came, also of what is too much.
void take_descriptors(msghdr& header, std::vector<base::FileDescriptor>& to) {
    for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
         control = CMSG_NXTHDR(&header, control)) {
        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        const std::size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof fd);
            to.emplace_back(fd);
        }
    }
}

}  // namespace

Connection::Connection(base::FileDescriptor socket, int give_up_fd)
    : socket_(std::move(socket)), give_up_fd_(give_up_fd) {}

/// Reads once, with what descriptors come; 0: nothing is there.
base::Result<std::size_t> Connection::read_some(std::span<std::byte> to) {
    iovec part{.iov_base = to.data(), .iov_len = to.size()};
    ControlBuffer control;
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.bytes.data();
    header.msg_controllen = control.bytes.size();
    ssize_t count = 0;
    do {
        count = recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
        if (errno == EAGAIN) {
            return 0;
        }
        return base::fail_errno(errno, "the connection is lost");
    }
    take_descriptors(header, partial_.descriptors);
    if (count == 0) {
        return base::fail("the other end has closed the connection");
    }
    if (partial_.descriptors.size() > descriptors_max || (header.msg_flags & MSG_CTRUNC) != 0) {
        return base::fail("more than {} file descriptors came with one message", descriptors_max);
    }
    return static_cast<std::size_t>(count);
}

base::Result<std::optional<Message>> Connection::receive() {
    while (got_ < sizeof(Header)) {
        CUPULE_TRY_ASSIGN(const std::size_t count, read_some(std::span(head_).subspan(got_)));
        if (count == 0) {
            return std::nullopt;
        }
        got_ += count;
        if (got_ < sizeof(Header)) {
            continue;
        }
        Header header;
        std::memcpy(&header, head_.data(), sizeof header);
        if (header.size > payload_bytes_max) {
            return base::fail("{} says it has {} bytes; {} are the most that a message has",
                              name_of(header.request), header.size, payload_bytes_max);
        }
        partial_.request = header.request;
        partial_.flags = header.flags;
        partial_.size = header.size;
    }
    while (got_ < sizeof(Header) + partial_.size) {
        const std::size_t at = got_ - sizeof(Header);
        CUPULE_TRY_ASSIGN(const std::size_t count,
                          read_some(std::span(partial_.payload).subspan(at, partial_.size - at)));
        if (count == 0) {
            return std::nullopt;
        }
        got_ += count;
    }
    got_ = 0;
    return std::exchange(partial_, {});
}

base::Result<void> Connection::poll_for(short events, unsigned timeout_ms) const {
    std::array<pollfd, 2> places{{{.fd = socket_.get(), .events = events, .revents = 0},
                                  {.fd = give_up_fd_, .events = POLLIN, .revents = 0}}};
    const int ready = poll(places.data(), places.size(), static_cast<int>(timeout_ms));
    if (ready == 0) {
        return base::fail("the other end has not answered in time");
    }
    if (ready < 0 && errno != EINTR) {
        return base::fail_errno(errno, "the connection cannot be waited for");
    }
    if (ready > 0 && places[1].revents != 0) {
        return base::fail("nobody waits for the other end any more");
    }
    return {};
}

base::Result<Message> Connection::wait(unsigned timeout_ms) {
    const std::uint64_t end = now_ms() + timeout_ms;
    for (;;) {
        CUPULE_TRY_ASSIGN(auto message, receive());
        if (message) {
            return std::move(*message);
        }
        const std::uint64_t now = now_ms();
        CUPULE_TRY(poll_for(POLLIN, now < end ? static_cast<unsigned>(end - now) : 0));
    }
}

base::Result<void> Connection::send(const Message& message, unsigned timeout_ms) {
    const Header head{.request = message.request, .flags = message.flags, .size = message.size};
    std::array<std::byte, sizeof(Header) + payload_bytes_max> bytes{};
    std::memcpy(bytes.data(), &head, sizeof head);
    std::memcpy(bytes.data() + sizeof head, message.payload.data(), message.size);
    std::span<const std::byte> left = std::span(bytes).first(sizeof head + message.size);

    ControlBuffer control;
    const std::size_t files = std::min(message.descriptors.size(), descriptors_max);
    const std::uint64_t end = now_ms() + timeout_ms;
    bool first = true;
    while (!left.empty()) {
        iovec part{.iov_base = const_cast<std::byte*>(left.data()), .iov_len = left.size()};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        if (first && files != 0) {
            header.msg_control = control.bytes.data();
            header.msg_controllen = CMSG_SPACE(files * sizeof(int));
            cmsghdr* const rights = CMSG_FIRSTHDR(&header);
            rights->cmsg_level = SOL_SOCKET;
            rights->cmsg_type = SCM_RIGHTS;
            rights->cmsg_len = CMSG_LEN(files * sizeof(int));
            for (std::size_t i = 0; i < files; ++i) {
                const int fd = message.descriptors[i].get();
                std::memcpy(CMSG_DATA(rights) + i * sizeof(int), &fd, sizeof fd);
            }
        }
        const ssize_t count = sendmsg(socket_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count > 0) {
            left = left.subspan(static_cast<std::size_t>(count));
            first = false;
        } else if (errno == EAGAIN) {
            const std::uint64_t now = now_ms();
            CUPULE_TRY(poll_for(POLLOUT, now < end ? static_cast<unsigned>(end - now) : 0));
        } else if (errno != EINTR) {
            return base::fail_errno(errno, "the connection is lost");
        }
    }
    return {};
}

}  // namespace cupule::vhost_user
