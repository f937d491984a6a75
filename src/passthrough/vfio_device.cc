#include "passthrough/vfio_device.h"

#include <linux/vfio.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "base/bits.h"
#include "base/log.h"
#include "memory/page.h"
#include "passthrough/config_image.h"
#include "pci/config_registers.h"

namespace cupule::passthrough {
namespace {

/// VFIO's numbers happen to be ours: BAR0 to BAR5, then the ROM.
static_assert(VFIO_PCI_BAR0_REGION_INDEX == 0 && VFIO_PCI_ROM_REGION_INDEX == pci::rom_bar);

std::uint32_t index_of(HostInterrupt kind) {
    switch (kind) {
        case HostInterrupt::intx:
            return VFIO_PCI_INTX_IRQ_INDEX;
        case HostInterrupt::msi:
            return VFIO_PCI_MSI_IRQ_INDEX;
        case HostInterrupt::msix:
            break;
    }
    return VFIO_PCI_MSIX_IRQ_INDEX;
}

/// What VFIO says of a region, with the capabilities behind it.
base::Result<std::vector<std::byte>> region_info(VfioKernel& kernel, int fd, unsigned index) {
    std::vector<std::byte> buffer(sizeof(vfio_region_info));
    for (;;) {
        vfio_region_info info{};
        info.argsz = static_cast<std::uint32_t>(buffer.size());
        info.index = index;
        std::memcpy(buffer.data(), &info, sizeof info);
        if (kernel.ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, buffer.data()) < 0) {
            return base::fail_errno(errno, "VFIO does not tell of region {}", index);
        }
        std::memcpy(&info, buffer.data(), sizeof info);
        if (info.argsz <= buffer.size()) {
            return buffer;
        }
        buffer.assign(info.argsz, std::byte{0});
    }
}

template <class T>
T copy_out(const std::vector<std::byte>& buffer, std::size_t offset) {
    T value{};
    if (base::contains(0, buffer.size(), offset, sizeof value)) {
        std::memcpy(&value, buffer.data() + offset, sizeof value);
    }
    return value;
}

struct Area {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
};

/// What of a region may be mapped: all of it, unless a capability names pieces.
std::vector<Area> mappable_areas(const std::vector<std::byte>& buffer) {
    const auto info = copy_out<vfio_region_info>(buffer, 0);
    if ((info.flags & VFIO_REGION_INFO_FLAG_MMAP) == 0) {
        return {};
    }
    std::size_t next = (info.flags & VFIO_REGION_INFO_FLAG_CAPS) != 0 ? info.cap_offset : 0;
    for (unsigned guard = 0; next != 0 && guard < 16; ++guard) {
        const auto header = copy_out<vfio_info_cap_header>(buffer, next);
        if (header.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP) {
            const auto count = copy_out<std::uint32_t>(buffer, next + sizeof header);
            const std::size_t first = next + sizeof(vfio_region_info_cap_sparse_mmap);
            std::vector<Area> areas;
            for (std::uint32_t i = 0; i < count && first + i * 16ULL < buffer.size(); ++i) {
                const auto area = copy_out<vfio_region_sparse_mmap_area>(buffer, first + i * 16ULL);
                areas.push_back({.offset = area.offset, .size = area.size});
            }
            return areas;
        }
        next = header.next;
    }
    return {{.offset = 0, .size = info.size}};
}

}  // namespace

base::Result<std::unique_ptr<VfioDevice>> VfioDevice::open(VfioKernel& kernel, VfioDomain& domain,
                                                           const VfioPlace& place,
                                                           ResetChoice reset) {
    CUPULE_TRY_ASSIGN(base::FileDescriptor fd, domain.open_device(place));
    std::unique_ptr<VfioDevice> device(
        new VfioDevice(kernel, domain, place.name, std::move(fd), reset));
    if (auto read = device->read_layout(); !read) {
        return std::unexpected(read.error().in(device->name_));
    }
    if (reset == ResetChoice::power_state_too &&
        read_config_image(*device).find(pci::capability::power_management) == nullptr) {
        return base::fail(
            "{}: d3hot_reset: the device has no power management; leave the option out",
            device->name_);
    }
    // Linux has reset what it can reset when it opened it (vfio_pci_core_enable), which takes the
    // 100 ms of a function level reset: not twice.
    if (device->host_resets_ && reset != ResetChoice::power_state_too) {
        device->settle_command();
        return device;
    }
    CUPULE_TRY(device->reset());
    return device;
}

