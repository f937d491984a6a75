#include "vhost_user/front_end_device.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "device/network/virtio_net_registers.h"
#include "vhost_user/vring_base.h"
#include "virtio/features.h"
#include "virtio/queue_position.h"

namespace cupule::vhost_user {
namespace {

/// Bits of the rings and of the transport (Virtio 1.3, 2.2).
constexpr std::uint64_t ring_features = ~(base::mask(24) | ~base::mask(50));
constexpr std::uint8_t link_up = 1;

}  // namespace

base::Result<std::unique_ptr<FrontEndDevice>> FrontEndDevice::create(
    FrontEndSpec spec, const FrontEndPowers& powers, std::unique_ptr<FrontEnd> back_end) {
    CUPULE_TRY(powers.memory.share());
    std::unique_ptr<FrontEndDevice> device(new FrontEndDevice(std::move(spec), powers));
    device->features_ = (back_end->features() & (device->spec_.features_passed | ring_features)) |
                        device->spec_.features_own;
    if (!device->spec_.packed) {
        device->features_ &= ~virtio::feature::ring_packed;
    }
    CUPULE_TRY_ASSIGN(device->ending_, base::make_eventfd());
    event::MutexLock lock(powers.monitor);
    device->retry_ =
        powers.loop.make_timer(powers.monitor, [self = device.get()] { self->look_again(); });
    CUPULE_TRY(device->adopt(std::move(back_end)));
    return device;
}

FrontEndDevice::~FrontEndDevice() {
    if (ending_) {
        base::signal_eventfd(ending_.get());
    }
    {
        event::MutexLock lock(powers_.monitor);
        is_ending_ = true;
        watch_.reset();
        back_channel_watch_.reset();
        retry_.reset();
    }
    seeker_.reset();
}

// The back end comes and goes.

base::Result<void> FrontEndDevice::check(const FrontEnd& back_end) const {
    const std::uint64_t wanted = back_end_features();
    if ((wanted & ~back_end.features()) != 0) {
        return base::fail("the back end lacks the features {:#x} that the driver has",
                          wanted & ~back_end.features());
    }
    if (spec_.back_end_config_bytes != 0 && !back_end.has(protocol_feature::config)) {
        return base::fail("the back end has no configuration space for {}", spec_.id.name);
    }
    const std::size_t queues = back_end_queues() / spec_.queues_in_one;
    if (back_end.queues().value_or(queues) < queues) {
        return base::fail("the back end serves {} queues, {} are wanted", *back_end.queues(),
                          queues);
    }
    return {};
}

base::Result<void> FrontEndDevice::adopt(std::unique_ptr<FrontEnd> back_end) {
    CUPULE_TRY(check(*back_end));
    back_end_ = std::move(back_end);
    back_end_->begin();
    adopted_at_ns_ = powers_.loop.clock().now_ns();
    CUPULE_TRY(fetch_config());
    CUPULE_TRY_ASSIGN(watch_, powers_.loop.watch(
                                  back_end_->fd(), EPOLLIN, powers_.monitor, [this](std::uint32_t) {
                                      if (const auto alive = back_end_->check_alive(); !alive) {
                                          lost(alive.error());
                                      }
                                  }));
    if (back_end_->back_channel_fd() >= 0) {
        CUPULE_TRY_ASSIGN(back_channel_watch_,
                          powers_.loop.watch(back_end_->back_channel_fd(), EPOLLIN, powers_.monitor,
                                             [this](std::uint32_t) { hear_back_channel(); }));
    }
    if (events_ != nullptr && !given_up_) {
        CUPULE_TRY(start_rings());
    }
    show_link(true);
    failure_told_ = false;
    return {};
}

void FrontEndDevice::hear_back_channel() {
    back_end_->begin();
    const auto changes = back_end_->hear_back_channel();
    if (!changes) {
        lost(changes.error());
        return;
    }
    if (*changes == 0) {
        return;
    }
    if (const auto fetched = fetch_config(); !fetched) {
        lost(fetched.error());
        return;
    }
    if (events_ != nullptr) {
        events_->config_changed();
    }
}

base::Result<void> FrontEndDevice::fetch_config() {
    if (spec_.back_end_config_bytes == 0) {
        return {};
    }
    CUPULE_TRY_ASSIGN(config_, back_end_->read_config(spec_.back_end_config_bytes));
    if (spec_.patch) {
        config_.at(spec_.patch->at) = static_cast<std::uint8_t>(spec_.patch->value);
        config_.at(spec_.patch->at + 1) = static_cast<std::uint8_t>(spec_.patch->value >> 8);
    }
    return {};
}

void FrontEndDevice::show_link(bool up) {
    if (!spec_.link_status_at) {
        return;
    }
    std::uint8_t& status = config_.at(*spec_.link_status_at);
    const auto now = static_cast<std::uint8_t>(up ? status | link_up : status & ~link_up);
    if (std::exchange(status, now) != now && events_ != nullptr) {
        events_->config_changed();
    }
}

/// The connection is over; the driver's queues stay, and another back end may take them.
void FrontEndDevice::lost(const base::Error& error) {
    const bool again = !spec_.path.empty();
    if (!std::exchange(failure_told_, true)) {
        base::log_warning("{} at '{}': {}{}", spec_.id.name, spec_.path, error.message,
                          again ? "; waiting for a back end to come back" : "");
    }
    const std::uint64_t now_ns = powers_.loop.clock().now_ns();
    if (back_end_ != nullptr) {
        retry_delay_.stayed(now_ns - adopted_at_ns_);
    }
    watch_.reset();
    back_channel_watch_.reset();
    back_end_.reset();
    if (events_ != nullptr && begun_ && !given_up_ &&
        !std::ranges::all_of(queues_, [this](const auto& queue) { return goes_on(queue); })) {
        give_up_queues();
    }
    show_link(false);
    if (again) {
        retry_->start_at(now_ns + retry_delay_.next_ns());
    }
}

/// Whether what the lost back end had under way is known: by the inflight area, or because it is
/// nothing. Without that, requests would be lost or done twice into buffers of others.
bool FrontEndDevice::goes_on(const virtio::RunningQueue& queue) const {
    if (queue.queue.packed()) {
        return inflight_.has_value();
    }
    const auto [available, used] = virtio::split_indices(queue.queue, powers_.memory);
    return inflight_.has_value() || available == used;
}

void FrontEndDevice::give_up_queues() {
    given_up_ = true;
    for (const virtio::RunningQueue& queue : queues_) {
        if (!goes_on(queue)) {
            events_->queue_broken(queue.index, virtio::QueueFault::back_end_lost);
            return;
        }
    }
}

void FrontEndDevice::look_again() {
    if (seeker_ == nullptr) {
        seeker_ = std::make_unique<event::ThreadPool>("vhost-user seek", 1);
    }
    seeker_->post([this] { connect_again(); });
}

/// On the seeker's thread. The socket of a program that hangs still takes connections.
void FrontEndDevice::connect_again() {
    auto connected = FrontEnd::connect(spec_.path, ending_.get());
    event::MutexLock lock(powers_.monitor);
    if (is_ending_) {
        return;
    }
    auto result = connected ? adopt(std::move(*connected))
                            : base::Result<void>(std::unexpected(connected.error()));
    if (!result) {
        lost(result.error());
        return;
    }
    base::log(base::LogLevel::notice, "{} at '{}': a back end is there again", spec_.id.name,
              spec_.path);
}

// The driver's side.

std::uint64_t FrontEndDevice::read_config(std::uint64_t offset, unsigned size) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size && offset < config_.size() && offset + i < config_.size(); ++i) {
        value |= std::uint64_t{config_[offset + i]} << (8 * i);
    }
    return value;
}

