#include "device/serial/virtio_console.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "base/bits.h"
#include "virtio/features.h"

namespace cupule::device {
namespace {

namespace feature {
constexpr std::uint64_t size = base::bit(0);       // VIRTIO_CONSOLE_F_SIZE
constexpr std::uint64_t multiport = base::bit(1);  // VIRTIO_CONSOLE_F_MULTIPORT
}  // namespace feature

/// struct virtio_console_control (5.3.6.2) and its events.
struct Message {
    std::uint32_t id;
    std::uint16_t event;
    std::uint16_t value;
};
static_assert(sizeof(Message) == 8);
namespace control {
constexpr std::uint16_t device_ready = 0;  // VIRTIO_CONSOLE_DEVICE_READY
constexpr std::uint16_t device_add = 1;    // VIRTIO_CONSOLE_DEVICE_ADD
constexpr std::uint16_t port_ready = 3;    // VIRTIO_CONSOLE_PORT_READY
constexpr std::uint16_t console_port = 4;  // VIRTIO_CONSOLE_CONSOLE_PORT
constexpr std::uint16_t resize = 5;        // VIRTIO_CONSOLE_RESIZE
constexpr std::uint16_t port_open = 6;     // VIRTIO_CONSOLE_PORT_OPEN
constexpr std::uint16_t port_name = 7;     // VIRTIO_CONSOLE_PORT_NAME
}  // namespace control

constexpr std::uint16_t queue_size = 64;
constexpr std::uint16_t segments_max = 64;
constexpr std::uint16_t control_in = 2;
constexpr std::uint16_t control_out = 3;
constexpr std::size_t name_bytes_max = 64;
constexpr std::size_t messages_max = 256;
constexpr unsigned batch_max = 64;

/// Port 0 has queues 0 and 1, then come the control queues, then all others (5.3.2).
std::size_t port_of(std::uint16_t index) {
    return index < control_in ? 0 : std::size_t{index} / 2 - 1;
}

}  // namespace

VirtioConsole::VirtioConsole(std::span<const ConsolePortPowers> ports, event::Worker& worker)
    : worker_(worker) {
    CUPULE_ASSERT(!ports.empty() && ports.size() <= ports_max);
    limits_.assign(2 * ports.size() + 2, {.size_max = queue_size, .segments_max = segments_max});
    worker_.call([&] {
        for (const ConsolePortPowers& each : ports) {
            ports_.push_back({.spec = each.spec,
                              .port = std::make_unique<VirtioConsolePort>(
                                  worker_, each.channel, static_cast<Listener&>(*this))});
        }
    });
}

VirtioConsole::~VirtioConsole() {
    static_cast<void>(deactivate());
    worker_.call([this] { ports_.clear(); });
}

std::uint64_t VirtioConsole::features() const {
    return virtio::feature::ring_engine | feature::size | feature::multiport;
}

std::uint64_t VirtioConsole::read_config(std::uint64_t offset, unsigned size) {
    // struct virtio_console_config (5.3.4): cols, rows, max_nr_ports, emerg_wr.
    std::array<std::uint8_t, 12> bytes{};
    const std::uint32_t cells = size_;
    const auto count = static_cast<std::uint32_t>(ports_.size());
    std::memcpy(bytes.data(), &cells, sizeof cells);
    std::memcpy(bytes.data() + 4, &count, sizeof count);
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size && offset < bytes.size() && offset + i < bytes.size(); ++i) {
        value |= std::uint64_t{bytes[offset + i]} << (8 * i);
    }
    return value;
}

void VirtioConsole::write_config(std::uint64_t /*offset*/, unsigned /*size*/,
                                 std::uint64_t /*value*/) {
    // Only emerg_wr could be written, with a feature that is not offered.
}

base::Result<void> VirtioConsole::activate(std::uint64_t negotiated,
                                           std::vector<virtio::RunningQueue> queues,
                                           virtio::DeviceEvents& events) {
    auto result = worker_.call([&]() -> base::Result<void> {
        events_ = &events;
        multiport_ = (negotiated & feature::multiport) != 0;
        for (virtio::RunningQueue& queue : queues) {
            CUPULE_TRY(start(std::move(queue)));
        }
        if (!multiport_) {
            ports_.front().port->set_guest_open(true);
        }
        return {};
    });
    if (!result) {
        static_cast<void>(deactivate());
    }
    return result;
}

std::vector<virtio::RunningQueue> VirtioConsole::deactivate() {
    return worker_.call([this] {
        std::vector<virtio::RunningQueue> back;
        for (std::uint16_t index = 0; index < limits_.size(); ++index) {
            if (auto queue = stop(index)) {
                back.push_back(std::move(*queue));
            }
        }
        events_ = nullptr;
        return back;
    });
}

std::vector<virtio::QueueReport> VirtioConsole::report() const {
    std::vector<virtio::QueueReport> reports;
    for (std::uint16_t index = 0; index < limits_.size(); ++index) {
        if (index == control_in) {
            reports.push_back(control_in_meter_.report(index));
        } else if (index == control_out) {
            reports.push_back(control_out_meter_.report(index));
        } else {
            const VirtioConsolePort& port = *ports_[port_of(index)].port;
            reports.push_back(index % 2 == 0 ? port.input_report(index)
                                             : port.output_report(index));
        }
    }
    return reports;
}

void VirtioConsole::reset() {
    worker_.call([this] {
        messages_.clear();
        for (Port& port : ports_) {
            port.ready = false;
            port.port->set_guest_open(false);
        }
    });
}

std::optional<virtio::RunningQueue> VirtioConsole::stop_queue(std::uint16_t index) {
    return worker_.call([&] { return stop(index); });
}