VfioDevice::~VfioDevice() {
    if (!fd_) {
        return;
    }
    for (const HostInterrupt kind :
         {HostInterrupt::intx, HostInterrupt::msi, HostInterrupt::msix}) {
        disable(kind);
    }
    // The host's next driver shall not find what the guest left, nor DMA that still runs. Functions
    // that are reset with their bus Linux resets when the last of them is closed
    // (vfio_pci_dev_set_try_reset).
    if (auto done = reset_function(); !done) {
        base::log_warning("{}", done.error().message);
    }
    release();
}

base::Result<void> VfioDevice::read_layout() {
    vfio_device_info info{};
    info.argsz = sizeof info;
    if (kernel_.ioctl(fd_.get(), VFIO_DEVICE_GET_INFO, &info) < 0) {
        return base::fail_errno(errno, "VFIO does not tell of the device");
    }
    if ((info.flags & VFIO_DEVICE_FLAGS_PCI) == 0) {
        return base::fail("VFIO does not have it as a PCI device");
    }
    host_resets_ = (info.flags & VFIO_DEVICE_FLAGS_RESET) != 0;
    CUPULE_TRY_ASSIGN(const auto config,
                      region_info(kernel_, fd_.get(), VFIO_PCI_CONFIG_REGION_INDEX));
    const auto region = copy_out<vfio_region_info>(config, 0);
    config_ = {.offset = region.offset, .size = region.size};
    config_size_ = region.size >= pci::express_config_size ? pci::express_config_size
                                                           : pci::conventional_config_size;
    for (unsigned bar = 0; bar < pci::bar_count; ++bar) {
        CUPULE_TRY(read_bar_layout(bar));
    }
    CUPULE_TRY(read_interrupts());
    return watch_losses();
}

base::Result<void> VfioDevice::read_bar_layout(unsigned bar) {
    CUPULE_TRY_ASSIGN(const auto buffer, region_info(kernel_, fd_.get(), bar));
    const auto info = copy_out<vfio_region_info>(buffer, 0);
    regions_[bar] = {.offset = info.offset, .size = info.size};
    HostBar& described = bars_[bar];
    if (info.size == 0) {
        return {};
    }
    described = describe_bar(*this, bar, info.size);
    for (const Area& area : mappable_areas(buffer)) {
        CUPULE_TRY(map_piece(bar, area.offset, area.size));
    }
    return {};
}

base::Result<void> VfioDevice::map_piece(unsigned bar, std::uint64_t offset, std::uint64_t size) {
    // VFIO offers less than a page only where it has reserved the rest of that page.
    const std::uint64_t whole = base::align_up(size, memory::page_size);
    if (!base::is_aligned(offset, memory::page_size) ||
        !base::contains(0, base::align_up(bars_[bar].size, memory::page_size), offset, whole)) {
        return {};
    }
    void* host = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(),
                      static_cast<off_t>(regions_[bar].offset + offset));
    if (host == MAP_FAILED) {
        return base::fail_errno(errno, "VFIO does not map {:#x} bytes of BAR{}", whole, bar);
    }
    bars_[bar].pieces.push_back(
        {.offset = offset, .size = whole, .host = static_cast<std::byte*>(host)});
    return {};
}

base::Result<void> VfioDevice::read_interrupts() {
    for (std::uint32_t index = 0; index < interrupt_counts_.size(); ++index) {
        vfio_irq_info info{};
        info.argsz = sizeof info;
        info.index = index;
        // Older kernels do not know the last two: they have none then.
        if (kernel_.ioctl(fd_.get(), VFIO_DEVICE_GET_IRQ_INFO, &info) == 0 &&
            (info.flags & VFIO_IRQ_INFO_EVENTFD) != 0) {
            interrupt_counts_[index] = info.count;
        }
    }
    return {};
}

base::Result<void> VfioDevice::watch_losses() {
    constexpr std::array<std::uint32_t, 2> indices = {VFIO_PCI_REQ_IRQ_INDEX,
                                                      VFIO_PCI_ERR_IRQ_INDEX};
    for (std::size_t i = 0; i < indices.size(); ++i) {
        if (interrupt_counts_[indices[i]] == 0) {
            continue;
        }
        CUPULE_TRY_ASSIGN(losses_[i], base::make_eventfd());
        CUPULE_TRY(set_eventfd(indices[i], VFIO_IRQ_SET_ACTION_TRIGGER, 0, losses_[i].get()));
    }
    return {};
}

