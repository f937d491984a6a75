#include "device/network/vhost_net.h"

#include <sys/ioctl.h>

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
    : spec_(spec), kernel_(kernel), tap_(tap) {
    // The kernel's part is the rings and the merging of buffers; offloads are the tap's.
    features_ = (kernel_.features() & ~base::mask(24)) | (kernel_.features() & feature::mrg_rxbuf) |
                feature::mac | feature::status | offload_features(tap_.offloads()) |
                (spec_.mtu != 0 ? feature::mtu : 0);
}

std::span<const virtio::FeatureDependency> VhostNet::feature_dependencies() const {
    return dependencies();
}

std::uint64_t VhostNet::read_config(std::uint64_t offset, unsigned size) {
    return net::read({.mac = pack(spec_.mac), .mtu = spec_.mtu}, offset, size);
}

void VhostNet::write_config(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t /*value*/) {
    // All of it is read-only for a driver with VERSION_1 (5.1.4.2).
}

base::Result<void> VhostNet::activate(std::uint64_t negotiated,
                                      std::vector<virtio::RunningQueue> queues,
                                      virtio::DeviceEvents& /*events*/) {
    tap_.set_receive_offloads(guest_offloads(negotiated));
    CUPULE_TRY(kernel_.set_features(negotiated));
    for (const virtio::RunningQueue& queue : queues) {
        CUPULE_TRY(kernel_.start_ring(queue.index, queue));
    }
    queues_ = std::move(queues);
    for (const virtio::RunningQueue& queue : queues_) {
        if (auto result = set_backend(kernel_, queue.index, tap_.fd()); !result) {
            static_cast<void>(deactivate());
            return result;
        }
    }
    return {};
}

std::vector<virtio::RunningQueue> VhostNet::deactivate() {
    for (virtio::RunningQueue& queue : queues_) {
        if (const auto result = set_backend(kernel_, queue.index, VHOST_FILE_UNBIND); !result) {
            base::log_error("{}", result.error().message);
        }
        kernel_.stop_ring(queue.index, queue);
    }
    return std::exchange(queues_, {});
}

std::optional<virtio::RunningQueue> VhostNet::stop_queue(std::uint16_t /*index*/) {
    return std::nullopt;  // RING_RESET is not offered
}

void VhostNet::start_queue(virtio::RunningQueue /*queue*/) {}

}  // namespace cupule::device
