/// What the firmware tables have to say about a virtual machine, as plain data.
///
/// `machine/` fills a `PlatformDescription`; `table_set.h` and `mp_table.h` turn it into bytes.
/// The defaults are those of Cupule's PC, which keeps acrn-dm's memory map. Everything here comes
/// from our own composition root: what it contradicts itself in is asserted.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "acpi/aml.h"
#include "acpi/aml_resource.h"
#include "acpi/table.h"

namespace cupule::acpi {

using aml::Polarity;
using aml::Trigger;

struct PortRange {
    std::uint16_t base = 0;
    std::uint32_t size = 0;  ///< ports, up to 65536
};

struct AddressRange {
    std::uint64_t base = 0;
    std::uint64_t size = 0;  ///< bytes
};

struct Processor {
    std::uint32_t apic_id = 0;
    aml::Term objects;  ///< more objects for the processor's device, such as _PSS or _CST
};

struct IoApic {
    std::uint8_t id = 0;
    std::uint8_t version = 0x11;  ///< for the MP table: the chip's version register
    std::uint32_t address = 0xFEC0'0000;
    std::uint32_t gsi_base = 0;
    std::uint32_t pins = 24;
};

/// The ACPI system control interrupt; the same number on the 8259 and as a GSI.
struct SystemControlInterrupt {
    std::uint8_t gsi = 9;
    Trigger trigger = Trigger::level;
    Polarity polarity = Polarity::active_high;
};

/// Fixed-feature power management hardware (ACPI 6.5, 4.8.3).
struct PowerManagement {
    std::uint16_t event_port = 0x400;                 ///< PM1a_EVT, 4 ports
    std::uint16_t control_port = 0x404;               ///< PM1a_CNT, 2 ports
    std::optional<std::uint16_t> timer_port = 0x408;  ///< PM_TMR, 4 ports, 32-bit counter
    std::optional<PortRange> gpe0;                    ///< status and enable halves together
    std::uint16_t smi_command_port = 0;               ///< 0: no SMI, always in ACPI mode
    std::uint8_t acpi_enable_value = 0;               ///< written to the SMI port
    std::uint8_t acpi_disable_value = 0;
    bool rtc_wakes_by_fixed_event = false;  ///< RTC_STS and RTC_EN exist in PM1
    std::uint16_t reset_port = 0xCF9;
    std::uint8_t reset_value = 0x0E;
    std::optional<std::uint8_t> s3_sleep_type = 3;  ///< SLP_TYP of S3; none: no S3
    std::uint8_t s5_sleep_type = 5;
};

struct SerialPort {
    unsigned index = 1;  ///< COM1 is 1
    std::uint16_t base = 0x3F8;
    std::uint32_t irq = 4;
};

/// The old devices of a PC; each is announced only if it exists.
struct LegacyDevices {
    bool pic_8259 = true;
    bool pit_8254 = true;
    bool speaker = true;  ///< port 0x61
    bool rtc = true;
    bool i8042_keyboard = true;
    bool i8042_mouse = true;
    bool vga = false;
    std::vector<SerialPort> serial_ports;
};

struct Hpet {
    std::uint64_t base = 0xFED0'0000;
    std::uint32_t event_timer_block_id = 0x8086'A701;  ///< low half of the capabilities register
    std::uint16_t tick_minimum = 0x80;
};

/// PCI Express configuration space in memory.
struct Ecam {
    std::uint64_t base = 0xE000'0000;  ///< of bus 0, even if `bus_first` is not 0
    std::uint8_t bus_first = 0;
    std::uint8_t bus_last = 255;
};

/// One INTx pin of a slot on the root bus.
struct PciRoute {
    std::uint8_t device = 0;
    std::uint8_t pin = 0;                   ///< 0 = INTA to 3 = INTD
    std::uint32_t gsi = 16;                 ///< in APIC mode
    std::optional<std::uint8_t> pirq_link;  ///< in PIC mode: index into `pirq_registers`
};

/// The ISA bridge: PIRQ link registers in its configuration space, legacy devices below it.
struct LpcBridge {
    std::uint8_t device = 31;
    std::uint8_t function = 0;
    /// Offsets of the PIRQ registers behind LNKA, LNKB, ...; at most 8, all in one 16-byte row.
    std::vector<std::uint8_t> pirq_registers = {0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6A, 0x6B};
    std::uint16_t pirq_irq_mask = 0xDEF8;  ///< IRQ 3-7, 9-12, 14, 15
};

/// Bits of the _OSC control field (PCI Firmware Specification 3.3, table 4-6).
inline constexpr std::uint32_t osc_native_hot_plug = 1U << 0;
inline constexpr std::uint32_t osc_native_pme = 1U << 2;
inline constexpr std::uint32_t osc_aer = 1U << 3;
inline constexpr std::uint32_t osc_capability_structure = 1U << 4;

struct PciHost {
    std::optional<Ecam> ecam = Ecam{};
    std::uint8_t bus_last = 255;
    std::vector<PortRange> port_windows = {{0, 0xCF8}, {0xD00, 0xF300}};
    std::vector<AddressRange> memory_windows;     ///< below 4 GiB
    std::vector<AddressRange> memory_windows_64;  ///< above 4 GiB
    std::vector<PciRoute> routes;
    std::uint32_t osc_granted = osc_capability_structure;
    bool aspm_supported = false;
    /// Of `PowerManagement::gpe0`: a function has come or gone.
    std::optional<std::uint8_t> bus_check_event;
    std::optional<LpcBridge> lpc = LpcBridge{};
};

/// Where a device's own AML goes.
enum class AmlPlace : std::uint8_t {
    root,        ///< the name space's root, for \_GPE and the like
    system_bus,  ///< \_SB
    pci_host,    ///< \_SB.PCI0
    lpc_bridge,  ///< \_SB.PCI0.LPC
};

/// AML that a device contributes to the DSDT.
struct AmlContribution {
    AmlPlace place = AmlPlace::system_bus;
    aml::Term aml;
};

struct PlatformDescription {
    std::vector<Processor> processors;  ///< the first one is the boot processor
    std::uint32_t local_apic_address = 0xFEE0'0000;
    std::vector<IoApic> io_apics = {IoApic{}};
    SystemControlInterrupt sci;
    PowerManagement power;
    LegacyDevices legacy;
    std::optional<Hpet> hpet = Hpet{};
    PciHost pci;
    /// Ports and memory no device driver may take (PNP0C02); the ECAM is added by itself. Linux
    /// says "could not be reserved" of what it has claimed before: leave out the local and I/O
    /// APICs and the ports 0xCF8 to 0xCFF.
    std::vector<PortRange> reserved_ports;
    std::vector<AddressRange> reserved_memory;
    std::vector<AmlContribution> contributions;
    /// Whole tables from elsewhere (SSDT, TPM2, NHLT, ...), listed in RSDT and XSDT as they are.
    std::vector<Table> extra_tables;
};

}  // namespace cupule::acpi
