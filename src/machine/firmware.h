#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "acpi/platform.h"
#include "base/error.h"
#include "hypervisor/vcpu_state.h"
#include "memory/guest_memory.h"

namespace cupule::machine {

/// What the guest's tables say of this machine, gathered by the composition root.
struct FirmwareFacts {
    std::vector<std::uint32_t> apic_ids;
    unsigned ioapic_pins = 24;
    std::vector<acpi::PciRoute> intx_routes;
    std::optional<acpi::LpcBridge> lpc;
    std::uint8_t last_bus = 0;
    /// The guest is told of it by an event.
    bool pci_functions_leave = false;
    std::vector<acpi::SerialPort> serial_ports;
    bool suspend_to_ram = true;
    std::vector<acpi::AmlContribution> contributions{};
    std::vector<acpi::AddressRange> reserved_memory{};
    std::vector<acpi::Table> extra_tables{};
};

acpi::PlatformDescription describe_platform(const FirmwareFacts& facts);

/// Where the guest finds what was written.
struct FirmwareAddresses {
    std::uint64_t rsdp = 0;
    std::uint64_t facs = 0;
};

/// Writes the ACPI and MP tables into guest memory; again after each reset, as guests change the
/// FACS.
base::Result<FirmwareAddresses> write_firmware_tables(const acpi::PlatformDescription& platform,
                                                      const memory::GuestMemory& memory);

/// How the boot processor leaves ACPI S3: in real mode at the waking vector that the guest left in
/// the FACS (ACPI 6.5, 5.2.10), or at the reset vector where it left none.
hypervisor::VcpuState waking_state(const memory::GuestMemory& memory,
                                   const FirmwareAddresses& addresses);

}  // namespace cupule::machine
