#include "passthrough/sysfs_device.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "base/bits.h"
#include "base/file_descriptor.h"
#include "passthrough/config_image.h"
#include "passthrough/host_files.h"
#include "pci/config_registers.h"

namespace cupule::passthrough {
namespace {

std::string directory_of(const HostFunction& function, const std::string& root) {
    return fmt::format("{}/sys/bus/pci/devices/{}", root, function.address.text());
}

/// A line of `resource`: first address, last address, flags (Linux include/linux/ioport.h); all
/// zero where there is none. The flags, as a virtual function's own registers say nothing.
HostBar bar_of_resource(std::string_view line) {
    constexpr std::uint64_t is_ports = 0x100;
    constexpr std::uint64_t is_prefetchable = 0x2000;
    constexpr std::uint64_t is_64_bit = 0x10'0000;
    const auto number = [&] {
        return parse_host_number<std::uint64_t>(base::take_word(line, ' '), 16).value_or(0);
    };
    const std::uint64_t first = number();
    const std::uint64_t last = number();
    const std::uint64_t flags = number();
    if (last <= first) {
        return {};
    }
    const pci::BarKind memory =
        (flags & is_64_bit) != 0 ? pci::BarKind::memory_64 : pci::BarKind::memory_32;
    return {.kind = (flags & is_ports) != 0 ? pci::BarKind::io : memory,
            .size = last - first + 1,
            .prefetchable = (flags & is_prefetchable) != 0};
}

}  // namespace

base::Result<std::unique_ptr<SysfsDevice>> SysfsDevice::open(const HostFunction& function,
                                                             const std::string& root) {
    const std::string name = function.address.text();
    if (function.config.size() < pci::conventional_config_size) {
        return base::fail(
            "{}: its configuration space cannot be read as a whole: that takes CAP_SYS_ADMIN",
            name);
    }
    std::unique_ptr<SysfsDevice> device(new SysfsDevice(name, function.config));
    const std::string text = read_host_bytes(directory_of(function, root) + "/resource");
    std::string_view rest = text;
    for (unsigned bar = 0; bar < pci::bar_count && !rest.empty(); ++bar) {
        device->bars_[bar] = bar_of_resource(next_line(rest));
    }
    return device;
}

std::uint64_t SysfsDevice::read_config(std::uint64_t offset, unsigned size) {
    return config_reader(config_)(offset, size);
}

std::uint64_t SysfsDevice::read_bar(unsigned /*bar*/, std::uint64_t /*offset*/, unsigned size) {
    return base::ones(size);
}

unsigned SysfsDevice::interrupts(HostInterrupt kind) const {
    const ConfigReader read = config_reader(config_);
    if (kind == HostInterrupt::intx) {
        return read(pci::config::interrupt_pin, 1) != 0 ? 1 : 0;
    }
    const bool is_msix = kind == HostInterrupt::msix;
    const ConfigImage image = read_config_image(read, config_size());
    const ConfigCapability* const found =
        image.find(is_msix ? pci::capability::msix : pci::capability::msi);
    if (found == nullptr) {
        return 0;
    }
    // Message Control: Table Size of MSI-X, Multiple Message Capable of MSI.
    const auto control = static_cast<unsigned>(read(found->offset + 2ULL, 2));
    constexpr unsigned messages_log_max = 5;
    return is_msix ? (control & 0x7FF) + 1 : 1U << std::min(control >> 1 & 7, messages_log_max);
}

base::Result<void> reset_by_sysfs(const HostFunction& function, const std::string& root) {
    CUPULE_TRY_ASSIGN(const base::FileDescriptor file,
                      base::open_file(directory_of(function, root) + "/reset", O_WRONLY));
    if (::write(file.get(), "1", 1) != 1) {
        return base::fail_errno(errno, "{}: the host does not reset it", function.address.text());
    }
    return {};
}

}  // namespace cupule::passthrough
