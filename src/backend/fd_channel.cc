#include "backend/fd_channel.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"

namespace cupule::backend {
namespace {

bool would_block(int code) {
    return code == EAGAIN || code == EINTR;
}

}  // namespace

void FdChannel::Direction::arm(std::uint32_t epoll_events) {
    if (watch && !armed) {
        watch->set_events(epoll_events);
        armed = true;
    }
}

void FdChannel::Direction::pause() {
    if (watch && armed) {
        watch->set_events(0);
        armed = false;
    }
}

void FdChannel::Direction::close() {
    watch.reset();
    armed = false;
    fd.close();
}

FdChannel::FdChannel(event::EventLoop& loop, event::Monitor& monitor, std::string name)
    : loop_(loop),
      monitor_(monitor),
      name_(std::move(name)),
      flush_timer_(loop.make_timer(monitor, [this] { on_output(); })),
      news_timer_(loop.make_timer(monitor, [this] { on_news(); })) {}

FdChannel::~FdChannel() {
    const std::uint64_t deadline_ns = loop_.clock().now_ns() + last_flush_ms * event::ns_per_ms;
    while (output_.fd && unsent() > 0 && loop_.clock().now_ns() < deadline_ns) {
        if (!send_once() && output_.fd) {
            pollfd room{.fd = output_.fd.get(), .events = POLLOUT, .revents = 0};
            poll(&room, 1, last_flush_ms / 10);
        }
    }
}

base::Result<void> FdChannel::attach(base::FileDescriptor input, base::FileDescriptor output,
                                     Ending ending) {
    detach();
    ending_ = ending;
    input_.fd = std::move(input);
    output_.fd = std::move(output);
    CUPULE_TRY(watch(input_, [this](std::uint32_t) { on_input(); }));
    CUPULE_TRY(watch(output_, [this](std::uint32_t) { on_output(); }));
    arm_input();
    return {};
}

base::Result<void> FdChannel::attach_both_ways(base::FileDescriptor both) {
    // Two descriptors of one file: each direction has a watch of its own.
    CUPULE_TRY_ASSIGN(base::FileDescriptor output, both.duplicate());
    return attach(std::move(both), std::move(output), Ending::both_ways);
}

base::Result<void> FdChannel::watch(Direction& direction, event::EventLoop::FdCallback callback) {
    if (!direction.fd) {
        return {};
    }
    struct stat status {};
    direction.socket = fstat(direction.fd.get(), &status) == 0 && S_ISSOCK(status.st_mode);
    auto made = loop_.watch(direction.fd.get(), 0, monitor_, std::move(callback));
    if (made) {
        direction.watch = std::move(*made);
        direction.watch->set_events(0);
        return {};
    }
    if (made.error().code == EPERM) {
        return {};  // epoll(7) refuses files that never block.
    }
    return std::unexpected(made.error().in(name_));
}

void FdChannel::detach() {
    input_.close();
    output_.close();
    output_buffer_.clear();
    output_sent_ = 0;
    flush_timer_->stop();
}

void FdChannel::set_events(ByteChannelEvents* events) {
    events_ = events;
    if (events_ == nullptr) {
        input_.pause();
    } else {
        arm_input();
    }
}

void FdChannel::announce(bool now_connected) {
    if (events_ != nullptr) {
        events_->connection_changed(now_connected);
    }
}

void FdChannel::arm_input() {
    if (!input_.fd || events_ == nullptr) {
        return;
    }
    if (input_.watch) {
        input_.arm(EPOLLIN);
    } else {
        readable_owed_ = true;
        request_news();
    }
}

std::size_t FdChannel::read(std::span<std::uint8_t> to) {
    read_called_ = true;
    if (!input_.fd || to.empty()) {
        return 0;
    }
    const ssize_t count = input_.socket ? recv(input_.fd.get(), to.data(), to.size(), MSG_DONTWAIT)
                                        : ::read(input_.fd.get(), to.data(), to.size());
    if (count == 0 || (count < 0 && !would_block(errno))) {
        end_input(count == 0 ? 0 : errno);
        return 0;
    }
    const std::size_t kept = filter_input(to.first(static_cast<std::size_t>(std::max(count, 0L))));
    if (kept == to.size()) {
        input_.pause();  // The device is full: it reads again by itself.
    } else {
        arm_input();
    }
    return kept;
}

void FdChannel::on_input() {
    read_called_ = false;
    if (events_ != nullptr) {
        events_->readable();
    }
    if (!read_called_) {
        input_.pause();  // No room: a level-triggered watch would spin.
    }
}

std::size_t FdChannel::append(std::span<const std::uint8_t> from) {
    const std::size_t count = std::min(from.size(), output_size_max - unsent());
    if (output_sent_ > 0 && output_buffer_.size() + count > output_size_max) {
        output_buffer_.erase(output_buffer_.begin(),
                             output_buffer_.begin() + static_cast<std::ptrdiff_t>(output_sent_));
        output_sent_ = 0;
    }
    output_buffer_.insert(output_buffer_.end(), from.begin(),
                          from.begin() + static_cast<std::ptrdiff_t>(count));
    return count;
}

std::size_t FdChannel::write(std::span<const std::uint8_t> from) {
    std::size_t taken = 0;
    while (output_.fd) {
        taken += append(from.subspan(taken));
        if (unsent() < flush_size || output_.armed || !send_once()) {
            break;
        }
    }
    if (!output_.fd) {
        return from.size();  // An open wire: sent to nobody.
    }
    writable_owed_ = writable_owed_ || taken < from.size();
    if (unsent() > 0 && !output_.armed && !flush_timer_->running()) {
        flush_timer_->start_at(loop_.clock().now_ns() + output_delay_ns);
    }
    return taken;
}

bool FdChannel::send_once() {
    const std::span<const std::uint8_t> bytes =
        std::span<const std::uint8_t>(output_buffer_).subspan(output_sent_);
    const ssize_t count = output_.socket ? send(output_.fd.get(), bytes.data(), bytes.size(),
                                                MSG_DONTWAIT | MSG_NOSIGNAL)
                                         : ::write(output_.fd.get(), bytes.data(), bytes.size());
    if (count < 0 && would_block(errno)) {
        output_.arm(EPOLLOUT);
        return false;
    }
    if (count < 0) {
        end_output(errno);
        return false;
    }
    output_sent_ += static_cast<std::size_t>(count);
    if (unsent() == 0) {
        output_buffer_.clear();
        output_sent_ = 0;
    }
    return count > 0;
}

void FdChannel::flush() {
    while (output_.fd && unsent() > 0 && send_once()) {
    }
    if (unsent() == 0) {
        output_.pause();
        flush_timer_->stop();
    }
}

void FdChannel::on_output() {
    flush();
    tell_writable();
}

void FdChannel::tell_writable() {
    if (!writable_owed_ || unsent() >= output_size_max) {
        return;
    }
    writable_owed_ = false;
    if (events_ != nullptr) {
        events_->writable();
    }
}

void FdChannel::request_news() {
    news_timer_->start_at(loop_.clock().now_ns());
}

void FdChannel::on_news() {
    if (std::exchange(readable_owed_, false)) {
        on_input();
    }
    if (std::exchange(hang_up_owed_, false)) {
        hung_up();
    }
    news();
    tell_writable();
}

void FdChannel::end_input(int error) {
    if (ending_ == Ending::both_ways) {
        end_both();
        return;
    }
    if (error != 0) {
        base::log_warning("{}: input ends: {}", name_, base::errno_text(error));
    }
    input_.close();
}

void FdChannel::end_output(int error) {
    if (ending_ == Ending::both_ways) {
        end_both();
        return;
    }
    base::log_warning("{}: output ends, what follows is dropped: {}", name_,
                      base::errno_text(error));
    output_.close();
    output_buffer_.clear();
    output_sent_ = 0;
    flush_timer_->stop();
    request_news();
}

void FdChannel::end_both() {
    detach();
    hang_up_owed_ = true;
    request_news();
}

}  // namespace cupule::backend
