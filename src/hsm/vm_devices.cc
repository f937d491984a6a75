#include "hsm/vm_devices.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/bits.h"
#include "base/log.h"
#include "hsm/virtual_functions.h"
#include "hypervisor/acrn/acrn_abi.h"
#include "passthrough/passthrough_device.h"

namespace cupule::hsm {
namespace {

/// Inputs of the 8259s, and how many interrupts a host can name.
constexpr std::uint32_t pic_inputs = 16;
constexpr std::uint32_t host_gsis = 256;

/// Of pages, on pages, and below what any processor of today can name.
bool is_range(std::uint64_t guest, std::uint64_t host, std::uint64_t size) {
    constexpr std::uint64_t address_end = passthrough::physical_address_end;
    return size != 0 && base::is_aligned(guest | host | size, hypervisor::acrn::page_size) &&
           guest < address_end && host < address_end && size < address_end;
}

int code_of(const base::Error& error) {
    return error.code != 0 ? -error.code : -ENODEV;
}

/// acrn-dm asks for MSI-X on a device's MSI by a BAR that the device has not.
std::optional<unsigned> extra_bar(const acrn_pcidev& device, passthrough::HostDevice& host) {
    using passthrough::HostInterrupt;
    if (host.interrupts(HostInterrupt::msi) == 0 || host.interrupts(HostInterrupt::msix) != 0) {
        return std::nullopt;
    }
    for (unsigned bar = 0; bar < std::size(device.bar); ++bar) {
        const bool upper_half = bar > 0 && host.bar(bar - 1).size != 0 &&
                                host.bar(bar - 1).kind == pci::BarKind::memory_64;
        if (device.bar[bar] != 0 && host.bar(bar).size == 0 && !upper_half) {
            return bar;
        }
    }
    return std::nullopt;
}

bool has_ranges(const acrn_mmiodev& device) {
    return std::ranges::any_of(device.res, [](const auto& range) { return range.size != 0; });
}

}  // namespace

class VmDevices::Passed : public VmFunction {
  public:
    Passed(std::uint16_t host_bdf, HostDevices& owner) : host_bdf_(host_bdf), owner_(owner) {}
    ~Passed() override {
        device_.reset();
        owner_.given_back(io::PciAddress::from_routing_id(host_bdf_));
    }
    Passed(const Passed&) = delete;
    Passed& operator=(const Passed&) = delete;

    void take(std::unique_ptr<passthrough::PassthroughDevice> device, std::uint8_t pin) {
        device_ = std::move(device);
        constexpr std::uint8_t pins = 4;
        if (function().attributes().uses_intx && pin >= 1 && pin <= pins) {
            function().connect_intx(pin, &silent_);
        }
    }
    pci::Function& function() override { return device_->function(); }
    void reset() override { device_->reset(); }

    std::uint16_t host_bdf() const { return host_bdf_; }
    passthrough::PassthroughDevice& device() { return *device_; }

  private:
    /// INTx takes its own way, by an eventfd.
    struct Silent : irq::LevelLine {
        void set_level(bool /*asserted*/) override {}
    };

