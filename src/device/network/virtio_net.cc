#include "device/network/virtio_net.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "device/network/net_config.h"
#include "device/network/virtio_net_registers.h"
#include "virtio/features.h"

namespace cupule::device {
namespace {

using namespace net;

constexpr std::uint16_t data_queue_size = 1024;
constexpr std::uint16_t control_queue_size = 64;
constexpr std::uint16_t standard_mtu = 1500;
/// Ethernet header and a VLAN tag.
constexpr std::size_t frame_overhead = 18;
constexpr std::uint64_t mac_mask = base::mask(48);

}  // namespace

VirtioNet::VirtioNet(const VirtioNetSpec& spec, std::span<const NetPairPowers> pairs)
    : spec_(spec),
      spec_mac_(pack(spec.mac)),
      mac_(spec_mac_),
      control_worker_(pairs.front().worker) {
    CUPULE_ASSERT(!pairs.empty());
    for (const NetPairPowers& each : pairs) {
        pairs_.push_back(
            std::make_unique<NetPair>(each.worker, each.port, spec_.poll_ns_max, link_up_));
    }
    constexpr virtio::QueueLimits data{.size_max = data_queue_size,
                                       .segments_max = NetTransmitter::segments_max};
    limits_.assign(2 * pairs.size(), data);
    limits_.push_back({.size_max = control_queue_size, .segments_max = 16});
    control_ = std::make_unique<NetControl>(pairs_, mac_);
    control_server_ = std::make_unique<virtio::QueueServer>(control_worker_, *control_);
    features_ = offered(pairs_.front()->offloads());
}

VirtioNet::~VirtioNet() {
    static_cast<void>(deactivate());
}

std::uint64_t VirtioNet::offered(const backend::NetOffloads& offloads) const {
    std::uint64_t result = virtio::feature::ring_engine | feature::mac | feature::status |
                           feature::mrg_rxbuf | feature::ctrl_vq | feature::ctrl_rx |
                           feature::ctrl_rx_extra | feature::ctrl_vlan | feature::ctrl_mac_addr;
    result |= spec_.mtu != 0 ? feature::mtu : 0;
    result |= pairs_.size() > 1 ? feature::mq : 0;
    result |= pairs_.size() > 1 && pairs_.front()->can_steer() ? feature::rss : 0;
    result |= offloads.checksum ? feature::ctrl_guest_offloads : 0;
    return result | offload_features(offloads);
}

std::span<const virtio::FeatureDependency> VirtioNet::feature_dependencies() const {
    return dependencies();
}

std::uint64_t VirtioNet::read_config(std::uint64_t offset, unsigned size) {
    return net::read({.mac = mac_,
                      .link_up = link_up_,
                      .pairs = static_cast<std::uint16_t>(pairs_.size()),
                      .mtu = spec_.mtu,
                      .steers = (features_ & feature::rss) != 0},
                     offset, size);
}

void VirtioNet::write_config(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (!begun_) {
        return;  // nobody knows yet whose driver this is
    }
    const std::uint64_t mac = write_mac(mac_, negotiated_, offset, size, value);
    control_worker_.call([&] {
        mac_ = mac;
        control_->follow_address();
    });
}

std::uint16_t VirtioNet::control_index() const {
    return static_cast<std::uint16_t>(2 * pairs_known());
}

std::size_t VirtioNet::pairs_known() const {
    return negotiated(feature::mq | feature::rss) ? pairs_.size() : 1;
}

NetPairRules VirtioNet::rules() const {
    const std::uint64_t long_frames =
        feature::guest_tso4 | feature::guest_tso6 | feature::guest_uso4 | feature::guest_uso6;
    const std::size_t mtu = std::max(spec_.mtu, standard_mtu);
    const std::size_t usual = sizeof(backend::NetHeader) + frame_overhead + mtu;
    return {.receive = {.merge = negotiated(feature::mrg_rxbuf),
                        .header_bytes = header_bytes(negotiated_),
                        .frame_bytes_max =
                            negotiated(long_frames) ? backend::net_frame_bytes_max : usual},
            .transmit_offloads = {.checksum = negotiated(feature::csum),
                                  .tso4 = negotiated(feature::host_tso4),
                                  .tso6 = negotiated(feature::host_tso6),
                                  .tso_ecn = negotiated(feature::host_ecn),
                                  .uso = negotiated(feature::host_uso)}};
}

base::Result<void> VirtioNet::activate(std::uint64_t negotiated,
                                       std::vector<virtio::RunningQueue> queues,
                                       virtio::DeviceEvents& events) {
    negotiated_ = negotiated;
    events_ = &events;
    for (const auto& pair : pairs_) {
        pair->open(rules(), events);
    }
    // The driver's wishes outlive a pause, not a reset.
    if (!std::exchange(begun_, true)) {
        control_->begin(negotiated);
    }
    control_->apply();
    for (virtio::RunningQueue& queue : queues) {
        if (auto result = start_queue(std::move(queue)); !result) {
            static_cast<void>(deactivate());
            return result;
        }
    }
    return {};
}

base::Result<void> VirtioNet::start_queue(virtio::RunningQueue queue) {
    if (negotiated(feature::ctrl_vq) && queue.index == control_index()) {
        control_at_ = queue.index;
        return control_server_->start(std::move(queue), *events_);
    }
    const std::size_t pair = queue.index / 2;
    if (pair >= pairs_known()) {
        return {};  // a queue that means nothing without what was not negotiated: never served
    }
    if (queue.index % 2 == 1) {
        return pairs_[pair]->start_transmit(std::move(queue));
    }
    // Over vhost-user the control queue is the front end's, which stops and starts rings instead.
    if (!negotiated(feature::ctrl_vq)) {
        pairs_[pair]->set_attached(true);
    }
    return pairs_[pair]->start_receive(std::move(queue));
}

std::vector<virtio::RunningQueue> VirtioNet::deactivate() {
    std::vector<virtio::RunningQueue> back;
    if (events_ == nullptr) {
        return back;
    }
    const auto keep = [&back](std::optional<virtio::RunningQueue> queue) {
        if (queue) {
            back.push_back(std::move(*queue));
        }
    };
    keep(control_server_->stop());
    pairs_.front()->set_steering(nullptr);
    for (const auto& pair : pairs_) {
        keep(pair->stop_receive());
        keep(pair->stop_transmit());
        pair->set_receive_offloads({});
        pair->close();
    }
    events_ = nullptr;
    return back;
}

std::vector<virtio::QueueReport> VirtioNet::report() const {
    std::vector<virtio::QueueReport> reports;
    std::uint16_t index = 0;
    for (const auto& pair : pairs_) {
        reports.push_back(pair->receive_report(index++));
        reports.push_back(pair->transmit_report(index++));
    }
    // It stands behind the pairs that its driver knows of.
    if (const auto control = control_server_->report(control_at_); control.requests != 0) {
        reports.resize(std::min<std::size_t>(reports.size(), control.index));
        reports.push_back(control);
    }
    return reports;
}

std::optional<virtio::RunningQueue> VirtioNet::stop_queue(std::uint16_t index) {
    if (negotiated(feature::ctrl_vq) && index == control_index()) {
        return control_server_->stop();
    }
    const std::size_t pair = index / 2;
    if (pair >= pairs_.size()) {
        return std::nullopt;
    }
    if (index % 2 == 0 && pair != 0 && !negotiated(feature::ctrl_vq)) {
        pairs_[pair]->set_attached(false);
    }
    return index % 2 == 0 ? pairs_[pair]->stop_receive() : pairs_[pair]->stop_transmit();
}

void VirtioNet::reset() {
    negotiated_ = 0;
    begun_ = false;
    mac_ = spec_mac_;
}

void VirtioNet::visit(snapshot::Visitor& visitor) {
    std::uint64_t mac = mac_;
    visitor.field("mac", mac);
    if (visitor.restoring()) {
        mac_ = mac & mac_mask;
    }
}

}  // namespace cupule::device
