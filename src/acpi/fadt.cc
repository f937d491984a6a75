#include <utility>

#include "acpi/tables.h"
#include "base/assert.h"

namespace cupule::acpi {

namespace {

constexpr std::size_t fadt_size = 276;
constexpr std::uint8_t rtc_century_index = 0x32;
constexpr std::uint16_t c2_latency_unsupported = 0xFFFF;  // more than 100 us
constexpr std::uint16_t c3_latency_unsupported = 0xFFFF;  // more than 1000 us

// Fixed feature flags, table 5.10.
constexpr std::uint32_t flag_wbinvd = 1U << 0;
constexpr std::uint32_t flag_processor_c1 = 1U << 2;
constexpr std::uint32_t flag_no_fixed_sleep_button = 1U << 5;
constexpr std::uint32_t flag_no_fixed_rtc_wake = 1U << 6;
constexpr std::uint32_t flag_timer_32_bits = 1U << 8;
constexpr std::uint32_t flag_reset_register = 1U << 10;

// IA-PC boot architecture flags, table 5.11.
constexpr std::uint16_t boot_legacy_devices = 1U << 0;
constexpr std::uint16_t boot_8042 = 1U << 1;
constexpr std::uint16_t boot_no_vga = 1U << 2;
constexpr std::uint16_t boot_no_aspm = 1U << 4;
constexpr std::uint16_t boot_no_cmos_rtc = 1U << 5;

std::uint32_t feature_flags(const PowerManagement& power) {
    // Bit 4 (power button) stays clear: there is a fixed-feature button.
    std::uint32_t flags =
        flag_wbinvd | flag_processor_c1 | flag_no_fixed_sleep_button | flag_reset_register;
    if (!power.rtc_wakes_by_fixed_event) {
        flags |= flag_no_fixed_rtc_wake;
    }
    if (power.timer_port) {
        flags |= flag_timer_32_bits;
    }
    return flags;
}

std::uint16_t boot_flags(const PlatformDescription& platform) {
    const LegacyDevices& legacy = platform.legacy;
    unsigned flags = 0;
    flags |= legacy.serial_ports.empty() ? 0U : boot_legacy_devices;
    flags |= legacy.i8042_keyboard || legacy.i8042_mouse ? boot_8042 : 0U;
    flags |= legacy.vga ? 0U : boot_no_vga;
    flags |= platform.pci.aspm_supported ? 0U : boot_no_aspm;
    flags |= legacy.rtc ? 0U : boot_no_cmos_rtc;
    return static_cast<std::uint16_t>(flags);
}

/// From the SMI command port to the GPE blocks: the 32-bit addresses and their lengths.
void write_blocks(TableWriter& writer, const PowerManagement& power) {
    const PortRange gpe0 = power.gpe0.value_or(PortRange{});
    writer.u32(power.smi_command_port);
    writer.u8(power.acpi_enable_value).u8(power.acpi_disable_value);
    writer.u8(0).u8(0);  // no S4BIOS, no P-state control by SMI
    writer.u32(power.event_port).u32(0);
    writer.u32(power.control_port).u32(0);
    writer.u32(0);  // no PM2 control
    writer.u32(power.timer_port.value_or(0));
    writer.u32(gpe0.base).u32(0);
    writer.u8(4).u8(2).u8(0).u8(power.timer_port ? 4 : 0);
    writer.u8(gpe0.size).u8(0).u8(0);
    writer.u8(0);  // no C-state notification by SMI
}

/// The same blocks once more as generic addresses.
void write_extended_blocks(TableWriter& writer, const PowerManagement& power) {
    constexpr unsigned byte_access = 1;
    constexpr unsigned word_access = 2;
    constexpr unsigned dword_access = 3;
    writer.io_register(power.event_port, 32, word_access).no_register();
    writer.io_register(power.control_port, 16, word_access).no_register();
    writer.no_register();  // PM2 control
    if (power.timer_port) {
        writer.io_register(*power.timer_port, 32, dword_access);
    } else {
        writer.no_register();
    }
    if (power.gpe0) {
        writer.io_register(power.gpe0->base, power.gpe0->size * 8, byte_access);
    } else {
        writer.no_register();
    }
    writer.no_register();  // GPE1
}

}  // namespace

Table make_fadt(const PlatformDescription& platform, std::uint32_t facs_address,
                std::uint32_t dsdt_address) {
    const PowerManagement& power = platform.power;
    TableWriter writer("FACP", 6);
    writer.u32(facs_address).u32(dsdt_address);
    writer.u8(0).u8(0);  // reserved, unspecified power profile
    writer.u16(platform.sci.gsi);
    write_blocks(writer, power);
    writer.u16(c2_latency_unsupported).u16(c3_latency_unsupported);
    writer.zeros(4);  // cache flush size and stride: not used with WBINVD
    writer.zeros(2);  // no duty cycle
    writer.zeros(2);  // no day and month alarm
    writer.u8(platform.legacy.rtc ? rtc_century_index : 0);
    writer.u16(boot_flags(platform)).zeros(1);
    writer.u32(feature_flags(power));
    writer.io_register(power.reset_port, 8, 1).u8(power.reset_value);
    writer.u16(0);  // no Arm boot flags
    writer.u8(5);   // minor version: 6.5
    writer.u64(0);  // X_FIRMWARE_CTRL must be zero when FIRMWARE_CTRL is not
    writer.u64(dsdt_address);
    write_extended_blocks(writer, power);
    writer.no_register().no_register();  // sleep control and status: hardware-reduced only
    writer.text(oem_id, 8, '\0');        // hypervisor vendor
    CUPULE_ASSERT(writer.size() == fadt_size);
    return {"FACP", std::move(writer).finish()};
}

}  // namespace cupule::acpi