    const std::uint16_t host_bdf_;
    HostDevices& owner_;
    Silent silent_;
    std::unique_ptr<passthrough::PassthroughDevice> device_;
};

VmDevices::VmDevices(const DeviceParts& parts, hypervisor::Vm& vm, std::uint16_t vm_id,
                     unsigned vcpus)
    : parts_(parts), vm_(vm), vm_id_(vm_id), functions_(vcpus) {
    if (parts_.make_host_devices) {
        host_ = parts_.make_host_devices(vm);
    }
}

VmDevices::~VmDevices() = default;

int VmDevices::add_ram(const RamPiece& piece) {
    ram_.push_back(piece);
    if (const auto added = host_ ? host_->add_ram(piece) : base::Result<void>{}; !added) {
        base::log_warning("{}", added.error().message);
        return -EINVAL;
    }
    return 0;
}

// Functions of the host.

VmDevices::Passed* VmDevices::find_passed(std::uint16_t virtual_bdf, std::uint16_t host_bdf) const {
    auto* const passed =
        dynamic_cast<Passed*>(functions_.find(io::PciAddress::from_routing_id(virtual_bdf)));
    return passed != nullptr && passed->host_bdf() == host_bdf ? passed : nullptr;
}

base::Result<std::unique_ptr<VmDevices::Passed>> VmDevices::open(const acrn_pcidev& device,
                                                                 event::Monitor& monitor) {
    CUPULE_TRY_ASSIGN(auto host, host_->open(io::PciAddress::from_routing_id(device.phys_bdf), ram_,
                                             device.intr_pin != 0));
    auto passed = std::make_unique<Passed>(device.phys_bdf, *host_);
    const bool wants_intx =
        device.intr_pin != 0 && host->interrupts(passthrough::HostInterrupt::intx) != 0;
    const auto extra = extra_bar(device, *host);
    CUPULE_TRY_ASSIGN(auto made,
                      passthrough::PassthroughDevice::create(
                          std::move(host), {.keep_intx = wants_intx, .msix_on_msi_bar = extra},
                          {.vm = vm_, .loop = *parts_.loop, .monitor = monitor}));
    event::MutexLock lock(monitor);
    passed->take(std::move(made), device.intr_pin);
    return passed;
}

int VmDevices::assign(const acrn_pcidev& device) {
    const io::PciAddress bdf = io::PciAddress::from_routing_id(device.virt_bdf);
    if (!host_ || parts_.loop == nullptr) {
        return -ENODEV;
    }
    if (functions_.has(bdf)) {
        return -EINVAL;
    }
    auto monitor = std::make_unique<event::Monitor>();
    auto passed = open(device, *monitor);
    if (!passed) {
        base::log_warning("a device is not assigned: {}", passed.error().message);
        return code_of(passed.error());
    }
    FunctionPlace place{.bdf = bdf,
                        .interrupt_line = device.intr_line,
                        .client_has_rom = (device.type & ACRN_PTDEV_QUIRK_ASSIGN) != 0};
    std::ranges::copy(device.bar, place.bars.begin());
    functions_.add(place, std::move(monitor), std::move(*passed));
    return 0;
}

int VmDevices::deassign(const acrn_pcidev& device) {
    if (find_passed(device.virt_bdf, device.phys_bdf) == nullptr) {
        return -ENODEV;
    }
    functions_.remove(io::PciAddress::from_routing_id(device.virt_bdf));
    return 0;
}

VmDevices::Passed* VmDevices::find_with_intx(const acrn_ptdev_irq& interrupt) const {
    const auto& pins = interrupt.intx;
    const std::uint32_t inputs = pins.is_pic_pin != 0 ? pic_inputs : vm_.gsi_count();
    if (interrupt.type != ACRN_PTDEV_IRQ_INTX || pins.virt_pin >= inputs) {
        return nullptr;
    }
    return find_passed(interrupt.virt_bdf, interrupt.phys_bdf);
}

int VmDevices::connect_intx(const acrn_ptdev_irq& interrupt) {
    Passed* const passed = find_with_intx(interrupt);
    if (passed == nullptr || interrupt.intx.phys_pin >= host_gsis) {
        return -EPERM;
    }
    event::MutexLock lock(functions_.monitor(io::PciAddress::from_routing_id(interrupt.virt_bdf)));
    passed->device().connect_intx({interrupt.intx.virt_pin});
    return 0;
}

int VmDevices::disconnect_intx(const acrn_ptdev_irq& interrupt) {
    Passed* const passed = find_with_intx(interrupt);
    if (passed == nullptr) {
        return -EPERM;
    }
    event::MutexLock lock(functions_.monitor(io::PciAddress::from_routing_id(interrupt.virt_bdf)));
    passed->device().disconnect_intx();
    return 0;
}

// The host's memory.

int VmDevices::map_window(std::uint64_t guest, std::uint64_t host_base, std::uint64_t size,
                          hypervisor::MemoryAccess access) {
    if (!is_range(guest, host_base, size) || !parts_.map_host_memory) {
        return -EINVAL;
    }
    auto mapping = parts_.map_host_memory(host_base, size);
    if (!mapping) {
        base::log_warning("memory of the host is not assigned: {}", mapping.error().message);
        return -EINVAL;
    }
    if (const auto mapped = vm_.map({guest}, size, mapping->data(), access); !mapped) {
        base::log_warning("{}", mapped.error().message);
        return -EINVAL;
    }
    windows_.emplace(guest, Window{.host_base = host_base, .mapping = std::move(*mapping)});
    return 0;
}

int VmDevices::unmap_window(std::uint64_t guest, std::uint64_t host_base, std::uint64_t size) {
    const auto found = windows_.find(guest);
    if (found == windows_.end() || found->second.host_base != host_base ||
        found->second.mapping.size() != size || !vm_.unmap({guest})) {
        return -EINVAL;
    }
    windows_.erase(found);
    return 0;
}

int VmDevices::assign_memory(const acrn_mmiodev& device) {
    if (!has_ranges(device)) {
        return -EINVAL;
    }
    for (std::size_t i = 0; i < std::size(device.res); ++i) {
        const auto& range = device.res[i];
        if (range.size == 0) {
            continue;
        }
        const int result = map_window(range.user_vm_pa, range.service_vm_pa, range.size,
                                      hypervisor::MemoryAccess::read_write);
        if (result < 0) {
            for (std::size_t done = 0; done < i; ++done) {
                unmap_window(device.res[done].user_vm_pa, device.res[done].service_vm_pa,
                             device.res[done].size);
            }
            return result;
        }
    }
    return 0;
}

int VmDevices::deassign_memory(const acrn_mmiodev& device) {
    int result = has_ranges(device) ? 0 : -EINVAL;
    for (const auto& range : device.res) {
        if (range.size != 0 &&
            unmap_window(range.user_vm_pa, range.service_vm_pa, range.size) < 0) {
            result = -EINVAL;
        }
    }
    return result;
}

int VmDevices::map_host_memory(const acrn_vm_memmap& segment) {
    return map_window(segment.user_vm_pa, segment.service_vm_pa, segment.len,
                      (segment.attr & ACRN_MEM_ACCESS_WRITE) != 0
                          ? hypervisor::MemoryAccess::read_write
                          : hypervisor::MemoryAccess::read_only);
}

int VmDevices::unmap_host_memory(const acrn_vm_memmap& segment) {
    return unmap_window(segment.user_vm_pa, segment.service_vm_pa, segment.len);
}

// Functions of the hypervisor's own.

int VmDevices::create(const acrn_vdev& device) {
    const io::PciAddress bdf =
        io::PciAddress::from_routing_id(static_cast<std::uint16_t>(device.slot));
    if (device.slot > UINT16_MAX || functions_.has(bdf)) {
        return -EINVAL;
    }
    auto monitor = std::make_unique<event::Monitor>();
    auto function = make_virtual_function(
        device, {.vm = vm_, .vm_id = vm_id_, .shared_memories = parts_.shared_memories}, *monitor);
    if (!function) {
        return -EINVAL;
    }
    FunctionPlace place{.bdf = bdf};
    std::ranges::copy(device.io_addr, place.bars.begin());
    functions_.add(place, std::move(monitor), std::move(function));
    return 0;
}

int VmDevices::destroy(const acrn_vdev& device) {
    const io::PciAddress bdf =
        io::PciAddress::from_routing_id(static_cast<std::uint16_t>(device.slot));
    VmFunction* const function = device.slot > UINT16_MAX ? nullptr : functions_.find(bdf);
    if (function == nullptr || dynamic_cast<Passed*>(function) != nullptr) {
        return -EINVAL;
    }
    const pci::Attributes& attributes = function->function().attributes();
    if (attributes.vendor_id != device.id.fields.vendor ||
        attributes.device_id != device.id.fields.device) {
        return -EINVAL;
    }
    functions_.remove(bdf);
    return 0;
}

}  // namespace cupule::hsm
