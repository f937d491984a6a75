#pragma once

#include <linux/vfio.h>
#include <sys/ioctl.h>

#include <cstdint>

// What Linux 6.6 adds to <linux/vfio.h>, and what <linux/iommufd.h> has: facts of the kernel's user
// interface, which the headers of Debian 12 (6.1) lack. `size` and `argsz` are those of the struct.

namespace cupule::passthrough::uapi {

struct IoasAlloc {
    std::uint32_t size = sizeof(IoasAlloc);
    std::uint32_t flags = 0;
    std::uint32_t out_id = 0;
};
struct IoasMap {
    static constexpr std::uint32_t fixed_address = 1;
    static constexpr std::uint32_t writable = 2;
    static constexpr std::uint32_t readable = 4;

    std::uint32_t size = sizeof(IoasMap);
    std::uint32_t flags = fixed_address | writable | readable;
    std::uint32_t space = 0;
    std::uint32_t reserved = 0;
    std::uint64_t user_address = 0;
    std::uint64_t length = 0;
    std::uint64_t io_address = 0;
};
struct IoasUnmap {
    std::uint32_t size = sizeof(IoasUnmap);
    std::uint32_t space = 0;
    std::uint64_t io_address = 0;
    std::uint64_t length = 0;
};
struct DeviceBind {
    std::uint32_t argsz = sizeof(DeviceBind);
    std::uint32_t flags = 0;
    std::int32_t iommufd = -1;
    std::uint32_t out_device = 0;
};
struct DeviceAttach {
    std::uint32_t argsz = sizeof(DeviceAttach);
    std::uint32_t flags = 0;
    std::uint32_t space = 0;
};
static_assert(sizeof(IoasAlloc) == 12 && sizeof(IoasMap) == 40 && sizeof(IoasUnmap) == 24);
static_assert(sizeof(DeviceBind) == 16 && sizeof(DeviceAttach) == 12);

/// In the place of a group's number (vfio_pci_dependent_device) for a device that is bound: neither
/// bound to the same /dev/iommu nor in the group of one that is.
constexpr std::uint32_t device_not_owned = 0xFFFF'FFFF;

constexpr char iommufd_type = ';';
constexpr unsigned long ioas_alloc = _IO(iommufd_type, 0x81);
constexpr unsigned long ioas_map = _IO(iommufd_type, 0x85);
constexpr unsigned long ioas_unmap = _IO(iommufd_type, 0x86);
constexpr unsigned long device_bind = _IO(VFIO_TYPE, VFIO_BASE + 18);
constexpr unsigned long device_attach = _IO(VFIO_TYPE, VFIO_BASE + 19);

}  // namespace cupule::passthrough::uapi
