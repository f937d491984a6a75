#include "passthrough/iommufd_domain.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "passthrough/iommufd_uapi.h"

namespace cupule::passthrough {

base::Result<std::unique_ptr<IommufdDomain>> IommufdDomain::create(VfioKernel& kernel,
                                                                   Listener& listener) {
    CUPULE_TRY_ASSIGN(base::FileDescriptor fd, kernel.open("/dev/iommu"));
    uapi::IoasAlloc request;
    if (kernel.ioctl(fd.get(), uapi::ioas_alloc, &request) < 0) {
        return base::fail_errno(errno, "/dev/iommu gives no address space");
    }
    return std::unique_ptr<IommufdDomain>(
        new IommufdDomain(kernel, listener, std::move(fd), request.out_id));
}

IommufdDomain::~IommufdDomain() {
    event::MutexLock lock(mutex_);
    for (const auto& [name, fd] : devices_) {
        listener_.descriptor_removed(fd.get());
    }
}

base::Result<void> IommufdDomain::admit(const VfioPlace& place) {
    event::MutexLock lock(mutex_);
    if (devices_.contains(place.name)) {
        return {};
    }
    auto device = kernel_.open(place.character_device);
    if (!device) {
        const bool busy = device.error().code == EBUSY;
        return std::unexpected(device.error().in(
            busy ? fmt::format("another process has {}", place.name)
                 : fmt::format("{}: is it bound to vfio-pci, and have you the right to use it?",
                               place.name)));
    }
    // KVM is told before: the device takes the machine over when it is bound.
    listener_.descriptor_added(device->get());
    if (auto joined = join(device->get(), place); !joined) {
        listener_.descriptor_removed(device->get());
        return joined;
    }
    devices_.emplace(place.name, std::move(*device));
    return {};
}

base::Result<void> IommufdDomain::join(int device, const VfioPlace& place) {
    const std::string& name = place.name;
    uapi::DeviceBind bind{.iommufd = fd_.get()};
    if (kernel_.ioctl(device, uapi::device_bind, &bind) < 0) {
        const int code = errno;
        if (code == EPERM && !place.interrupts_remapped) {
            return interrupts_not_remapped("iommufd");
        }
        if (code == EBUSY || code == EPERM) {
            return base::fail_errno(code,
                                    "{}: drivers of the host, or another process, use devices of "
                                    "its IOMMU group; `cupule passthrough list` shows them",
                                    name);
        }
        return base::fail_errno(code, "{}: VFIO does not bind it to /dev/iommu", name);
    }
    uapi::DeviceAttach attach{.space = space_};
    if (kernel_.ioctl(device, uapi::device_attach, &attach) == 0) {
        return {};
    }
    const int code = errno;
    if (code == EPERM) {
        return interrupts_not_remapped("iommufd");
    }
    return base::fail_errno(code, "{}: the IOMMU does not take it in", name);
}

base::Result<base::FileDescriptor> IommufdDomain::open_device(const VfioPlace& place) {
    event::MutexLock lock(mutex_);
    const auto found = devices_.find(place.name);
    if (found == devices_.end()) {
        return base::fail("{} is not in use", place.name);
    }
    // KVM looks its own up by the file, so a second descriptor of it serves.
    base::FileDescriptor fd(fcntl(found->second.get(), F_DUPFD_CLOEXEC, 0));
    if (!fd) {
        return base::fail_errno(errno, "no descriptor for {}", place.name);
    }
    return fd;
}

void IommufdDomain::closing(const std::string& name) {
    event::MutexLock lock(mutex_);
    if (const auto found = devices_.find(name); found != devices_.end()) {
        listener_.descriptor_removed(found->second.get());
        devices_.erase(found);
    }
}

bool IommufdDomain::owns(const BusReset::Member& member) const {
    return member.owner != uapi::device_not_owned;
}

base::Result<void> IommufdDomain::map(memory::GuestAddress base, std::uint64_t size,
                                      std::byte* host) {
    uapi::IoasMap request{.space = space_,
                          .user_address = reinterpret_cast<std::uint64_t>(host),
                          .length = size,
                          .io_address = base.value};
    if (kernel_.ioctl(fd_.get(), uapi::ioas_map, &request) == 0) {
        return {};
    }
    const int code = errno;
    const char* hint = code == ENOMEM
                           ? " (all of it is kept in memory: is there enough, and does `ulimit -l` "
                             "allow it?)"
                       : code == EADDRINUSE || code == EINVAL
                           ? " (does it meet an address of /sys/kernel/iommu_groups/*/"
                             "reserved_regions, or is the IOMMU too narrow?)"
                           : "";
    return base::fail_errno(code, "the IOMMU does not map {} MiB of guest memory at {:#x}{}",
                            size >> 20, base.value, hint);
}

base::Result<void> IommufdDomain::unmap(memory::GuestAddress base, std::uint64_t size) {
    uapi::IoasUnmap request{.space = space_, .io_address = base.value, .length = size};
    if (kernel_.ioctl(fd_.get(), uapi::ioas_unmap, &request) < 0) {
        return base::fail_errno(errno, "the IOMMU does not unmap guest memory at {:#x}",
                                base.value);
    }
    return {};
}

}  // namespace cupule::passthrough
