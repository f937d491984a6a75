#include "passthrough/vfio_container.h"

#include <linux/vfio.h>

#include <cerrno>
#include <set>
#include <utility>

namespace cupule::passthrough {

base::Result<std::unique_ptr<VfioContainer>> VfioContainer::create(VfioKernel& kernel,
                                                                   Listener& listener) {
    auto fd = kernel.open("/dev/vfio/vfio");
    if (!fd) {
        return std::unexpected(
            base::Error{.message = fd.error().message +
                                   "; passthrough needs VFIO: `modprobe vfio-pci`, and the right "
                                   "to use it",
                        .code = fd.error().code});
    }
    const int version = kernel.ioctl_number(fd->get(), VFIO_GET_API_VERSION, 0);
    if (version != VFIO_API_VERSION ||
        kernel.ioctl_number(fd->get(), VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) != 1) {
        return base::fail(
            "this host's VFIO (interface version {}) has no type 1 IOMMU: `modprobe "
            "vfio_iommu_type1`, and an IOMMU that is on (intel_iommu=on or amd_iommu=on)",
            version);
    }
    return std::unique_ptr<VfioContainer>(new VfioContainer(kernel, listener, std::move(*fd)));
}

VfioContainer::~VfioContainer() {
    for (const auto& [number, fd] : groups_) {
        listener_.descriptor_removed(fd.get());
    }
}

base::Result<void> VfioContainer::admit(const VfioPlace& place) {
    return groups_.contains(place.group) ? base::Result<void>{} : add_group(place.group);
}

base::Result<void> VfioContainer::add_group(unsigned group) {
    const std::string path = fmt::format("/dev/vfio/{}", group);
    auto fd = kernel_.open(path);
    if (!fd) {
        const bool busy = fd.error().code == EBUSY;
        return std::unexpected(fd.error().in(
            busy ? fmt::format("another process has IOMMU group {}", group)
                 : fmt::format("IOMMU group {}: is its device bound to vfio-pci?", group)));
    }
    vfio_group_status status{};
    status.argsz = sizeof status;
    if (kernel_.ioctl(fd->get(), VFIO_GROUP_GET_STATUS, &status) < 0) {
        return base::fail_errno(errno, "VFIO does not tell the status of IOMMU group {}", group);
    }
    if ((status.flags & VFIO_GROUP_FLAGS_VIABLE) == 0) {
        return base::fail(
            "IOMMU group {} has devices that drivers of the host use; `cupule passthrough list` "
            "shows them: bind all of them to vfio-pci or unbind them",
            group);
    }
    int container = fd_.get();
    if (kernel_.ioctl(fd->get(), VFIO_GROUP_SET_CONTAINER, &container) < 0) {
        return base::fail_errno(errno, "VFIO does not take IOMMU group {} in", group);
    }
    if (groups_.empty() &&
        kernel_.ioctl_number(fd_.get(), VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0) {
        const int code = errno;
        if (code == EPERM) {
            return interrupts_not_remapped("vfio_iommu_type1");
        }
        return base::fail_errno(code, "VFIO gives IOMMU group {} no IOMMU", group);
    }
    listener_.descriptor_added(fd->get());
    groups_.emplace(group, std::move(*fd));
    return {};
}

base::Result<base::FileDescriptor> VfioContainer::open_device(const VfioPlace& place) {
    const auto found = groups_.find(place.group);
    if (found == groups_.end()) {
        return base::fail("IOMMU group {} of {} is not in use", place.group, place.name);
    }
    std::string name = place.name;
    base::FileDescriptor fd(
        kernel_.ioctl(found->second.get(), VFIO_GROUP_GET_DEVICE_FD, name.data()));
    if (!fd) {
        return base::fail_errno(errno, "VFIO does not open {}", place.name);
    }
    return fd;
}

std::vector<int> VfioContainer::reset_proof(const BusReset& bus) const {
    std::set<int> descriptors;
    for (const BusReset::Member& member : bus.members) {
        if (const auto found = groups_.find(member.owner); found != groups_.end()) {
            descriptors.insert(found->second.get());
        }
    }
    return {descriptors.begin(), descriptors.end()};
}

base::Result<void> VfioContainer::map(memory::GuestAddress base, std::uint64_t size,
                                      std::byte* host) {
    vfio_iommu_type1_dma_map request{};
    request.argsz = sizeof request;
    request.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    request.vaddr = reinterpret_cast<std::uint64_t>(host);
    request.iova = base.value;
    request.size = size;
    if (kernel_.ioctl(fd_.get(), VFIO_IOMMU_MAP_DMA, &request) == 0) {
        return {};
    }
    const int code = errno;
    const char* hint = code == ENOMEM
                           ? " (all of it is kept in memory: is there enough, and does `ulimit -l` "
                             "allow it?)"
                       : code == EINVAL ? " (does it meet an address of /sys/kernel/iommu_groups/*/"
                                          "reserved_regions, or is the IOMMU too narrow?)"
                                        : "";
    return base::fail_errno(code, "the IOMMU does not map {} MiB of guest memory at {:#x}{}",
                            size >> 20, base.value, hint);
}

base::Result<void> VfioContainer::unmap(memory::GuestAddress base, std::uint64_t size) {
    vfio_iommu_type1_dma_unmap request{};
    request.argsz = sizeof request;
    request.iova = base.value;
    request.size = size;
    if (kernel_.ioctl(fd_.get(), VFIO_IOMMU_UNMAP_DMA, &request) < 0) {
        return base::fail_errno(errno, "the IOMMU does not unmap guest memory at {:#x}",
                                base.value);
    }
    return {};
}

}  // namespace cupule::passthrough
