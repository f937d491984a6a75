#include "vhost_user/back_end.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "virtio/features.h"
#include "virtio/ring_layout.h"

namespace cupule::vhost_user {
namespace {

constexpr unsigned send_timeout_ms = 1000;
/// Ring features that need more than this back end does.
constexpr std::uint64_t never_offered =
    virtio::feature::access_platform | virtio::feature::notification_data;

}  // namespace

base::Result<std::unique_ptr<BackEnd>> BackEnd::create(const BackEndPowers& powers,
                                                       base::FileDescriptor socket,
                                                       event::Callback ended) {
    std::unique_ptr<BackEnd> back_end(new BackEnd(powers, std::move(socket), std::move(ended)));
    CUPULE_TRY(back_end->watch());
    return back_end;
}

BackEnd::BackEnd(const BackEndPowers& powers, base::FileDescriptor socket, event::Callback ended)
    : powers_(powers),
      connection_(std::move(socket)),
      ended_(std::move(ended)),
      broken_ring_(powers_.device.id().name, "queue broken until the driver resets the device") {
    CUPULE_ASSERT(powers_.queues <= powers_.device.queues().size());
    for (std::uint16_t index = 0; index < powers_.queues; ++index) {
        rings_.push_back(std::make_unique<Ring>());
    }
}

BackEnd::~BackEnd() {
    watch_.reset();
    news_watch_.reset();
    reset_device();
}

base::Result<void> BackEnd::watch() {
    CUPULE_TRY_ASSIGN(news_, base::make_eventfd());
    CUPULE_TRY_ASSIGN(news_watch_, powers_.loop.watch(news_.get(), EPOLLIN, powers_.monitor,
                                                      [this](std::uint32_t) { hear_news(); }));
    CUPULE_TRY_ASSIGN(watch_, powers_.loop.watch(connection_.fd(), EPOLLIN, powers_.monitor,
                                                 [this](std::uint32_t) { readable(); }));
    return {};
}

/// One message for each turn of the loop, so that a front end that talks without end keeps nobody
/// else waiting.
void BackEnd::readable() {
    auto message = connection_.receive();
    if (!message) {
        end(message.error(), base::LogLevel::info);
        return;
    }
    if (!*message) {
        return;
    }
    if (const auto handled = handle(std::move(**message)); !handled) {
        end(handled.error(), base::LogLevel::warning);
    }
}

void BackEnd::end(const base::Error& error, base::LogLevel level) {
    base::log(level, "vhost-user: the connection of a front end to {} ends: {}",
              powers_.device.id().name, error.message);
    watch_->set_events(0);
    stop_device();
    ended_();
}

std::uint64_t BackEnd::offered() const {
    return (powers_.device.features() & ~never_offered & ~powers_.hidden_features) |
           has_protocol_features;
}

bool BackEnd::packed() const {
    return (features_ & virtio::feature::ring_packed) != 0;
}

std::uint16_t BackEnd::index_of(const Ring& ring) const {
    const auto found = std::ranges::find_if(
        rings_, [&ring](const std::unique_ptr<Ring>& each) { return each.get() == &ring; });
    return static_cast<std::uint16_t>(found - rings_.begin());
}

base::Result<void> BackEnd::start_if_ready(Ring& ring) {
    const bool ready = ring.enabled && ring.kick && ring.address && ring.size != 0 && table_ &&
                       features_set_ && !ring.running;
    if (!ready) {
        return {};
    }
    CUPULE_TRY_ASSIGN(auto queue, make_queue(ring));
    const int kick = ring.kick.get();
    const int call = ring.call.get();
    ring.running = true;
    if (active_) {
        if (const auto started = powers_.device.start_queue(std::move(queue)); !started) {
            base::log_error("vhost-user: {} queue {} cannot run: {}", powers_.device.id().name,
                            index_of(ring), started.error().message);
        }
    } else {
        std::vector<virtio::RunningQueue> queues;
        queues.push_back(std::move(queue));
        if (const auto started = powers_.device.activate(features_ & ~has_protocol_features,
                                                         std::move(queues), *this);
            !started) {
            ring.running = false;
            return started;
        }
        active_ = true;
    }
    // What the driver said before nobody has heard, and what an earlier process handed back it may
    // not have been told of.
    base::signal_eventfd(kick);
    base::signal_eventfd(call);
    return {};
}

base::Result<virtio::RunningQueue> BackEnd::make_queue(Ring& ring) {
    const std::uint16_t index = index_of(ring);
    virtio::QueueConfig config(powers_.device.queues()[index]);
    if (!config.set_size(ring.size)) {
        return base::fail("queue {} of {} descriptors: {} are the most", index, ring.size,
                          powers_.device.queues()[index].size_max);
    }
    const std::pair<virtio::QueueArea, std::uint64_t> areas[] = {
        {virtio::QueueArea::descriptors, ring.address->descriptors},
        {virtio::QueueArea::driver, ring.address->available},
        {virtio::QueueArea::device, ring.address->used}};
    for (const auto& [area, user_address] : areas) {
        const auto address = table_->guest_address(user_address);
        if (!address || !config.set_area(area, *address)) {
            return base::fail("queue {} at {:#x} is not in the RAM that was shared", index,
                              user_address);
        }
    }
    std::vector<std::uint16_t> again;
    std::vector<virtio::PackedRing::Descriptors> packed_again;
    if (packed()) {
        packed_again = keep_packed_log(ring, config);
    } else {
        CUPULE_TRY(keep_log(ring, config, again));
    }
    if (!ring.call) {
        CUPULE_TRY_ASSIGN(ring.call, base::make_eventfd());
    }
    auto queue = std::move(config).activate(table_->memory(), features_ & ~has_protocol_features);
    if (!queue) {
        return base::fail("queue {}: {}", index, to_text(queue.error()));
    }
    if (ring.log) {
        queue->keep_log(*ring.log, std::move(again));
    } else if (ring.packed_log) {
        queue->keep_log(*ring.packed_log, std::move(packed_again));
    }
    return virtio::RunningQueue{.index = index,
                                .queue = std::move(*queue),
                                .kick_fd = ring.kick.get(),
                                .call_fd = ring.call.get()};
}

/// Where the queue goes on, and what an earlier process left unfinished.
base::Result<void> BackEnd::keep_log(Ring& ring, virtio::QueueConfig& config,
                                     std::vector<std::uint16_t>& again) {
    ring.log.reset();
    ring.packed_log.reset();
    const auto used = table_->memory().load<std::uint16_t>(config.area(virtio::QueueArea::device) +
                                                           virtio::used_ring::index);
    if (!used) {
        return base::fail("queue {}: its used ring is not in RAM", index_of(ring));
    }
    ring.position.next_used = *used;
    if (inflight_) {
        ring.log = inflight_->log_of(index_of(ring), ring.size);
        if (!ring.log) {
            return base::fail("queue {} of {} has no place in the inflight area", index_of(ring),
                              ring.size);
        }
        again = ring.log->recover(*used);
        // All that was taken is either used or in the record (protocol, "When reconnecting").
        if (!std::exchange(ring.recovered, true)) {
            ring.position.next_available = static_cast<std::uint16_t>(*used + again.size());
        }
    }
    config.set_position(ring.position);
    return {};
}

/// The same of a packed ring. An area without room for one was made before the front end said that
/// it has one: there is no record then.
std::vector<virtio::PackedRing::Descriptors> BackEnd::keep_packed_log(Ring& ring,
                                                                      virtio::QueueConfig& config) {
    ring.log.reset();
    ring.packed_log = inflight_ ? inflight_->packed_log_of(index_of(ring), ring.size) : nullptr;
    PackedInflight::Recovered recovered{.position = ring.position};
    if (ring.packed_log) {
        const memory::GuestAddress area = config.area(virtio::QueueArea::descriptors);
        const auto flags = [this, area](std::uint16_t index) {
            const std::uint64_t at = index * std::uint64_t{virtio::descriptor_size} +
                                     offsetof(virtio::PackedDescriptor, flags);
            return table_->memory().load<std::uint16_t>(area + at).value_or(0);
        };
        recovered = std::exchange(ring.recovered, true)
                        ? ring.packed_log->begin(ring.position)
                        : ring.packed_log->recover(ring.position, flags);
    }
    ring.position = recovered.position;
    config.set_position(ring.position);
    return std::move(recovered.again);
}

void BackEnd::put_back(virtio::RunningQueue queue) {
    Ring& ring = *rings_[queue.index];
    ring.position = queue.queue.position();
    ring.running = false;
}

void BackEnd::stop_ring(Ring& ring) {
    if (!ring.running) {
        return;
    }
    if (auto queue = powers_.device.stop_queue(index_of(ring))) {
        put_back(std::move(*queue));
    }
    ring.running = false;
    ring.fault = virtio::QueueFault::none;
}

/// Rings keep all they have been told, and can start again.
void BackEnd::stop_device() {
    if (!std::exchange(active_, false)) {
        return;
    }
    for (virtio::RunningQueue& queue : powers_.device.deactivate()) {
        put_back(std::move(queue));
    }
    for (const auto& ring : rings_) {
        ring->running = false;
        ring->fault = virtio::QueueFault::none;
    }
}

void BackEnd::reset_device() {
    stop_device();
    powers_.device.reset();
    config_news_ = false;
}

base::Result<void> BackEnd::start_rings() {
    for (const auto& ring : rings_) {
        CUPULE_TRY(start_if_ready(*ring));
    }
    return {};
}

// News from workers.

void BackEnd::config_changed() {
    config_news_ = true;
    base::signal_eventfd(news_.get());
}

void BackEnd::queue_broken(std::uint16_t index, virtio::QueueFault fault) {
    rings_[index]->fault = fault;
    base::signal_eventfd(news_.get());
}

void BackEnd::hear_news() {
    base::drain_eventfd(news_.get());
    for (const auto& ring : rings_) {
        const virtio::QueueFault fault = ring->fault.exchange(virtio::QueueFault::none);
        if (fault != virtio::QueueFault::none) {
            if (broken_ring_.count() == 0) {
                base::log_warning("vhost-user: {} queue {}: {}", powers_.device.id().name,
                                  index_of(*ring), to_text(fault));
            }
            broken_ring_.report(index_of(*ring));
            base::signal_eventfd(ring->error.get());
        }
    }
    if (config_news_.exchange(false)) {
        tell_config_change();
    }
}

void BackEnd::tell_config_change() {
    if (!back_channel_) {
        return;
    }
    const Message message{.request = static_cast<std::uint32_t>(BackEndRequest::config_change)};
    if (const auto sent = back_channel_->send(message, send_timeout_ms); !sent) {
        back_channel_.reset();  // the front end will know when it asks
    }
}

}  // namespace cupule::vhost_user
