#include "passthrough/bus_reset.h"

#include <linux/vfio.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace cupule::passthrough {

base::Result<BusReset> read_bus_reset(VfioKernel& kernel, int device) {
    constexpr std::size_t head = sizeof(vfio_pci_hot_reset_info);
    constexpr std::size_t each = sizeof(vfio_pci_dependent_device);
    std::vector<std::byte> buffer(head);
    // Ends in an array without a length, which C++ does not initialize.
    vfio_pci_hot_reset_info info;
    // The first call tells how many there are; functions may come while we ask.
    for (unsigned attempt = 0;; ++attempt) {
        std::memset(&info, 0, head);
        info.argsz = static_cast<std::uint32_t>(buffer.size());
        std::memcpy(buffer.data(), &info, head);
        const int result = kernel.ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, buffer.data());
        const int code = result < 0 ? errno : ENOSPC;
        std::memcpy(&info, buffer.data(), head);
        if (result == 0 && head + info.count * each <= buffer.size()) {
            break;
        }
        if (attempt == 4 || (result < 0 && code != ENOSPC)) {
            return base::fail_errno(code, "VFIO cannot reset its bus");
        }
        buffer.assign(head + info.count * each, std::byte{0});
    }
    BusReset bus;
    for (std::size_t i = 0; i < info.count; ++i) {
        vfio_pci_dependent_device one{};
        std::memcpy(&one, buffer.data() + head + i * each, each);
        bus.members.push_back({.address = {.domain = one.segment,
                                           .bus = one.bus,
                                           .device = static_cast<std::uint8_t>(one.devfn >> 3),
                                           .function = static_cast<std::uint8_t>(one.devfn & 7)},
                               .owner = one.group_id});
    }
    return bus;
}

base::Result<void> reset_bus(VfioKernel& kernel, int device, std::span<const int> groups) {
    constexpr std::size_t head = sizeof(vfio_pci_hot_reset);
    static_assert(sizeof(int) == sizeof(std::int32_t));
    std::vector<std::byte> buffer(head + groups.size_bytes());
    vfio_pci_hot_reset request{};
    request.argsz = static_cast<std::uint32_t>(buffer.size());
    request.count = static_cast<std::uint32_t>(groups.size());
    std::memcpy(buffer.data(), &request, head);
    if (!groups.empty()) {
        std::memcpy(buffer.data() + head, groups.data(), groups.size_bytes());
    }
    if (kernel.ioctl(device, VFIO_DEVICE_PCI_HOT_RESET, buffer.data()) < 0) {
        return base::fail_errno(errno, "VFIO does not reset its bus");
    }
    return {};
}

bool BusResets::take_done(const HostAddress& function) {
    event::MutexLock lock(mutex_);
    return done_.erase(function) != 0;
}

void BusResets::postpone(const HostAddress& function) {
    event::MutexLock lock(mutex_);
    waiting_.insert(function);
}

void BusResets::note(const HostAddress& function, const BusReset& bus) {
    event::MutexLock lock(mutex_);
    for (const BusReset::Member& member : bus.members) {
        // One that waited has asked for just this.
        if (waiting_.erase(member.address) == 0 && member.address != function) {
            done_.insert(member.address);
        }
    }
}

void BusResets::forget(const HostAddress& function) {
    event::MutexLock lock(mutex_);
    done_.erase(function);
    waiting_.erase(function);
}

}  // namespace cupule::passthrough
