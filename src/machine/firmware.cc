#include "machine/firmware.h"

#include <algorithm>
#include <utility>

#include "acpi/mp_table.h"
#include "acpi/table_set.h"
#include "base/log.h"
#include "device/platform/acpi_pm.h"
#include "device/timer/hpet.h"
#include "machine/address_map.h"

namespace cupule::machine {
namespace {

/// The I/O ports PCI may use, less those that a COM port outside the ISA range occupies.
std::vector<acpi::PortRange> port_windows(const std::vector<acpi::SerialPort>& serial_ports) {
    std::vector<std::uint32_t> taken;
    for (const acpi::SerialPort& port : serial_ports) {
        if (port.base >= 0xD00) {
            taken.push_back(port.base);
        }
    }
    std::ranges::sort(taken);
    std::vector<acpi::PortRange> windows{{0, 0xCF8}};
    std::uint32_t next = 0xD00;
    for (const std::uint32_t base : taken) {
        if (base > next) {
            windows.push_back({static_cast<std::uint16_t>(next), base - next});
        }
        next = base + 8;
    }
    windows.push_back({static_cast<std::uint16_t>(next), 0x1'0000 - next});
    return windows;
}

}  // namespace

acpi::PlatformDescription describe_platform(const FirmwareFacts& facts) {
    acpi::PlatformDescription platform;
    for (const std::uint32_t id : facts.apic_ids) {
        platform.processors.push_back({.apic_id = id, .objects = {}});
    }
    platform.io_apics = {acpi::IoApic{.id = 0,
                                      .version = 0x11,
                                      .address = static_cast<std::uint32_t>(ioapic_base),
                                      .gsi_base = 0,
                                      .pins = facts.ioapic_pins}};
    platform.sci.gsi = sci_irq;
    platform.power.smi_command_port = smi_command_port;
    platform.power.acpi_enable_value = device::AcpiPm::smi_acpi_enable;
    platform.power.acpi_disable_value = device::AcpiPm::smi_acpi_disable;
    if (facts.pci_functions_leave) {
        platform.power.gpe0 =
            acpi::PortRange{.base = gpe0_port, .size = device::AcpiPm::gpe0_port_count};
        platform.pci.bus_check_event = bus_check_event;
    }
    if (!facts.suspend_to_ram) {
        platform.power.s3_sleep_type.reset();
    }
    platform.legacy.serial_ports = facts.serial_ports;
    platform.hpet = acpi::Hpet{
        .base = hpet_base, .event_timer_block_id = device::Hpet::block_id, .tick_minimum = 0x80};
    platform.pci.port_windows = port_windows(facts.serial_ports);
    platform.pci.memory_windows = {{pci_window_32_base, pci_window_32_end - pci_window_32_base}};
    platform.pci.memory_windows_64 = {{pci_window_64_base, pci_window_64_end - pci_window_64_base}};
    // Linux looks for 32 devices on every bus that these name, by two exits each.
    platform.pci.bus_last = facts.last_bus;
    platform.pci.ecam = acpi::Ecam{.base = ecam_base, .bus_first = 0, .bus_last = facts.last_bus};
    platform.pci.routes = facts.intx_routes;
    platform.pci.lpc = facts.lpc;
    platform.reserved_memory = facts.reserved_memory;
    platform.contributions = facts.contributions;
    platform.extra_tables = facts.extra_tables;
    return platform;
}

base::Result<FirmwareAddresses> write_firmware_tables(const acpi::PlatformDescription& platform,
                                                      const memory::GuestMemory& memory) {
    CUPULE_TRY_ASSIGN(const acpi::TableSet tables, acpi::make_table_set(platform));
    for (const acpi::PlacedTable& table : tables.tables) {
        if (!memory.write({table.address}, std::as_bytes(std::span(table.bytes)))) {
            return base::fail("the ACPI table {} does not fit into guest memory at {:#x}",
                              table.name, table.address);
        }
    }
    const auto mp_table = acpi::make_mp_table(platform);
    if (!mp_table) {
        // Only guests without ACPI miss it, and those know no more processors than fit.
        base::log_warning("no MP table: {}", mp_table.error().message);
    } else if (!memory.write({acpi::mp_table_base}, std::as_bytes(std::span(*mp_table)))) {
        return base::fail("the MP table does not fit into guest memory at {:#x}",
                          acpi::mp_table_base);
    }
    const acpi::PlacedTable* facs = tables.find("FACS");
    return FirmwareAddresses{.rsdp = tables.rsdp_address(),
                             .facs = facs != nullptr ? facs->address : 0};
}

hypervisor::VcpuState waking_state(const memory::GuestMemory& memory,
                                   const FirmwareAddresses& addresses) {
    constexpr std::uint64_t firmware_waking_vector = 12;  // offset in the FACS
    const std::uint32_t vector =
        memory.load<std::uint32_t>({addresses.facs + firmware_waking_vector}).value_or(0);
    hypervisor::VcpuState state;
    if (vector != 0 && vector < mib) {
        state.cs = {.base = vector & ~std::uint32_t{0xF},
                    .limit = 0xFFFF,
                    .selector = static_cast<std::uint16_t>(vector >> 4),
                    .access_rights = 0x9B};
        state.rip = vector & 0xF;
    }
    return state;
}

}  // namespace cupule::machine
