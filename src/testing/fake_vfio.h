#pragma once

#include <linux/vfio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/text.h"
#include "passthrough/host_topology.h"
#include "passthrough/iommufd_uapi.h"
#include "passthrough/vfio_kernel.h"

namespace cupule::testing {

struct FakeVfioRegion {
    std::uint64_t size = 0;
    bool mappable = false;
    /// Offset and size of what may be mapped, where that is not all.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> sparse{};
};

struct FakeVfioFunction {
    std::string name;
    unsigned group = 1;
    /// It can be reset alone.
    bool resets = true;
    /// All that a reset of its bus resets, itself too; empty: the bus cannot be reset.
    std::vector<std::string> bus{};
    /// BARs and ROM.
    std::array<FakeVfioRegion, 7> regions{};
    /// INTx, MSI, MSI-X, error, request; and how many messages the host has.
    std::array<unsigned, 5> interrupts{1, 0, 0, 0, 0};
    unsigned messages_max = 2048;
    /// The beginning of its configuration space.
    std::vector<std::uint8_t> config{};
};

/// VFIO in a test: functions whose registers are a file in memory, so that they can be mapped too.
/// Both interfaces: "/dev/vfio/GROUP", and "/dev/vfio/devices/NAME" with "/dev/iommu".
class FakeVfio : public passthrough::VfioKernel {
  public:
    void add(FakeVfioFunction function) {
        const std::string name = function.name;
        Device& device = devices_[name];
        device.is = std::move(function);
        device.registers = base::FileDescriptor(memfd_create("vfio", MFD_CLOEXEC));
        if (ftruncate(device.registers.get(), static_cast<off_t>(9 * region_stride)) == 0) {
            poke(name, VFIO_PCI_CONFIG_REGION_INDEX, 0, device.is.config);
        }
    }
    /// What a function was asked for since the last call: resets, interrupts, power states.
    std::vector<std::string> take() { return std::exchange(calls, {}); }
    void poke(const std::string& name, unsigned region, std::uint64_t offset,
              const std::vector<std::uint8_t>& bytes) {
        written_ = pwrite(devices_[name].registers.get(), bytes.data(), bytes.size(),
                          static_cast<off_t>(region * region_stride + offset));
    }
    std::uint64_t peek(const std::string& name, unsigned region, std::uint64_t offset,
                       unsigned size) {
        std::uint64_t value = 0;
        written_ = pread(devices_[name].registers.get(), &value, size,
                         static_cast<off_t>(region * region_stride + offset));
        return value;
    }

    base::Result<base::FileDescriptor> open(const std::string& path) override {
        const std::string name(base::after_last(path, '/'));
        if (devices_.contains(name)) {
            return open_device(name);
        }
        auto fd = base::make_eventfd();
        paths_[fd->get()] = path;
        return fd;
    }
    int ioctl(int fd, unsigned long request, void* argument) override {
        if (request == VFIO_GROUP_GET_DEVICE_FD) {
            auto device = open_device(static_cast<const char*>(argument));
            return device ? device->release() : -1;
        }
        Device* const device = find(fd);
        return device == nullptr ? domain_ioctl(request, argument)
                                 : device_ioctl(*device, request, argument);
    }
    ssize_t write(int fd, const void* data, std::size_t size, std::uint64_t offset) override {
        const std::uint64_t config = VFIO_PCI_CONFIG_REGION_INDEX * region_stride;
        if (offset == config + power_control && size == 2) {
            std::uint16_t value = 0;
            std::memcpy(&value, data, sizeof value);
            calls.push_back(fmt::format("{} D{}", find(fd)->is.name, value & 3));
        }
        return VfioKernel::write(fd, data, size, offset);
    }
    void sleep(std::chrono::milliseconds time) override {
        calls.push_back(fmt::format("{} ms", time.count()));
    }

    /// Where tests put the power management capability's PMCSR.
    static constexpr std::uint64_t power_control = 0x44;
    /// A request that fails from now on, and its errno.
    std::map<unsigned long, int> refused;
    std::vector<std::string> calls;

  private:
    static constexpr std::uint64_t region_stride = 1 << 24;
    struct Device {
        FakeVfioFunction is;
        base::FileDescriptor registers;
        bool bound = false;
    };

    base::Result<base::FileDescriptor> open_device(const std::string& name) {
        return devices_[name].registers.duplicate();
    }
    /// The function whose file it is, by whatever descriptor; nullptr: another file.
    Device* find(int fd) {
        struct stat wanted {};
        for (auto& [name, device] : devices_) {
            struct stat has {};
            if (fstat(fd, &wanted) == 0 && fstat(device.registers.get(), &has) == 0 &&
                wanted.st_dev == has.st_dev && wanted.st_ino == has.st_ino) {
                return &device;
            }
        }
        return nullptr;
    }
    template <class T>
    static T copy(const void* argument) {
        T value;
        std::memcpy(&value, argument, sizeof value);
        return value;
    }
    static int fail(int code) {
        errno = code;
        return -1;
    }

