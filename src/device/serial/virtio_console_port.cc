#include "device/serial/virtio_console_port.h"

#include <algorithm>
#include <array>
#include <utility>

namespace cupule::device {
namespace {

constexpr unsigned batch_max = 64;
constexpr std::size_t piece_bytes = 4096;
/// What one look at a queue may move, whatever lengths the driver names.
constexpr std::uint64_t turn_bytes = 64 * 1024;

}  // namespace

VirtioConsolePort::VirtioConsolePort(event::Worker& worker, backend::ByteChannel& channel,
                                     Listener& listener)
    : worker_(worker), channel_(channel), listener_(listener) {
    channel_.set_events(this);
}

VirtioConsolePort::~VirtioConsolePort() {
    channel_.set_events(nullptr);
}

base::Result<void> VirtioConsolePort::start_input(virtio::RunningQueue queue,
                                                  virtio::DeviceEvents& events) {
    CUPULE_TRY_ASSIGN(
        input_, virtio::WorkerQueue::create(
                    worker_, std::move(queue), events, [this] { pump_input(); }, &input_meter_));
    return {};
}

base::Result<void> VirtioConsolePort::start_output(virtio::RunningQueue queue,
                                                   virtio::DeviceEvents& events) {
    CUPULE_TRY_ASSIGN(
        output_, virtio::WorkerQueue::create(
                     worker_, std::move(queue), events, [this] { pump_output(); }, &output_meter_));
    return {};
}

std::optional<virtio::RunningQueue> VirtioConsolePort::stop_input() {
    if (!input_) {
        return std::nullopt;
    }
    if (waiting_) {
        input_->queue().push_used(std::move(waiting_), 0);
        input_->publish();
    }
    return std::exchange(input_, nullptr)->take();
}

std::optional<virtio::RunningQueue> VirtioConsolePort::stop_output() {
    if (!output_) {
        return std::nullopt;
    }
    if (sending_) {
        output_->queue().push_used(std::move(sending_), 0);
        output_->publish();
    }
    sent_ = 0;
    return std::exchange(output_, nullptr)->take();
}

void VirtioConsolePort::set_guest_open(bool open) {
    if (!std::exchange(guest_open_, open) && open) {
        pump_input();
    }
}

void VirtioConsolePort::connection_changed(bool connected) {
    listener_.host_side_changed(*this);
    if (connected) {
        pump_input();
    }
}

void VirtioConsolePort::pump_input() {
    if (!input_ || !guest_open_) {
        return;  // unread: the other end feels it
    }
    virtio::Queue& queue = input_->queue();
    queue.disable_notifications();
    std::array<std::uint8_t, piece_bytes> bytes;
    bool dry = false;
    unsigned moved = 0;
    for (; moved < batch_max && !dry; ++moved) {
        if (!waiting_) {
            waiting_ = queue.pop();
        }
        if (!waiting_) {
            dry = true;
            break;
        }
        const std::uint64_t room = std::min<std::uint64_t>(waiting_.writable_bytes(), piece_bytes);
        const std::size_t count = room == 0 ? 0 : channel_.read(std::span(bytes).first(room));
        if (room != 0 && count == 0) {
            break;  // `readable` follows
        }
        virtio::ChainWriter writer(waiting_);
        writer.write(std::as_bytes(std::span(bytes).first(count)));
        input_meter_.request(writer.written(), false);
        queue.push_used(std::move(waiting_), writer.written());
    }
    input_->publish();
    if (moved == batch_max || (dry && !queue.broken() && queue.enable_notifications())) {
        input_->again();
    }
}

void VirtioConsolePort::pump_output() {
    if (!output_) {
        return;
    }
    virtio::Queue& queue = output_->queue();
    queue.disable_notifications();
    std::uint64_t budget = turn_bytes;
    bool dry = false;
    bool full = false;
    for (unsigned moved = 0; moved < batch_max && budget != 0 && !dry && !full; ++moved) {
        if (!sending_) {
            sending_ = queue.pop();
            sent_ = 0;
        }
        if (!sending_) {
            dry = true;
            break;
        }
        full = !send(sending_, budget);
        if (sent_ == sending_.readable_bytes()) {
            output_meter_.request(sent_, false);
            queue.push_used(std::move(sending_), 0);
        }
    }
    output_->publish();
    if (!full && !queue.broken() && (!dry || queue.enable_notifications())) {
        output_->again();
    }
}

bool VirtioConsolePort::send(const virtio::Chain& chain, std::uint64_t& budget) {
    virtio::ChainReader reader(chain);
    reader.skip(sent_);
    std::array<std::uint8_t, piece_bytes> bytes;
    while (reader.remaining() != 0 && budget != 0) {
        const std::size_t wanted = std::min<std::uint64_t>(piece_bytes, budget);
        const auto piece = std::span(bytes).first(
            reader.read(std::as_writable_bytes(std::span(bytes).first(wanted))));
        const std::size_t taken = channel_.write(piece);
        sent_ += taken;
        budget -= taken;
        if (taken < piece.size()) {
            return false;  // `writable` follows
        }
    }
    return true;
}

}  // namespace cupule::device