void FrontEndDevice::write_config(std::uint64_t offset, unsigned size, std::uint64_t value) {
    const auto& byte = spec_.writable;
    const bool may = byte && offset == byte->at && size == 1 && value <= byte->value_max &&
                     (negotiated_ & byte->feature) != 0;
    if (!may || back_end_ == nullptr) {
        return;
    }
    back_end_->begin();
    const auto written = static_cast<std::uint8_t>(value);
    const auto taken = back_end_->write_config(byte->at, {&written, 1});
    const auto result = taken ? fetch_config() : std::unexpected(taken.error());
    if (!result) {
        lost(result.error());
    } else if (!*taken && !std::exchange(refusal_told_, true)) {
        base::log_warning(
            "{} at '{}': the back end refuses what the driver writes to its "
            "configuration space",
            spec_.id.name, spec_.path);
    }
}

base::Result<void> FrontEndDevice::activate(std::uint64_t negotiated,
                                            std::vector<virtio::RunningQueue> queues,
                                            virtio::DeviceEvents& events) {
    negotiated_ = negotiated;
    events_ = &events;
    given_up_ = false;
    begun_ = false;
    enabled_queues_ = spec_.has_pair_control ? 2 : static_cast<std::uint16_t>(back_end_queues());
    for (virtio::RunningQueue& queue : queues) {
        if (auto taken = take(std::move(queue)); !taken) {
            queues_.clear();
            error_bells_.clear();
            control_.reset();
            events_ = nullptr;
            return taken;
        }
    }
    if (back_end_ != nullptr) {
        back_end_->begin();
        if (const auto started = start_rings(); !started) {
            lost(started.error());
        }
    }
    return {};
}

