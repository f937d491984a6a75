#include <utility>

#include "acpi/tables.h"

namespace cupule::acpi {

namespace {

// Interrupt controller structure types, table 5.21.
constexpr std::uint8_t type_local_apic = 0;
constexpr std::uint8_t type_io_apic = 1;
constexpr std::uint8_t type_source_override = 2;
constexpr std::uint8_t type_local_apic_nmi = 4;
constexpr std::uint8_t type_local_x2apic = 9;
constexpr std::uint8_t type_local_x2apic_nmi = 10;

constexpr std::uint32_t flag_pcat_compatible = 1U << 0;
constexpr std::uint32_t processor_enabled = 1U << 0;
constexpr std::uint32_t local_apic_id_max = 254;
constexpr std::uint8_t bus_isa = 0;
constexpr std::uint8_t lint1 = 1;

bool needs_x2apic(std::uint32_t apic_id, std::size_t uid) {
    return apic_id > local_apic_id_max || uid > local_apic_id_max;
}

/// MPS INTI flags, table 5.26: polarity in bits 1:0, trigger in 3:2, always spelled out.
std::uint16_t inti_flags(Trigger trigger, Polarity polarity) {
    const unsigned polarity_bits = polarity == Polarity::active_high ? 1U : 3U;
    const unsigned trigger_bits = trigger == Trigger::edge ? 1U : 3U;
    return static_cast<std::uint16_t>(polarity_bits | (trigger_bits << 2));
}

void write_processor(TableWriter& writer, std::uint32_t apic_id, std::size_t uid) {
    if (needs_x2apic(apic_id, uid)) {
        writer.u8(type_local_x2apic).u8(16).u16(0);
        writer.u32(apic_id).u32(processor_enabled).u32(uid);
    } else {
        writer.u8(type_local_apic).u8(8).u8(uid).u8(apic_id).u32(processor_enabled);
    }
}

void write_source_overrides(TableWriter& writer, const PlatformDescription& platform) {
    const auto write_override = [&writer](std::uint8_t irq, std::uint32_t gsi, unsigned flags) {
        writer.u8(type_source_override).u8(10).u8(bus_isa).u8(irq).u32(gsi).u16(flags);
    };
    constexpr unsigned conforms_to_bus = 0;
    if (platform.legacy.pit_8254 || platform.hpet) {
        write_override(0, 2, conforms_to_bus);
    }
    const SystemControlInterrupt& sci = platform.sci;
    write_override(sci.gsi, sci.gsi, inti_flags(sci.trigger, sci.polarity));
}

void write_nmi_inputs(TableWriter& writer, bool with_x2apic) {
    constexpr unsigned conforms_to_bus = 0;
    writer.u8(type_local_apic_nmi).u8(6).u8(0xFF).u16(conforms_to_bus).u8(lint1);
    if (with_x2apic) {
        writer.u8(type_local_x2apic_nmi).u8(12).u16(conforms_to_bus);
        writer.u32(0xFFFF'FFFF).u8(lint1).zeros(3);
    }
}

}  // namespace

Table make_madt(const PlatformDescription& platform) {
    TableWriter writer("APIC", 5);
    writer.u32(platform.local_apic_address);
    writer.u32(platform.legacy.pic_8259 ? flag_pcat_compatible : 0);
    bool with_x2apic = false;
    for (std::size_t uid = 0; uid < platform.processors.size(); ++uid) {
        const std::uint32_t apic_id = platform.processors[uid].apic_id;
        write_processor(writer, apic_id, uid);
        with_x2apic |= needs_x2apic(apic_id, uid);
    }
    for (const IoApic& io_apic : platform.io_apics) {
        writer.u8(type_io_apic).u8(12).u8(io_apic.id).u8(0);
        writer.u32(io_apic.address).u32(io_apic.gsi_base);
    }
    write_source_overrides(writer, platform);
    write_nmi_inputs(writer, with_x2apic);
    return {"APIC", std::move(writer).finish()};
}

}  // namespace cupule::acpi
