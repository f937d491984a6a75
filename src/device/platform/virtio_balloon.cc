#include "device/platform/virtio_balloon.h"

#include <algorithm>
#include <utility>

#include "base/bits.h"
#include "virtio/features.h"

namespace cupule::device {
namespace {

namespace feature {
constexpr std::uint64_t stats_vq = base::bit(1);        // VIRTIO_BALLOON_F_STATS_VQ
constexpr std::uint64_t deflate_on_oom = base::bit(2);  // VIRTIO_BALLOON_F_DEFLATE_ON_OOM
constexpr std::uint64_t page_reporting = base::bit(5);  // VIRTIO_BALLOON_F_PAGE_REPORTING
}  // namespace feature

/// struct virtio_balloon_config (5.5.4): num_pages, actual.
namespace config {
constexpr std::uint64_t actual = 4;
constexpr std::uint64_t bytes = 8;
}  // namespace config

constexpr std::uint16_t statistics_queue = 2;
constexpr std::uint64_t page_bytes = 4096;  // the balloon's, whatever pages the guest has

}  // namespace

VirtioBalloon::VirtioBalloon(const VirtioBalloonSpec& spec, const memory::GuestMemory& memory,
                             event::Worker& worker)
    : spec_(spec), memory_(memory), target_pages_(spec.target_pages) {
    for (std::size_t i = 0; i < queue_count; ++i) {
        Service& service = i == 0 ? inflating_ : i == 1 ? deflating_ : reporting_;
        servers_[i] = std::make_unique<virtio::QueueServer>(worker, service);
    }
    if (spec_.statistics_period_ns != 0) {
        statistics_ = std::make_unique<BalloonStatistics>(worker, spec_.statistics_period_ns);
    }
}

std::uint64_t VirtioBalloon::features() const {
    return virtio::feature::ring_engine | (spec_.deflate_on_oom ? feature::deflate_on_oom : 0) |
           (spec_.free_page_reporting ? feature::page_reporting : 0) |
           (statistics_ ? feature::stats_vq : 0);
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

/// The queue behind the first two, where it was negotiated (5.5.2).
bool VirtioBalloon::is_statistics(std::uint16_t index) const {
    return statistics_negotiated_ && index == statistics_queue;
}

base::Result<void> VirtioBalloon::start_queue(virtio::RunningQueue queue) {
    const std::uint16_t index = queue.index;
    return is_statistics(index) ? statistics_->start(std::move(queue), *events_)
                                : servers_[index]->start(std::move(queue), *events_);
}

base::Result<void> VirtioBalloon::activate(std::uint64_t negotiated,
                                           std::vector<virtio::RunningQueue> queues,
                                           virtio::DeviceEvents& events) {
    events_ = &events;
    statistics_negotiated_ = (negotiated & feature::stats_vq) != 0;
    for (virtio::RunningQueue& queue : queues) {
        if (auto result = start_queue(std::move(queue)); !result) {
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
    if (auto queue = statistics_ ? statistics_->stop() : std::nullopt) {
        back.push_back(std::move(*queue));
    }
    events_ = nullptr;
    return back;
}

std::vector<virtio::QueueReport> VirtioBalloon::report() const {
    std::vector<virtio::QueueReport> reports;
    const auto add = [&reports](const virtio::QueueReport& report) {
        if (report.requests != 0) {
            reports.push_back(report);
        }
    };
    for (std::uint16_t index = 0; index < queue_count; ++index) {
        add(servers_[index]->report(index));
        // One driver may report pages where another one's figures were.
        if (index == statistics_queue && statistics_) {
            add(statistics_->report(index));
        }
    }
    return reports;
}

std::optional<virtio::RunningQueue> VirtioBalloon::stop_queue(std::uint16_t index) {
    return is_statistics(index) ? statistics_->stop() : servers_[index]->stop();
}

void VirtioBalloon::reset() {
    state_ = {};
    if (statistics_) {
        statistics_->forget();
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
    if (memory_.keeps_pages() && !std::exchange(kept_told_, true)) {
        base::log_notice(
            "virtio-balloon: the host keeps all memory of the guest for devices that are passed "
            "through, or for ACRN: what the guest gives up is not free there");
    }
    const auto result = memory_.discard(part);
    if (!result && !std::exchange(failure_told_, true)) {
        base::log_error("virtio-balloon: {}", result.error().message);
    }
}

}  // namespace cupule::device
