#include "device/network/net_pair.h"

#include <utility>

namespace cupule::device {

NetPair::NetPair(event::Worker& worker, backend::NetPort& port, std::uint64_t poll_ns_max,
                 std::atomic<bool>& link_up)
    : worker_(worker), port_(port), link_up_(link_up), transmitter_(worker, port, poll_ns_max) {
    worker_.call([this] {
        offloads_ = port_.offloads();
        can_steer_ = port_.can_steer();
        link_up_ = port_.link_up();
    });
}

NetPair::~NetPair() {
    // Also the end of what was posted.
    close();
}

void NetPair::open(const NetPairRules& rules, virtio::DeviceEvents& events) {
    worker_.call([&] {
        rules_ = rules;
        events_ = &events;
        receiver_.set_filter(nullptr);
        port_.set_events(this);
        link_up_ = port_.link_up();
    });
}

void NetPair::close() {
    worker_.call([this] {
        events_ = nullptr;
        port_.set_events(nullptr);
    });
}

base::Result<void> NetPair::start_receive(virtio::RunningQueue queue) {
    base::Result<void> result;
    worker_.call([&] { result = receiver_.start(std::move(queue), *events_, rules_.receive); });
    return result;
}

base::Result<void> NetPair::start_transmit(virtio::RunningQueue queue) {
    base::Result<void> result;
    worker_.call([&] {
        result = transmitter_.start(std::move(queue), *events_, rules_.transmit_offloads,
                                    rules_.receive.header_bytes);
    });
    return result;
}

std::optional<virtio::RunningQueue> NetPair::stop_receive() {
    std::optional<virtio::RunningQueue> queue;
    worker_.call([&] { queue = receiver_.stop(); });
    return queue;
}

std::optional<virtio::RunningQueue> NetPair::stop_transmit() {
    std::optional<virtio::RunningQueue> queue;
    worker_.call([&] { queue = transmitter_.stop(); });
    return queue;
}

void NetPair::post(event::Callback work) {
    worker_.loop().post([this, work = std::move(work)]() mutable {
        event::MutexLock lock(worker_.monitor());
        work();
    });
}

void NetPair::set_filter(const NetFilter& filter) {
    post([this, copy = std::make_shared<const NetFilter>(filter)] { receiver_.set_filter(copy); });
}

void NetPair::set_attached(bool attached) {
    post([this, attached] { port_.set_attached(attached); });
}

void NetPair::set_receive_offloads(const backend::NetOffloads& offloads) {
    post([this, offloads] { port_.set_receive_offloads(offloads); });
}

void NetPair::set_steering(std::shared_ptr<const backend::ReceiveSteering> rules) {
    post([this, rules = std::move(rules)] { port_.steer(rules.get()); });
}

void NetPair::link_changed(bool up) {
    link_up_ = up;
    if (events_ != nullptr) {
        events_->config_changed();
    }
}

}  // namespace cupule::device
