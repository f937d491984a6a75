#include "device/platform/virtio_rnd.h"

#include <algorithm>
#include <utility>

namespace cupule::device {

std::uint64_t EntropyBudget::delay_ns(std::uint64_t now_ns) {
    if (now_ns >= window_end_ns_) {
        window_end_ns_ = now_ns + window_ns;
        left_ = window_bytes;
    }
    return left_ != 0 ? 0 : window_end_ns_ - now_ns;
}

std::uint64_t EntropyBudget::take(std::uint64_t wanted) {
    const std::uint64_t granted = std::min(wanted, left_);
    left_ -= granted;
    return granted;
}

base::Result<void> VirtioRnd::activate(std::uint64_t /*negotiated*/,
                                       std::vector<virtio::RunningQueue> queues,
                                       virtio::DeviceEvents& events) {
    events_ = &events;
    for (virtio::RunningQueue& queue : queues) {
        CUPULE_TRY(server_.start(std::move(queue), events));
    }
    return {};
}

std::vector<virtio::RunningQueue> VirtioRnd::deactivate() {
    std::vector<virtio::RunningQueue> back;
    if (auto queue = server_.stop()) {
        back.push_back(std::move(*queue));
    }
    return back;
}

std::optional<virtio::RunningQueue> VirtioRnd::stop_queue(std::uint16_t /*index*/) {
    return server_.stop();
}

base::Result<void> VirtioRnd::start_queue(virtio::RunningQueue queue) {
    return server_.start(std::move(queue), *events_);
}

std::uint32_t VirtioRnd::serve(const virtio::Chain& chain) {
    const std::uint64_t room = std::min(chain.writable_bytes(), request_bytes_max);
    std::array<std::byte, request_bytes_max> bytes;
    const auto filled = std::span(bytes).first(budget_.take(room));
    if (const auto result = source_.fill(filled); !result) {
        if (!std::exchange(failure_told_, true)) {
            base::log_error("virtio-rnd: {}", result.error().message);
        }
        return 0;
    }
    virtio::ChainWriter writer(chain);
    writer.write(filled);
    return writer.written();
}

}  // namespace cupule::device