int VfioDevice::loss_eventfd(HostLoss loss) const {
    return losses_[loss == HostLoss::requested ? 0 : 1].get();
}

// Registers.

std::uint64_t VfioDevice::read_region(const Region& region, std::uint64_t offset,
                                      unsigned size) const {
    std::uint64_t value = 0;
    if (!fd_ || !base::contains(0, region.size, offset, size) ||
        kernel_.read(fd_.get(), &value, size, region.offset + offset) !=
            static_cast<ssize_t>(size)) {
        return base::ones(size);
    }
    return value;
}

void VfioDevice::write_region(const Region& region, std::uint64_t offset, unsigned size,
                              std::uint64_t value) const {
    if (fd_ && base::contains(0, region.size, offset, size) &&
        kernel_.write(fd_.get(), &value, size, region.offset + offset) !=
            static_cast<ssize_t>(size)) {
        base::log_debug("{}: the host refuses a write of {} bytes at {:#x}", name_, size, offset);
    }
}

std::uint64_t VfioDevice::read_config(std::uint64_t offset, unsigned size) {
    return read_region(config_, offset, size);
}

void VfioDevice::write_config(std::uint64_t offset, unsigned size, std::uint64_t value) {
    write_region(config_, offset, size, value);
}

std::uint64_t VfioDevice::read_bar(unsigned bar, std::uint64_t offset, unsigned size) {
    return read_region(regions_[bar], offset, size);
}

void VfioDevice::write_bar(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) {
    write_region(regions_[bar], offset, size, value);
}

// Interrupts.

unsigned VfioDevice::interrupts(HostInterrupt kind) const {
    return interrupt_counts_[index_of(kind)];
}

base::Result<void> VfioDevice::set_eventfd(std::uint32_t index, std::uint32_t action,
                                           unsigned vector, int eventfd) {
    std::array<std::byte, sizeof(vfio_irq_set) + sizeof(std::int32_t)> request{};
    vfio_irq_set set{};
    set.argsz = request.size();
    set.flags = VFIO_IRQ_SET_DATA_EVENTFD | action;
    set.index = index;
    set.start = vector;
    set.count = 1;
    const std::int32_t descriptor = eventfd;
    std::memcpy(request.data(), &set, sizeof set);
    std::memcpy(request.data() + sizeof set, &descriptor, sizeof descriptor);
    if (kernel_.ioctl(fd_.get(), VFIO_DEVICE_SET_IRQS, request.data()) != 0) {
        return base::fail_errno(errno, "VFIO does not connect interrupt {} of kind {}", vector,
                                index);
    }
    return {};
}

base::Result<void> VfioDevice::enable(HostInterrupt kind, unsigned vectors) {
    if (kind == HostInterrupt::intx || vectors == 0) {
        return {};  // connected at once by `connect`
    }
    for (unsigned wanted = vectors; wanted > 0;) {
        std::vector<std::byte> buffer(sizeof(vfio_irq_set) + wanted * sizeof(std::int32_t),
                                      std::byte{0xFF});  // no eventfd yet
        vfio_irq_set set{};
        set.argsz = static_cast<std::uint32_t>(buffer.size());
        set.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
        set.index = index_of(kind);
        set.count = wanted;
        std::memcpy(buffer.data(), &set, sizeof set);
        const int result = kernel_.ioctl(fd_.get(), VFIO_DEVICE_SET_IRQS, buffer.data());
        if (result == 0) {
            return {};
        }
        if (result < 0 || static_cast<unsigned>(result) >= wanted) {
            return base::fail_errno(errno, "VFIO does not enable {} interrupts", wanted);
        }
        fewer_interrupts_.report("{}: the host has {} of {} interrupts", name_, result, wanted);
        wanted = static_cast<unsigned>(result);
    }
    return {};
}

base::Result<void> VfioDevice::connect(HostInterrupt kind, unsigned vector, int eventfd,
                                       int resample_eventfd) {
    const std::uint32_t index = index_of(kind);
    CUPULE_TRY(set_eventfd(index, VFIO_IRQ_SET_ACTION_TRIGGER, vector, eventfd));
    if (resample_eventfd >= 0) {
        CUPULE_TRY(set_eventfd(index, VFIO_IRQ_SET_ACTION_UNMASK, vector, resample_eventfd));
    }
    return {};
}