    int domain_ioctl(unsigned long request, void* argument) {
        if (request == VFIO_GROUP_GET_STATUS) {
            static_cast<vfio_group_status*>(argument)->flags = VFIO_GROUP_FLAGS_VIABLE;
        }
        // VFIO_API_VERSION is 0.
        return request == VFIO_CHECK_EXTENSION ? 1 : 0;
    }
    int device_ioctl(Device& device, unsigned long request, void* argument) {
        if (const auto found = refused.find(request); found != refused.end()) {
            return fail(found->second);
        }
        switch (request) {
            case VFIO_DEVICE_GET_INFO:
                static_cast<vfio_device_info*>(argument)->flags =
                    VFIO_DEVICE_FLAGS_PCI | (device.is.resets ? VFIO_DEVICE_FLAGS_RESET : 0U);
                return 0;
            case VFIO_DEVICE_GET_REGION_INFO:
                return region_info(device, argument);
            case VFIO_DEVICE_GET_IRQ_INFO:
                return interrupt_info(device, argument);
            case VFIO_DEVICE_SET_IRQS:
                return set_interrupts(device, argument);
            case VFIO_DEVICE_RESET:
                calls.push_back("reset " + device.is.name);
                return 0;
            case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
                return bus_info(device, argument);
            case VFIO_DEVICE_PCI_HOT_RESET:
                return reset_bus(device, argument);
            case passthrough::uapi::device_bind:
                device.bound = true;
                return 0;
            default:
                return 0;
        }
    }
    int region_info(const Device& device, void* argument) {
        auto info = copy<vfio_region_info>(argument);
        const bool is_bar = info.index < device.is.regions.size();
        const FakeVfioRegion region =
            is_bar ? device.is.regions[info.index] : FakeVfioRegion{.size = 256};
        info.size = region.size;
        info.offset = info.index * region_stride;
        info.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
                     (region.mappable ? VFIO_REGION_INFO_FLAG_MMAP : 0U);
        std::vector<std::uint64_t> areas;
        for (const auto& [offset, size] : region.sparse) {
            areas.push_back(offset);
            areas.push_back(size);
        }
        constexpr std::size_t head = sizeof(vfio_region_info_cap_sparse_mmap);
        const std::size_t needed = sizeof info + head + areas.size() * sizeof(std::uint64_t);
        if (!areas.empty()) {
            info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
            const bool fits = info.argsz >= needed;
            info.argsz = static_cast<std::uint32_t>(needed);
            info.cap_offset = fits ? sizeof info : 0;
            if (fits) {
                // Ends in an array without a length, which C++ does not initialize.
                vfio_region_info_cap_sparse_mmap capability;
                std::memset(&capability, 0, head);
                capability.header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
                capability.header.version = 1;
                capability.nr_areas = static_cast<std::uint32_t>(region.sparse.size());
                auto* const at = static_cast<std::byte*>(argument) + sizeof info;
                std::memcpy(at, &capability, head);
                std::memcpy(at + head, areas.data(), areas.size() * sizeof(std::uint64_t));
            }
        }
        std::memcpy(argument, &info, sizeof info);
        return 0;
    }
    static int interrupt_info(const Device& device, void* argument) {
        auto* const info = static_cast<vfio_irq_info*>(argument);
        info->count = device.is.interrupts.at(info->index);
        info->flags = VFIO_IRQ_INFO_EVENTFD;
        return 0;
    }
    int set_interrupts(const Device& device, const void* argument) {
        const auto set = copy<vfio_irq_set>(argument);
        const bool messages =
            set.index == VFIO_PCI_MSI_IRQ_INDEX || set.index == VFIO_PCI_MSIX_IRQ_INDEX;
        calls.push_back(
            fmt::format("{} interrupts {} of kind {}", device.is.name, set.count, set.index));
        return messages && set.count > device.is.messages_max
                   ? static_cast<int>(device.is.messages_max)
                   : 0;
    }
    int bus_info(const Device& device, void* argument) {
        auto info = copy<vfio_pci_hot_reset_info>(argument);
        const std::size_t needed =
            sizeof info + device.is.bus.size() * sizeof(vfio_pci_dependent_device);
        if (device.is.bus.empty()) {
            return fail(ENODEV);
        }
        const bool fits = info.argsz >= needed;
        info.count = static_cast<std::uint32_t>(device.is.bus.size());
        std::memcpy(argument, &info, sizeof info);
        if (!fits) {
            return fail(ENOSPC);
        }
        auto* at = static_cast<std::byte*>(argument) + sizeof info;
        for (const std::string& name : device.is.bus) {
            const auto address =
                passthrough::HostAddress::parse(name).value_or(passthrough::HostAddress{});
            vfio_pci_dependent_device one{};
            one.group_id = owner_of(device, name);
            one.segment = address.domain;
            one.bus = address.bus;
            one.devfn = static_cast<std::uint8_t>(address.device << 3 | address.function);
            std::memcpy(at, &one, sizeof one);
            at += sizeof one;
        }
        return 0;
    }
    /// vfio_pci_fill_devs: the group of one opened by its group, else whether it is bound.
    std::uint32_t owner_of(const Device& asker, const std::string& name) {
        if (!asker.bound) {
            return devices_[name].is.group;
        }
        const bool with_group = std::ranges::any_of(devices_, [&](const auto& one) {
            return one.second.bound && one.second.is.group == devices_[name].is.group;
        });
        return devices_[name].bound ? 1 : with_group ? 0 : passthrough::uapi::device_not_owned;
    }
    int reset_bus(const Device& device, const void* argument) {
        const auto request = copy<vfio_pci_hot_reset>(argument);
        std::string proof;
        for (std::uint32_t i = 0; i < request.count; ++i) {
            const int fd = copy<std::int32_t>(static_cast<const std::byte*>(argument) +
                                              sizeof request + i * sizeof(std::int32_t));
            proof += " " + paths_[fd];
        }
        if ((request.count == 0) != device.bound) {
            return fail(EINVAL);
        }
        calls.push_back("reset bus of " + device.is.name + proof);
        return 0;
    }

    std::map<std::string, Device> devices_;
    std::map<int, std::string> paths_;
    ssize_t written_ = 0;
};

}  // namespace cupule::testing