base::Result<void> VirtioConsole::start_queue(virtio::RunningQueue queue) {
    return worker_.call([&] { return start(std::move(queue)); });
}

// On the worker.

base::Result<void> VirtioConsole::start(virtio::RunningQueue queue) {
    const std::uint16_t index = queue.index;
    if (index == control_in) {
        CUPULE_TRY_ASSIGN(control_in_, virtio::WorkerQueue::create(
                                           worker_, std::move(queue), *events_,
                                           [this] { send_messages(); }, &control_in_meter_));
        return {};
    }
    if (index == control_out) {
        CUPULE_TRY_ASSIGN(control_out_, virtio::WorkerQueue::create(
                                            worker_, std::move(queue), *events_,
                                            [this] { serve_control(); }, &control_out_meter_));
        return {};
    }
    VirtioConsolePort& port = *ports_[port_of(index)].port;
    return index % 2 == 0 ? port.start_input(std::move(queue), *events_)
                          : port.start_output(std::move(queue), *events_);
}

std::optional<virtio::RunningQueue> VirtioConsole::stop(std::uint16_t index) {
    if (index == control_in || index == control_out) {
        auto queue = std::exchange(index == control_in ? control_in_ : control_out_, nullptr);
        return queue ? std::optional(queue->take()) : std::nullopt;
    }
    VirtioConsolePort& port = *ports_[port_of(index)].port;
    return index % 2 == 0 ? port.stop_input() : port.stop_output();
}

void VirtioConsole::serve_control() {
    virtio::Queue& queue = control_out_->queue();
    queue.disable_notifications();
    bool dry = false;
    for (unsigned served = 0; served < batch_max && !dry; ++served) {
        virtio::Chain chain = queue.pop();
        if (!chain) {
            dry = true;
            break;
        }
        virtio::ChainReader reader(chain);
        const auto message = reader.value<Message>();
        control_out_meter_.request(chain.readable_bytes(), !message);
        queue.push_used(std::move(chain), 0);
        if (message && multiport_) {
            handle(message->id, message->event, message->value);
        }
    }
    control_out_->publish();
    send_messages();
    if (!queue.broken() && (!dry || queue.enable_notifications())) {
        control_out_->again();
    }
}

void VirtioConsole::handle(std::uint32_t id, std::uint16_t event, std::uint16_t value) {
    if (event == control::device_ready) {
        for (std::uint32_t port = 0; value == 1 && port < ports_.size(); ++port) {
            tell(port, control::device_add, 1);
        }
        return;
    }
    if (id >= ports_.size()) {
        bad_message_.report(id);
        return;
    }
    if (event == control::port_ready) {
        ports_[id].ready = value == 1;
        if (ports_[id].ready) {
            introduce(id);
        }
    } else if (event == control::port_open) {
        ports_[id].port->set_guest_open(value == 1);
    }
}

void VirtioConsole::introduce(std::uint32_t id) {
    const Port& port = ports_[id];
    if (port.spec.console) {
        tell(id, control::console_port, 1);
        tell_size(id);
    }
    if (!port.spec.name.empty()) {
        tell(id, control::port_name, 1, port.spec.name);
    }
    if (port.port->host_open()) {
        tell(id, control::port_open, 1);
    }
}

void VirtioConsole::host_side_changed(VirtioConsolePort& port) {
    for (std::uint32_t id = 0; id < ports_.size(); ++id) {
        if (ports_[id].port.get() == &port && ports_[id].ready) {
            tell(id, control::port_open, port.host_open() ? 1 : 0);
            send_messages();
        }
    }
}

void VirtioConsole::resize(std::uint16_t columns, std::uint16_t rows) {
    size_ = std::uint32_t{columns} | std::uint32_t{rows} << 16;
    if (events_ == nullptr) {
        return;
    }
    events_->config_changed();
    for (std::uint32_t id = 0; id < ports_.size(); ++id) {
        if (ports_[id].spec.console && ports_[id].ready) {
            tell_size(id);
        }
    }
    send_messages();
}

void VirtioConsole::tell_size(std::uint32_t id) {
    const std::uint32_t cells = size_;
    if (cells != 0) {
        // struct virtio_console_resize: cols, rows.
        tell(id, control::resize, 1, {reinterpret_cast<const char*>(&cells), sizeof cells});
    }
}

void VirtioConsole::tell(std::uint32_t id, std::uint16_t event, std::uint16_t value,
                         std::string_view tail) {
    if (messages_.size() >= messages_max) {
        too_many_.report(event);
        return;
    }
    const Message message{.id = id, .event = event, .value = value};
    std::vector<std::uint8_t> bytes(sizeof message);
    std::memcpy(bytes.data(), &message, sizeof message);
    tail = tail.substr(0, name_bytes_max);
    bytes.insert(bytes.end(), tail.begin(), tail.end());
    messages_.push_back(std::move(bytes));
}

void VirtioConsole::send_messages() {
    if (!control_in_) {
        return;
    }
    virtio::Queue& queue = control_in_->queue();
    queue.disable_notifications();
    bool dry = false;
    while (!messages_.empty() && !dry) {
        virtio::Chain chain = queue.pop();
        if (!chain) {
            dry = true;
            break;
        }
        virtio::ChainWriter writer(chain);
        writer.write(std::as_bytes(std::span(messages_.front())));
        messages_.pop_front();
        control_in_meter_.request(writer.written(), false);
        queue.push_used(std::move(chain), writer.written());
    }
    control_in_->publish();
    if (dry && !queue.broken() && queue.enable_notifications()) {
        control_in_->again();
    }
}

}  // namespace cupule::device
