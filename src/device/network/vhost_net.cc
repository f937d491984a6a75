#include "device/network/vhost_net.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "device/network/net_config.h"
#include "device/network/virtio_net_registers.h"
#include "virtio/vhost_ioctl.h"

namespace cupule::device {
namespace {

using namespace net;

base::Result<void> set_backend(virtio::VhostKernel& kernel, unsigned ring, int tap) {
    const vhost_vring_file backend{.index = ring, .fd = tap};
    if (ioctl(kernel.fd(), VHOST_NET_SET_BACKEND, &backend) < 0) {
        return base::fail_errno(errno, "vhost-net refuses queue {}", ring);
    }
    return {};
}

}  // namespace

VhostNet::VhostNet(const VhostNetSpec& spec, virtio::VhostKernel& kernel, backend::TapQueue& tap)
    : spec_(spec), mac_(pack(spec.mac)), kernel_(kernel), tap_(tap) {
    // The kernel's part is the rings and the merging of buffers; offloads are the tap's.
    features_ = (kernel_.features() & ~base::mask(24)) | (kernel_.features() & feature::mrg_rxbuf) |
                feature::mac | feature::status | offload_features(tap_.offloads()) |
                (spec_.mtu != 0 ? feature::mtu : 0);
}

std::span<const virtio::FeatureDependency> VhostNet::feature_dependencies() const {
    return dependencies();
}

std::uint64_t VhostNet::read_config(std::uint64_t offset, unsigned size) {
    return net::read({.mac = mac_, .mtu = spec_.mtu}, offset, size);
}

void VhostNet::write_config(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (begun_) {
        mac_ = write_mac(mac_, negotiated_, offset, size, value);
    }
}

base::Result<void> VhostNet::activate(std::uint64_t negotiated,
                                      std::vector<virtio::RunningQueue> queues,
                                      virtio::DeviceEvents& events) {
    negotiated_ = negotiated;
    begun_ = true;
    events_ = &events;
    // The kernel passes on what the tap has in front of its frames.
    CUPULE_TRY(tap_.set_header_bytes(header_bytes(negotiated)));
    tap_.set_receive_offloads(guest_offloads(negotiated));
    CUPULE_TRY(kernel_.set_features(negotiated));
    for (virtio::RunningQueue& queue : queues) {
        if (auto started = start(std::move(queue)); !started) {
            static_cast<void>(deactivate());
            return started;
        }
    }
    return {};
}

base::Result<void> VhostNet::start(virtio::RunningQueue queue) {
    CUPULE_TRY(kernel_.start_ring(queue.index, queue, *events_));
    queues_.push_back(std::move(queue));
    return set_backend(kernel_, queues_.back().index, tap_.fd());
}

void VhostNet::reset() {
    negotiated_ = 0;
    begun_ = false;
    mac_ = pack(spec_.mac);
}

std::vector<virtio::RunningQueue> VhostNet::deactivate() {
    for (virtio::RunningQueue& queue : queues_) {
        stop(queue);
    }
    return std::exchange(queues_, {});
}

/// Once the back end is gone the kernel touches the ring no more.
void VhostNet::stop(virtio::RunningQueue& queue) {
    if (const auto result = set_backend(kernel_, queue.index, VHOST_FILE_UNBIND); !result) {
        base::log_error("{}", result.error().message);
    }
    kernel_.stop_ring(queue.index, queue);
}

// RING_RESET is not offered; drivers of the legacy interface take queues back one by one.

std::optional<virtio::RunningQueue> VhostNet::stop_queue(std::uint16_t index) {
    const auto found = std::ranges::find(queues_, index, &virtio::RunningQueue::index);
    if (found == queues_.end()) {
        return std::nullopt;
    }
    stop(*found);
    virtio::RunningQueue queue = std::move(*found);
    queues_.erase(found);
    return queue;
}

base::Result<void> VhostNet::start_queue(virtio::RunningQueue queue) {
    const std::uint16_t index = queue.index;
    auto started = start(std::move(queue));
    if (!started) {
        static_cast<void>(stop_queue(index));
    }
    return started;
}

}  // namespace cupule::device
