#include "device/network/virtio_vsock.h"

#include <algorithm>
#include <utility>

#include "base/bits.h"
#include "virtio/features.h"

namespace cupule::device {
namespace {

using namespace vsock;
using Verdict = VsockConnection::Verdict;

constexpr std::uint64_t stream_feature = base::bit(0);  // VIRTIO_VSOCK_F_STREAM

constexpr std::uint16_t receive = 0;
constexpr std::uint16_t transmit = 1;

/// Packets between two looks at the event loop.
constexpr unsigned batch_max = 64;
constexpr std::size_t resets_max = 1024;
/// Where ports of calls from the host begin: above those that programs serve.
constexpr std::uint32_t first_host_port = 1U << 30;

}  // namespace

VirtioVsock::VirtioVsock(std::uint32_t guest_cid, backend::StreamHost& host, event::Worker& worker)
    : guest_cid_(guest_cid), host_(host), worker_(worker), next_port_(first_host_port) {}

VirtioVsock::~VirtioVsock() {
    static_cast<void>(deactivate());
    worker_.call([this] { forget_all(); });
}

std::uint64_t VirtioVsock::features() const {
    return virtio::feature::ring_engine | stream_feature;
}

std::uint64_t VirtioVsock::read_config(std::uint64_t offset, unsigned size) {
    return base::read_lane(std::uint64_t{guest_cid_}, offset, size);  // guest_cid (5.10.4)
}

void VirtioVsock::write_config(std::uint64_t /*offset*/, unsigned /*size*/,
                               std::uint64_t /*value*/) {
    // guest_cid is read-only.
}

base::Result<void> VirtioVsock::activate(std::uint64_t /*negotiated*/,
                                         std::vector<virtio::RunningQueue> queues,
                                         virtio::DeviceEvents& events) {
    auto result = worker_.call([&]() -> base::Result<void> {
        events_ = &events;
        for (virtio::RunningQueue& queue : queues) {
            CUPULE_TRY(start(std::move(queue)));
        }
        host_.set_events(this);
        return {};
    });
    if (!result) {
        static_cast<void>(deactivate());
    }
    return result;
}

std::vector<virtio::RunningQueue> VirtioVsock::deactivate() {
    return worker_.call([this] {
        std::vector<virtio::RunningQueue> back;
        host_.set_events(nullptr);
        for (std::uint16_t index = 0; index < queue_count; ++index) {
            if (auto queue = stop(index)) {
                back.push_back(std::move(*queue));
            }
        }
        events_ = nullptr;
        return back;
    });
}

std::vector<virtio::QueueReport> VirtioVsock::report() const {
    return {meters_[receive].report(receive), meters_[transmit].report(transmit)};
}

std::optional<virtio::RunningQueue> VirtioVsock::stop_queue(std::uint16_t index) {
    return worker_.call([&] { return stop(index); });
}

base::Result<void> VirtioVsock::start_queue(virtio::RunningQueue queue) {
    return worker_.call([&] { return start(std::move(queue)); });
}

void VirtioVsock::reset() {
    worker_.call([this] { forget_all(); });
}

void VirtioVsock::visit(snapshot::Visitor& visitor) {
    if (visitor.restoring()) {
        reset();  // connections are the host's as well: they do not come back
    }
}

// On the worker.

base::Result<void> VirtioVsock::start(virtio::RunningQueue queue) {
    const std::uint16_t index = queue.index;
    CUPULE_TRY_ASSIGN(queues_[index], virtio::WorkerQueue::create(
                                          worker_, std::move(queue), *events_,
                                          [this, index] {
                                              if (index == transmit) {
                                                  serve_transmit();
                                              }
                                              fill_receive();
                                          },
                                          &meters_[index]));
    queues_[index]->again();
    return {};
}

std::optional<virtio::RunningQueue> VirtioVsock::stop(std::uint16_t index) {
    if (!queues_[index]) {
        return std::nullopt;
    }
    if (index == receive && waiting_) {
        queues_[index]->queue().push_used(std::move(waiting_), 0);
        queues_[index]->publish();
    }
    return std::exchange(queues_[index], nullptr)->take();
}

void VirtioVsock::forget_all() {
    news_.clear();
    resets_.clear();
    draining_.clear();
    connections_.clear();
}

// From the guest.

void VirtioVsock::serve_transmit() {
    virtio::Queue& queue = queues_[transmit]->queue();
    queue.disable_notifications();
    bool dry = false;
    for (unsigned served = 0; served < batch_max && !dry; ++served) {
        virtio::Chain chain = queue.pop();
        if (!chain) {
            dry = true;
            break;
        }
        take(chain);
        queue.push_used(std::move(chain), 0);
    }
    queues_[transmit]->publish();
    if (!queue.broken() && (!dry || queue.enable_notifications())) {
        queues_[transmit]->again();
    }
}

void VirtioVsock::take(const virtio::Chain& chain) {
    virtio::ChainReader reader(chain);
    const auto header = reader.value<Header>();
    const std::uint64_t bytes = reader.remaining();
    if (!header || header->length > bytes) {
        bad_packet_.report(header ? header->length : bytes);
        meters_[transmit].request(0, true);
        return;
    }
    if (header->source_cid != guest_cid_) {
        bad_sender_.report(header->source_cid);
        meters_[transmit].request(0, true);
        return;
    }
    meters_[transmit].request(header->length, false);
    take_for(*header, reader);
}

void VirtioVsock::take_for(const Header& header, virtio::ChainReader data) {
    const Ports ports{.host = header.target_port, .guest = header.source_port};
    const auto found = connections_.find(ports);
    const bool ours = header.target_cid == host_cid && header.type == type_stream;
    if (ours && found != connections_.end()) {
        VsockConnection& connection = *found->second;
        const Verdict verdict = connection.take(header, data);
        if (verdict != Verdict::open) {
            close(ports, verdict);
        } else {
            list_if_news(connection);
        }
        return;
    }
    if (ours && header.operation == operation::request) {
        open_for_guest(header);
    } else if (header.operation != operation::reset) {
        refuse(ports);
    }
}

void VirtioVsock::open_for_guest(const Header& header) {
    const Ports ports{.host = header.target_port, .guest = header.source_port};
    auto stream = full() ? nullptr : host_.connect(ports.host);
    if (!stream) {
        refuse(ports);
        return;
    }
    auto connection = std::make_unique<VsockConnection>(
        ports, VsockConnection::Asker::guest, std::move(stream), static_cast<Owner&>(*this));
    connection->hear_credit(header);
    list_if_news(*connection);
    connections_.emplace(ports, std::move(connection));
}

void VirtioVsock::close(const Ports& ports, Verdict verdict) {
    auto node = connections_.extract(ports);
    std::unique_ptr<VsockConnection> connection = std::move(node.mapped());
    if (connection->listed) {
        std::erase(news_, connection.get());
    }
    if (verdict != Verdict::finished) {
        refuse(ports);
    }
    if (verdict == Verdict::closed && connection->draining()) {
        draining_.push_back(std::move(connection));
    }
}

void VirtioVsock::refuse(const Ports& ports) {
    if (resets_.size() >= resets_max) {
        no_buffers_.report(ports.guest);
        return;
    }
    resets_.push_back(ports);
}

// From the host.

void VirtioVsock::connect_wanted(std::unique_ptr<backend::HostStream> stream, std::uint32_t port) {
    if (full()) {
        base::log_warning("virtio-vsock: {} connections; a call to port {} is refused",
                          connections_max, port);
        return;
    }
    const auto behind = [](std::uint32_t host_port) {
        return std::max(base::wrapping_add(host_port, 1U), first_host_port);
    };
    Ports ports{.host = next_port_, .guest = port};
    while (connections_.contains(ports)) {
        ports.host = behind(ports.host);
    }
    next_port_ = behind(ports.host);
    auto connection = std::make_unique<VsockConnection>(
        ports, VsockConnection::Asker::host, std::move(stream), static_cast<Owner&>(*this));
    list_if_news(*connection);
    connections_.emplace(ports, std::move(connection));
    fill_receive();
}

void VirtioVsock::host_did_something(VsockConnection& connection) {
    const auto drained =
        std::ranges::find(draining_, &connection,
                          [](const std::unique_ptr<VsockConnection>& each) { return each.get(); });
    if (drained != draining_.end()) {
        if (!connection.draining()) {
            draining_.erase(drained);
        }
        return;
    }
    list_if_news(connection);
    fill_receive();
}

// To the guest.

void VirtioVsock::list_if_news(VsockConnection& connection) {
    if (!connection.listed && connection.has_news()) {
        connection.listed = true;
        news_.push_back(&connection);
    }
}

void VirtioVsock::fill_receive() {
    if (!queues_[receive]) {
        return;
    }
    virtio::WorkerQueue& running = *queues_[receive];
    virtio::Queue& queue = running.queue();
    queue.disable_notifications();
    bool dry = false;
    unsigned moved = 0;
    for (; moved < batch_max && has_news(); ++moved) {
        if (!waiting_) {
            waiting_ = queue.pop();
        }
        if (!waiting_) {
            dry = true;
            break;
        }
        const std::uint64_t room = waiting_.writable_bytes();
        const bool useless = room <= sizeof(Header);
        if (useless) {
            bad_buffer_.report(room);
        }
        const std::uint32_t written = useless ? 0 : fill(waiting_);
        if (useless || written != 0) {
            queue.push_used(std::move(waiting_), written);
        }
    }
    running.publish();
    if (queue.broken()) {
        return;
    }
    if (moved == batch_max || (dry && queue.enable_notifications())) {
        running.again();
    }
}

std::uint32_t VirtioVsock::fill(const virtio::Chain& chain) {
    if (!resets_.empty()) {
        const Ports ports = resets_.front();
        resets_.pop_front();
        return write_packet(chain, {.source_port = ports.host,
                                    .target_port = ports.guest,
                                    .type = type_stream,
                                    .operation = operation::reset});
    }
    VsockConnection& connection = *news_.front();
    news_.pop_front();
    connection.listed = false;
    virtio::ChainWriter data(chain);
    data.skip(sizeof(Header));
    const auto header = connection.give(data);
    list_if_news(connection);
    return header ? write_packet(chain, *header) : 0;
}

std::uint32_t VirtioVsock::write_packet(const virtio::Chain& chain, Header header) {
    header.source_cid = host_cid;
    header.target_cid = guest_cid_;
    virtio::ChainWriter writer(chain);
    writer.value(header);
    meters_[receive].request(header.length, false);
    return static_cast<std::uint32_t>(sizeof header) + header.length;
}

}  // namespace cupule::device
