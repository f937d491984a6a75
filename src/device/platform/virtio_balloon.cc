#include "device/platform/virtio_balloon.h"

#include <algorithm>
#include <utility>

#include "base/bits.h"
#include "virtio/features.h"

namespace cupule::device {
namespace {

namespace feature {
constexpr std::uint64_t deflate_on_oom = base::bit(2);  // VIRTIO_BALLOON_F_DEFLATE_ON_OOM
constexpr std::uint64_t page_reporting = base::bit(5);  // VIRTIO_BALLOON_F_PAGE_REPORTING
}  // namespace feature

/// struct virtio_balloon_config (5.5.4): num_pages, actual.
namespace config {
constexpr std::uint64_t actual = 4;
constexpr std::uint64_t bytes = 8;
}  // namespace config

constexpr std::uint64_t page_bytes = 4096;  // the balloon's, whatever pages the guest has

}  // namespace

VirtioBalloon::VirtioBalloon(const VirtioBalloonSpec& spec, const memory::GuestMemory& memory,
                             event::Worker& worker)
    : spec_(spec), memory_(memory), target_pages_(spec.target_pages) {
    for (std::size_t i = 0; i < queue_count; ++i) {
        Service& service = i == 0 ? inflating_ : i == 1 ? deflating_ : reporting_;
        servers_[i] = std::make_unique<virtio::QueueServer>(worker, service);
    }
}

std::uint64_t VirtioBalloon::features() const {
    return virtio::feature::ring_engine | (spec_.deflate_on_oom ? feature::deflate_on_oom : 0) |
           (spec_.free_page_reporting ? feature::page_reporting : 0);
}

std::uint64_t VirtioBalloon::read_config(std::uint64_t offset, unsigned size) {
    if (offset >= config::bytes) {
        return 0;
    }
    const std::uint64_t both = target_pages_ | std::uint64_t{state_.actual_pages} << 32;
    return base::read_lane(both, offset, size);
}

void VirtioBalloon::write_config(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (offset == config::actual && size == 4) {
        state_.actual_pages = static_cast<std::uint32_t>(value);
    }
}

base::Result<void> VirtioBalloon::activate(std::uint64_t /*negotiated*/,
                                           std::vector<virtio::RunningQueue> queues,
                                           virtio::DeviceEvents& events) {
    events_ = &events;
    for (virtio::RunningQueue& queue : queues) {
        const std::uint16_t index = queue.index;
        if (auto result = servers_[index]->start(std::move(queue), events); !result) {
            static_cast<void>(deactivate());
            return result;
        }
    }
    return {};
}

std::vector<virtio::RunningQueue> VirtioBalloon::deactivate() {
    std::vector<virtio::RunningQueue> back;
    for (const auto& server : servers_) {
        if (auto queue = server->stop()) {
            back.push_back(std::move(*queue));
        }
    }
    events_ = nullptr;
    return back;
}

std::optional<virtio::RunningQueue> VirtioBalloon::stop_queue(std::uint16_t index) {
    return servers_[index]->stop();
}

void VirtioBalloon::start_queue(virtio::RunningQueue queue) {
    const std::uint16_t index = queue.index;
    if (const auto result = servers_[index]->start(std::move(queue), *events_); !result) {
        base::log_error("virtio-balloon: the queue cannot run: {}", result.error().message);
    }
}

void VirtioBalloon::visit(snapshot::Visitor& visitor) {
    visitor.field("actual_pages", state_.actual_pages);
}

void VirtioBalloon::set_target(std::uint32_t pages) {
    target_pages_ = pages;
    if (events_ != nullptr) {
        events_->config_changed();
    }
}

// Requests: on the worker.

void VirtioBalloon::inflate(const virtio::Chain& chain) {
    virtio::ChainReader reader(chain);
    std::span<std::byte> run;  // pages in a row are given back together
    for (std::size_t i = 0; i < pages_max; ++i) {
        const auto number = reader.value<std::uint32_t>();
        if (!number) {
            break;
        }
        const auto page = memory_.span({*number * page_bytes}, page_bytes);
        if (page.empty()) {
            bad_page_.report(*number);
            continue;
        }
        if (!run.empty() && run.data() + run.size() == page.data()) {
            run = {run.data(), run.size() + page.size()};
            continue;
        }
        discard(run);
        run = page;
    }
    discard(run);
}

void VirtioBalloon::deflate(const virtio::Chain& /*chain*/) {
    // The host gives a page again when the guest touches it.
}

void VirtioBalloon::take_reported(const virtio::Chain& chain) {
    for (const iovec& range : chain.writable()) {
        discard({static_cast<std::byte*>(range.iov_base), range.iov_len});
    }
}

void VirtioBalloon::discard(std::span<std::byte> part) {
    const auto result = memory_.discard(part);
    if (!result && !std::exchange(failure_told_, true)) {
        base::log_error("virtio-balloon: {}", result.error().message);
    }
}

}  // namespace cupule::device
