#include "acpi/tables.h"

#include <utility>

namespace cupule::acpi {

Table make_rsdp(std::uint32_t rsdt_address, std::uint64_t xsdt_address) {
    constexpr std::size_t size = 36;
    constexpr std::size_t checksum_offset = 8;
    constexpr std::size_t checksum_length = 20;  // the ACPI 1.0 part
    constexpr std::size_t extended_checksum_offset = 32;
    TableWriter first;
    first.text("RSD PTR ", 8).u8(0).text(oem_id, 6).u8(2).u32(rsdt_address);
    first.u32(size).u64(xsdt_address).u8(0).zeros(3);
    TableWriter whole;
    whole.append(std::move(first).finish_with_checksum(checksum_offset, checksum_length));
    return {"RSDP", std::move(whole).finish_with_checksum(extended_checksum_offset, size)};
}

Table make_rsdt(std::span<const std::uint32_t> tables) {
    TableWriter writer("RSDT", 1);
    for (const std::uint32_t address : tables) {
        writer.u32(address);
    }
    return {"RSDT", std::move(writer).finish()};
}

Table make_xsdt(std::span<const std::uint64_t> tables) {
    TableWriter writer("XSDT", 1);
    for (const std::uint64_t address : tables) {
        writer.u64(address);
    }
    return {"XSDT", std::move(writer).finish()};
}

Table make_facs() {
    TableWriter writer;
    writer.text("FACS", 4).u32(64);
    writer.zeros(4);   // hardware signature
    writer.zeros(4);   // firmware waking vector
    writer.zeros(4);   // global lock
    writer.zeros(4);   // flags: no S4BIOS, no 64-bit wake
    writer.zeros(8);   // extended waking vector
    writer.u8(2);      // version
    writer.zeros(31);  // reserved, OSPM flags, reserved
    return {"FACS", std::move(writer).finish_plain()};
}

Table make_hpet(const Hpet& hpet) {
    TableWriter writer("HPET", 1);
    writer.u32(hpet.event_timer_block_id);
    writer.u8(0).u8(64).u8(0).u8(0).u64(hpet.base);  // GAS: system memory, 64 bits
    writer.u8(0);                                    // HPET number
    writer.u16(hpet.tick_minimum);
    writer.u8(0);  // no page protection guaranteed
    return {"HPET", std::move(writer).finish()};
}

Table make_mcfg(const Ecam& ecam) {
    TableWriter writer("MCFG", 1);
    writer.zeros(8);
    writer.u64(ecam.base).u16(0).u8(ecam.bus_first).u8(ecam.bus_last).zeros(4);
    return {"MCFG", std::move(writer).finish()};
}

Table make_ssdt(const aml::Term& body) {
    TableWriter writer("SSDT", 2);
    writer.append(body.bytes());
    return {"SSDT", std::move(writer).finish()};
}

}  // namespace cupule::acpi