base::Result<void> FrontEndDevice::take(virtio::RunningQueue queue) {
    if (spec_.has_pair_control && queue.index == control_index()) {
        return start_control(std::move(queue));
    }
    CUPULE_TRY_ASSIGN(
        error_bells_[queue.index],
        virtio::ErrorBell::create(queue.index, *events_, powers_.loop, powers_.monitor));
    queues_.push_back(std::move(queue));
    return {};
}

base::Result<void> FrontEndDevice::start_ring(const virtio::RunningQueue& queue) {
    return back_end_->start_ring(queue, enabled(queue.index), error_bells_.at(queue.index)->fd());
}

base::Result<void> FrontEndDevice::prepare_inflight() {
    if (inflight_ || !spec_.inflight || !back_end_->has(protocol_feature::inflight_shmfd) ||
        queues_.empty()) {
        return {};
    }
    CUPULE_TRY(back_end_->set_features(back_end_features()));
    std::uint16_t entries = 0;
    for (const virtio::RunningQueue& queue : queues_) {
        entries = std::max(entries, queue.queue.geometry().size);
    }
    const auto count = static_cast<std::uint16_t>(back_end_queues());
    CUPULE_TRY_ASSIGN(auto made, back_end_->make_inflight(count, entries));
    inflight_ = std::move(made);
    return {};
}

/// Gives the back end all it needs, from the first ring on or in the middle of things.
base::Result<void> FrontEndDevice::start_rings() {
    const bool again = std::exchange(begun_, true);
    CUPULE_TRY(prepare_inflight());
    const bool recorded = inflight_ && back_end_->has(protocol_feature::inflight_shmfd);
    CUPULE_TRY(back_end_->set_up({.features = back_end_features(),
                                  .memory = powers_.memory,
                                  .inflight = recorded ? &*inflight_ : nullptr}));
    for (virtio::RunningQueue& queue : queues_) {
        if (again && !queue.queue.packed()) {
            virtio::move_to(queue, powers_.memory, negotiated_, position_in_ring(queue));
        }
        CUPULE_TRY(start_ring(queue));
    }
    CUPULE_TRY(back_end_->settle());
    for (const virtio::RunningQueue& queue : queues_) {
        // The back end before may have taken a kick and not come to a call.
        base::signal_eventfd(queue.kick_fd);
        if (again) {
            base::signal_eventfd(queue.call_fd);
        }
    }
    return {};
}

/// Where a split ring goes on whose back end did not say: behind what was used, and the record of
/// what is in flight says the rest.
virtio::QueuePosition FrontEndDevice::position_in_ring(const virtio::RunningQueue& queue) const {
    const std::uint16_t used = virtio::split_indices(queue.queue, powers_.memory).used;
    return {.next_available = used, .next_used = used};
}

