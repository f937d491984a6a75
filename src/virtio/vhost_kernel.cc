#include "virtio/vhost_kernel.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "base/bits.h"
#include "base/log.h"
#include "virtio/features.h"
#include "virtio/queue_position.h"
#include "virtio/ring_layout.h"
#include "virtio/vhost_ioctl.h"

namespace cupule::virtio {
namespace {

/// Of the rings' features those that this layer passes on; the kernel means other things by some.
constexpr std::uint64_t ring_features =
    feature::indirect_desc | feature::event_idx | feature::version_1;
/// Bits that belong to device types (Virtio 1.3, 2.2).
constexpr std::uint64_t type_features = base::mask(24) | ~base::mask(50);

}  // namespace

base::Result<std::unique_ptr<VhostKernel>> VhostKernel::open(const std::string& path,
                                                             const VhostPowers& powers) {
    auto file = base::open_file(path, O_RDWR);
    if (!file) {
        return base::fail("{}; is the module there? (modprobe vhost_net vhost_vsock)",
                          file.error().message);
    }
    std::unique_ptr<VhostKernel> kernel(new VhostKernel(std::move(*file), powers));
    if (auto result = kernel->set_up(); !result) {
        return std::unexpected(result.error().in(path));
    }
    return kernel;
}

base::Result<void> VhostKernel::set_up() {
    if (ioctl(fd(), VHOST_SET_OWNER) < 0) {
        return base::fail_errno(errno, "cannot start the kernel's thread");
    }
    if (ioctl(fd(), VHOST_GET_FEATURES, &features_) < 0) {
        return base::fail_errno(errno, "cannot read its features");
    }
    features_ &= ring_features | type_features;
    const auto regions = powers_.memory.regions();
    // struct vhost_memory: a count, padding, and the regions; its flexible array is no C++.
    constexpr std::size_t region_words = sizeof(vhost_memory_region) / sizeof(std::uint64_t);
    std::vector<std::uint64_t> table(1 + regions.size() * region_words);
    table.front() = regions.size();
    std::uint64_t* place = &table.front() + 1;
    for (const memory::RamRegion& region : regions) {
        const vhost_memory_region entry{
            .guest_phys_addr = region.base.value,
            .memory_size = region.size,
            .userspace_addr = reinterpret_cast<std::uintptr_t>(region.host),
            .flags_padding = 0};
        std::memcpy(place, &entry, sizeof entry);
        place += region_words;
    }
    if (ioctl(fd(), VHOST_SET_MEM_TABLE, table.data()) < 0) {
        return base::fail_errno(errno, "cannot show it the guest's memory");
    }
    return {};
}

base::Result<void> VhostKernel::set_features(std::uint64_t negotiated) {
    negotiated_ = negotiated;
    const std::uint64_t part = negotiated & features_;
    if (ioctl(fd(), VHOST_SET_FEATURES, &part) < 0) {
        return base::fail_errno(errno, "vhost refuses the features {:#x}", part);
    }
    return {};
}

void* VhostKernel::host_address(memory::GuestAddress address, std::uint64_t bytes) const {
    return powers_.memory.span(address, bytes).data();
}

base::Result<void> VhostKernel::start_ring(unsigned ring, const RunningQueue& queue,
                                           DeviceEvents& events) {
    CUPULE_TRY_ASSIGN(auto bell,
                      ErrorBell::create(queue.index, events, powers_.loop, powers_.monitor));
    const QueueGeometry& at = queue.queue.geometry();
    const auto address = [this](memory::GuestAddress area, std::uint64_t bytes) {
        return reinterpret_cast<std::uintptr_t>(host_address(area, bytes));
    };
    const vhost_vring_state size{.index = ring, .num = at.size};
    const vhost_vring_state base{.index = ring, .num = queue.queue.position().next_available};
    const vhost_vring_addr areas{
        .index = ring,
        .flags = 0,
        .desc_user_addr = address(at.descriptor_area, std::uint64_t{descriptor_size} * at.size),
        .used_user_addr = address(at.device_area, used_ring::bytes(at.size)),
        .avail_user_addr = address(at.driver_area, available_ring::bytes(at.size)),
        .log_guest_addr = 0};
    const vhost_vring_file kick{.index = ring, .fd = queue.kick_fd};
    const vhost_vring_file call{.index = ring, .fd = queue.call_fd};
    const vhost_vring_file error{.index = ring, .fd = bell->fd()};
    if (queue.queue.packed() || ioctl(fd(), VHOST_SET_VRING_NUM, &size) < 0 ||
        ioctl(fd(), VHOST_SET_VRING_BASE, &base) < 0 ||
        ioctl(fd(), VHOST_SET_VRING_ADDR, &areas) < 0 ||
        ioctl(fd(), VHOST_SET_VRING_ERR, &error) < 0 ||
        ioctl(fd(), VHOST_SET_VRING_KICK, &kick) < 0 ||
        ioctl(fd(), VHOST_SET_VRING_CALL, &call) < 0) {
        return base::fail_errno(errno, "vhost refuses queue {}", queue.index);
    }
    error_bells_[ring] = std::move(bell);
    return {};
}

void VhostKernel::stop_ring(unsigned ring, RunningQueue& queue) {
    const vhost_vring_file none{.index = ring, .fd = VHOST_FILE_UNBIND};
    vhost_vring_state state{.index = ring, .num = 0};
    if (ioctl(fd(), VHOST_SET_VRING_KICK, &none) < 0 ||
        ioctl(fd(), VHOST_GET_VRING_BASE, &state) < 0 ||
        ioctl(fd(), VHOST_SET_VRING_CALL, &none) < 0 ||
        ioctl(fd(), VHOST_SET_VRING_ERR, &none) < 0) {
        base::log_error("vhost: queue {} does not stop: {}", queue.index, base::errno_text(errno));
    }
    error_bells_.erase(ring);
    // A queue that goes on where the kernel stopped, with what it has used.
    move_to(queue, powers_.memory, negotiated_,
            {.next_available = static_cast<std::uint16_t>(state.num),
             .next_used = split_indices(queue.queue, powers_.memory).used});
}

}  // namespace cupule::virtio
