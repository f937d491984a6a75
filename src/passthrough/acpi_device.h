#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "passthrough/host_memory.h"

namespace cupule::passthrough {

/// An ACPI device of the host, from sysfs and /proc. Nothing is opened or changed.
struct HostAcpiDevice {
    /// Linux's name: "MSFT0101:00".
    std::string name{};
    std::string hid{};
    /// _UID as Linux shows it; empty: none.
    std::string uid{};
    /// Further ids of its drivers (_CID).
    std::vector<std::string> compatible{};
    /// Empty: none.
    std::string driver{};
    /// Where that driver's `unbind` is.
    std::string driver_path{};
    std::string bound_name{};
    std::vector<HostRange> memory{};
    /// It also has I/O ports or interrupts.
    bool has_ports = false;
    bool has_interrupts = false;
};

/// The device with this hardware id (_HID or _CID), and `uid` where that is not empty: its _UID,
/// or the number behind the colon of Linux's name, as acrn-dm has it. The error names the devices
/// where several fit, or the like. `root` as for HostTopology::read.
base::Result<HostAcpiDevice> find_acpi_device(std::string_view hid, std::string_view uid,
                                              const std::string& root = {});

/// Whether a guest can have this device: no driver of the host has it, and it has memory, on pages
/// that nobody else has a part of (`map`: read_host_memory_map). The error says what to do.
base::Result<void> check_acpi_device(const HostAcpiDevice& device,
                                     const std::vector<HostRange>& map);

/// Whether [base, base + size), made whole pages, can be handed to a guest: it is no RAM of the
/// host.
base::Result<void> check_memory_range(std::uint64_t base, std::uint64_t size,
                                      const std::vector<HostRange>& map);

}  // namespace cupule::passthrough
