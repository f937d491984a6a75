#include "device/network/vhost_vsock.h"

#include <sys/ioctl.h>

#include <cerrno>
#include <utility>

#include "base/bits.h"
#include "base/log.h"
#include "virtio/vhost_ioctl.h"

namespace cupule::device {
namespace {

/// Queues that the kernel serves (5.10.2): rx and tx.
constexpr std::uint16_t kernel_queues = 2;

base::Result<void> set_running(virtio::VhostKernel& kernel, int running) {
    if (ioctl(kernel.fd(), VHOST_VSOCK_SET_RUNNING, &running) < 0) {
        return base::fail_errno(errno, "vhost-vsock does not {}", running != 0 ? "start" : "stop");
    }
    return {};
}

}  // namespace

base::Result<void> set_guest_cid(virtio::VhostKernel& kernel, std::uint32_t cid) {
    const std::uint64_t wide = cid;
    if (ioctl(kernel.fd(), VHOST_VSOCK_SET_GUEST_CID, &wide) < 0) {
        return base::fail_errno(errno, "cid={} cannot be had", cid);
    }
    return {};
}

std::uint64_t VhostVsock::read_config(std::uint64_t offset, unsigned size) {
    return base::read_lane(std::uint64_t{guest_cid_}, offset, size);  // guest_cid (5.10.4)
}

void VhostVsock::write_config(std::uint64_t /*offset*/, unsigned /*size*/,
                              std::uint64_t /*value*/) {
    // guest_cid is read-only.
}

base::Result<void> VhostVsock::activate(std::uint64_t negotiated,
                                        std::vector<virtio::RunningQueue> queues,
                                        virtio::DeviceEvents& events) {
    CUPULE_TRY(kernel_.set_features(negotiated));
    base::Result<void> started;
    for (virtio::RunningQueue& queue : queues) {
        if (started && queue.index < kernel_queues) {
            started = kernel_.start_ring(queue.index, queue, events);
        }
        if (started) {
            queues_.push_back(std::move(queue));
        }
    }
    if (started) {
        started = set_running(kernel_, 1);
    }
    if (!started) {
        static_cast<void>(deactivate());
    }
    return started;
}

std::vector<virtio::RunningQueue> VhostVsock::deactivate() {
    if (queues_.empty()) {
        return {};
    }
    if (const auto stopped = set_running(kernel_, 0); !stopped) {
        base::log_error("{}", stopped.error().message);
    }
    for (virtio::RunningQueue& queue : queues_) {
        if (queue.index < kernel_queues) {
            kernel_.stop_ring(queue.index, queue);
        }
    }
    return std::exchange(queues_, {});
}

std::optional<virtio::RunningQueue> VhostVsock::stop_queue(std::uint16_t /*index*/) {
    return std::nullopt;  // RING_RESET is not offered, and there is no legacy interface
}

base::Result<void> VhostVsock::start_queue(virtio::RunningQueue /*queue*/) {
    return {};
}

}  // namespace cupule::device