std::vector<virtio::RunningQueue> FrontEndDevice::deactivate() {
    if (back_end_ != nullptr) {
        back_end_->begin();
    }
    for (virtio::RunningQueue& queue : queues_) {
        put_at(queue);
    }
    if (control_ != nullptr) {
        queues_.push_back(std::exchange(control_, nullptr)->take());
    }
    error_bells_.clear();
    events_ = nullptr;
    begun_ = false;
    return std::exchange(queues_, {});
}

/// Stops the ring; the queue is then where the back end left it.
void FrontEndDevice::put_at(virtio::RunningQueue& queue) {
    const bool packed = queue.queue.packed();
    virtio::QueuePosition at = packed ? queue.queue.position() : position_in_ring(queue);
    if (back_end_ != nullptr && !given_up_) {
        const auto base = back_end_->stop_ring(queue.index);
        if (!base) {
            given_up_ = true;  // a driver that goes on finds out; most reset the device now
            lost(base.error());
        } else {
            at = position_of(*base, packed);
            at.next_used =
                packed ? at.next_used : virtio::split_indices(queue.queue, powers_.memory).used;
        }
    }
    virtio::move_to(queue, powers_.memory, negotiated_, at);
}

std::optional<virtio::RunningQueue> FrontEndDevice::stop_queue(std::uint16_t index) {
    if (control_ != nullptr && index == control_index()) {
        return std::exchange(control_, nullptr)->take();
    }
    const auto found = std::ranges::find(queues_, index, &virtio::RunningQueue::index);
    if (found == queues_.end()) {
        return std::nullopt;
    }
    if (back_end_ != nullptr) {
        back_end_->begin();
    }
    put_at(*found);
    virtio::RunningQueue queue = std::move(*found);
    queues_.erase(found);
    error_bells_.erase(index);
    return queue;
}

base::Result<void> FrontEndDevice::start_queue(virtio::RunningQueue queue) {
    const bool is_control = spec_.has_pair_control && queue.index == control_index();
    CUPULE_TRY(take(std::move(queue)));
    if (is_control || back_end_ == nullptr || given_up_) {
        return {};
    }
    back_end_->begin();
    const virtio::RunningQueue& kept = queues_.back();
    if (const auto started = start_ring(kept); !started) {
        lost(started.error());
        return {};
    }
    base::signal_eventfd(kept.kick_fd);
    return {};
}

// The control queue of a network card.

/// It stands behind the pairs that the driver knows of (Virtio 1.3, 5.1.2).
std::uint16_t FrontEndDevice::control_index() const {
    const bool all = (negotiated_ & device::net::feature::mq) != 0;
    return static_cast<std::uint16_t>(all ? back_end_queues() : 2);
}

std::uint64_t FrontEndDevice::back_end_features() const {
    const std::uint64_t now = events_ != nullptr ? negotiated_ & features_ : features_;
    return now & ~spec_.features_own;
}

std::size_t FrontEndDevice::back_end_queues() const {
    return spec_.queues.size() - (spec_.has_pair_control ? 1 : 0);
}

base::Result<void> FrontEndDevice::start_control(virtio::RunningQueue queue) {
    const auto pairs = static_cast<std::uint16_t>(control_index() / 2);
    CUPULE_TRY_ASSIGN(
        control_, PairControl::create(std::move(queue), pairs, powers_.loop, powers_.monitor,
                                      *events_, [this](std::uint16_t count) { set_pairs(count); }));
    return {};
}

void FrontEndDevice::set_pairs(std::uint16_t pairs) {
    enabled_queues_ = static_cast<std::uint16_t>(2 * pairs);
    if (back_end_ != nullptr) {
        back_end_->begin();
    }
    for (const virtio::RunningQueue& queue : queues_) {
        if (back_end_ == nullptr || given_up_) {
            return;  // the next back end hears it at its start
        }
        if (const auto told = back_end_->enable_ring(queue.index, enabled(queue.index)); !told) {
            lost(told.error());
        }
    }
}

void FrontEndDevice::reset() {
    inflight_.reset();
    negotiated_ = 0;
    given_up_ = false;
}

}  // namespace cupule::vhost_user