void VfioDevice::disable(HostInterrupt kind) {
    if (!fd_ || interrupts(kind) == 0) {
        return;
    }
    vfio_irq_set set{};
    set.argsz = sizeof set;
    set.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
    set.index = index_of(kind);
    // Refused where the kind is not enabled, which is what is wanted.
    kernel_.ioctl(fd_.get(), VFIO_DEVICE_SET_IRQS, &set);
}

// Reset.

bool VfioDevice::resettable() const {
    return reset_choice_ != ResetChoice::never && host_resets_;
}

void VfioDevice::settle_command() {
    // Decoding stays on whatever the guest says, as an access to a BAR that is off would end the
    // guest; the function that shows the device decides where and whether its BARs decode.
    const auto command = static_cast<std::uint16_t>(read_config(pci::config::command, 2));
    const std::uint16_t decoding = pci::Command::io_space.mask | pci::Command::memory_space.mask;
    write_config(pci::config::command, 2,
                 pci::Command::bus_master.clear(static_cast<std::uint16_t>(command | decoding)));
}

void VfioDevice::cycle_power_state() {
    const ConfigImage image = read_config_image(*this);
    const ConfigCapability* power = image.find(pci::capability::power_management);
    if (power == nullptr) {
        return;  // it has left
    }
    const std::uint64_t at = power->offset + 4ULL;  // PMCSR
    const std::uint64_t control = read_config(at, 2) & ~std::uint64_t{3};
    // PCI Bus Power Management Interface 1.2, 5.6.1: 10 ms to and from D3hot.
    write_config(at, 2, control | 3);
    kernel_.sleep(std::chrono::milliseconds(10));
    write_config(at, 2, control);
    kernel_.sleep(std::chrono::milliseconds(10));
}

base::Result<void> VfioDevice::reset() {
    if (reset_choice_ != ResetChoice::never && !host_resets_) {
        CUPULE_TRY(reset_with_bus());
    }
    return reset_function();
}

base::Result<void> VfioDevice::reset_function() {
    if (resettable() && kernel_.ioctl_number(fd_.get(), VFIO_DEVICE_RESET, 0) < 0) {
        return base::fail_errno(errno, "the host does not reset {}", name_);
    }
    if (reset_choice_ == ResetChoice::power_state_too) {
        cycle_power_state();
    }
    settle_command();
    return {};
}

base::Result<void> VfioDevice::reset_with_bus() {
    BusResets& resets = domain_.bus_resets();
    if (resets.take_done(address_)) {
        return {};
    }
    const auto bus = read_bus_reset(kernel_, fd_.get());
    if (!bus) {
        no_reset_.report("{}: the host has no way to reset this device", name_);
        return {};
    }
    std::string all;
    std::string foreign;
    for (const BusReset::Member& member : bus->members) {
        if (member.address != address_) {
            all += (all.empty() ? "" : ", ") + member.address.text();
        }
        if (!domain_.owns(member)) {
            foreign += (foreign.empty() ? "" : ", ") + member.address.text();
        }
    }
    if (!foreign.empty() && reset_choice_ == ResetChoice::best_when_all_are_in) {
        base::log_warning("{}: it is reset when the guest has {} too", name_, foreign);
        resets.postpone(address_);
        return {};
    }
    if (!foreign.empty()) {
        return base::fail(
            "the host can reset {} only with its bus, and so with {}, which the guest has not: "
            "pass them through together, or take what the last user left in it with the option "
            "no_reset",
            name_, foreign);
    }
    if (const auto done = reset_bus(kernel_, fd_.get(), domain_.reset_proof(*bus)); !done) {
        return base::fail(
            "the host does not reset the bus of {} ({}): {}; all of it has to be bound to vfio-pci "
            "(`cupule passthrough bind`), or take what the last user left in it with the option "
            "no_reset",
            name_, all.empty() ? "nothing else is there" : "with " + all, done.error().message);
    }
    resets.note(address_, *bus);
    return {};
}

void VfioDevice::release() {
    for (HostBar& bar : bars_) {
        for (const BarPiece& piece : bar.pieces) {
            munmap(piece.host, piece.size);
        }
        bar.pieces.clear();
    }
    domain_.bus_resets().forget(address_);
    domain_.closing(name_);
    fd_.close();
}

}  // namespace cupule::passthrough
