#include "device/platform/balloon_statistics.h"

#include <fmt/core.h>

#include <utility>

namespace cupule::device {
namespace {

/// struct virtio_balloon_stat (5.5.6.4).
struct __attribute__((packed)) Figure {
    std::uint16_t tag = 0;
    std::uint64_t value = 0;
};
static_assert(sizeof(Figure) == 10);

/// Figures of one buffer that are looked at; drivers send ten.
constexpr unsigned figures_max = 64;
constexpr std::uint64_t mib = 1 << 20;

/// By tag, VIRTIO_BALLOON_S_SWAP_IN to VIRTIO_BALLOON_S_HTLB_PGFAIL.
struct Name {
    const char* text;
    bool bytes;
};
constexpr std::array names{Name{"swapped in", true},    Name{"swapped out", true},
                           Name{"major faults", false}, Name{"minor faults", false},
                           Name{"free", true},          Name{"total", true},
                           Name{"available", true},     Name{"caches", true},
                           Name{"huge pages", false},   Name{"huge pages missed", false}};
/// What people look for first.
constexpr std::array<std::uint8_t, names.size()> order{5, 6, 4, 7, 0, 1, 2, 3, 8, 9};

}  // namespace

BalloonStatistics::~BalloonStatistics() {
    static_cast<void>(stop());
}

base::Result<void> BalloonStatistics::start(virtio::RunningQueue queue,
                                            virtio::DeviceEvents& events) {
    return worker_.call([&]() -> base::Result<void> {
        CUPULE_TRY_ASSIGN(queue_,
                          virtio::WorkerQueue::create(
                              worker_, std::move(queue), events, [this] { kicked(); }, &meter_));
        timer_ = worker_.loop().make_timer(worker_.monitor(), [this] { give_back(); });
        queue_->again();
        return {};
    });
}

std::optional<virtio::RunningQueue> BalloonStatistics::stop() {
    return worker_.call([this]() -> std::optional<virtio::RunningQueue> {
        if (!queue_) {
            return std::nullopt;
        }
        timer_.reset();
        give_back();
        return std::exchange(queue_, nullptr)->take();
    });
}

void BalloonStatistics::forget() {
    known_ = 0;
}

void BalloonStatistics::kicked() {
    virtio::Queue& queue = queue_->queue();
    // A second buffer would be against the rules (5.5.6.4.2): it waits for the first one's return.
    if (!held_) {
        held_ = queue.pop();
        if (held_) {
            meter_.request(held_.readable_bytes(), false);
            read(held_);
            timer_->start_at(worker_.loop().clock().now_ns() + period_ns_);
        } else if (!queue.broken() && queue.enable_notifications()) {
            queue_->again();
        }
    }
    queue_->publish();
}

void BalloonStatistics::give_back() {
    if (held_) {
        queue_->queue().push_used(std::move(held_), 0);
        queue_->publish();
        queue_->again();
    }
}

void BalloonStatistics::read(const virtio::Chain& chain) {
    virtio::ChainReader reader(chain);
    std::uint32_t known = 0;
    for (unsigned i = 0; i < figures_max; ++i) {
        const auto figure = reader.value<Figure>();
        if (!figure) {
            break;
        }
        const std::uint16_t tag = figure->tag;
        if (tag < tags) {
            figures_.at(tag).store(figure->value, std::memory_order_relaxed);
            known |= 1U << tag;
        }
    }
    known_.store(known, std::memory_order_release);
}

std::string BalloonStatistics::to_text() const {
    static_assert(names.size() == tags);
    const std::uint32_t known = known_.load(std::memory_order_acquire);
    std::string text;
    for (const std::uint8_t tag : order) {
        if ((known >> tag & 1) == 0) {
            continue;
        }
        const std::uint64_t value = figures_.at(tag).load(std::memory_order_relaxed);
        const Name& name = names.at(tag);
        text += text.empty() ? "the guest's memory: " : ", ";
        text += name.bytes ? fmt::format("{} {} MiB", name.text, value / mib)
                           : fmt::format("{} {}", name.text, value);
    }
    return text;
}

}  // namespace cupule::device
