#include "acpi/mp_table.h"

#include <cstddef>
#include <string_view>
#include <utility>

#include "acpi/table.h"
#include "base/assert.h"

namespace cupule::acpi {

namespace {

constexpr std::uint8_t specification_revision = 4;  // 1.4
constexpr std::size_t pointer_size = 16;
constexpr std::size_t pointer_checksum_offset = 10;
constexpr std::size_t header_size = 44;
constexpr std::size_t header_checksum_offset = 7;

// Entry types, table 4-3.
constexpr std::uint8_t type_processor = 0;
constexpr std::uint8_t type_bus = 1;
constexpr std::uint8_t type_io_apic = 2;
constexpr std::uint8_t type_io_interrupt = 3;
constexpr std::uint8_t type_local_interrupt = 4;

// Interrupt types, table 4-11.
constexpr std::uint8_t vectored = 0;
constexpr std::uint8_t nmi = 1;
constexpr std::uint8_t external_8259 = 3;

// Guests take the id of a PCI bus for its bus number, so the ISA bus gets what is left.
constexpr std::uint8_t bus_pci = 0;
constexpr std::uint8_t bus_isa = 1;

constexpr std::uint32_t processor_apic_id_max = 254;
constexpr std::uint8_t all_local_apics = 0xFF;
constexpr std::uint16_t conforms_to_bus = 0;

/// Polarity in bits 1:0, trigger in 3:2, table 4-10.
std::uint16_t interrupt_flags(Trigger trigger, Polarity polarity) {
    const unsigned polarity_bits = polarity == Polarity::active_high ? 1U : 3U;
    const unsigned trigger_bits = trigger == Trigger::edge ? 1U : 3U;
    return static_cast<std::uint16_t>(polarity_bits | (trigger_bits << 2));
}

/// The entries of the configuration table, counted as they are written.
class Entries {
  public:
    void processor(std::uint8_t apic_id, bool is_boot_processor,
                   const ProcessorIdentity& identity) {
        constexpr std::uint8_t local_apic_version = 0x14;
        constexpr unsigned enabled = 1U << 0;
        constexpr unsigned boot_processor = 1U << 1;
        const unsigned flags = enabled | (is_boot_processor ? boot_processor : 0U);
        start(type_processor).u8(apic_id).u8(local_apic_version).u8(flags);
        writer_.u32(identity.signature).u32(identity.feature_flags).zeros(8);
    }

    void bus(std::uint8_t id, std::string_view type) { start(type_bus).u8(id).text(type, 6); }

    void io_apic(const IoApic& chip) {
        constexpr std::uint8_t usable = 1;
        start(type_io_apic).u8(chip.id).u8(chip.version).u8(usable).u32(chip.address);
    }

    void io_interrupt(std::uint8_t type, std::uint16_t flags, std::uint8_t source_bus,
                      unsigned source_irq, std::uint8_t io_apic_id, std::uint32_t pin) {
        start(type_io_interrupt).u8(type).u16(flags).u8(source_bus).u8(source_irq);
        writer_.u8(io_apic_id).u8(pin);
    }

    void local_interrupt(std::uint8_t type, std::uint8_t lint) {
        start(type_local_interrupt).u8(type).u16(conforms_to_bus).u8(bus_isa).u8(0);
        writer_.u8(all_local_apics).u8(lint);
    }

    [[nodiscard]] std::uint16_t count() const { return count_; }
    [[nodiscard]] std::vector<std::uint8_t> take() && { return std::move(writer_).finish_plain(); }

  private:
    TableWriter& start(std::uint8_t type) {
        ++count_;
        return writer_.u8(type);
    }

    TableWriter writer_;
    std::uint16_t count_ = 0;
};

const IoApic* io_apic_of(const PlatformDescription& platform, std::uint32_t gsi) {
    for (const IoApic& chip : platform.io_apics) {
        if (gsi >= chip.gsi_base && gsi - chip.gsi_base < chip.pins) {
            return &chip;
        }
    }
    return nullptr;
}

void write_isa_interrupts(Entries& entries, const PlatformDescription& platform) {
    const IoApic* chip = io_apic_of(platform, 0);
    if (chip == nullptr) {
        return;
    }
    constexpr unsigned timer_pin = 2;
    constexpr unsigned cascade_irq = 2;
    if (platform.legacy.pic_8259) {
        entries.io_interrupt(external_8259, conforms_to_bus, bus_isa, 0, chip->id, 0);
    }
    const SystemControlInterrupt& sci = platform.sci;
    for (unsigned irq = 0; irq < 16; ++irq) {
        if (irq == cascade_irq) {
            continue;  // its pin belongs to the timer
        }
        const std::uint16_t flags =
            irq == sci.gsi ? interrupt_flags(sci.trigger, sci.polarity) : conforms_to_bus;
        const unsigned pin = irq == 0 ? timer_pin : irq;
        entries.io_interrupt(vectored, flags, bus_isa, irq, chip->id, pin);
    }
}

void write_pci_interrupts(Entries& entries, const PlatformDescription& platform) {
    const std::uint16_t flags = interrupt_flags(Trigger::level, Polarity::active_low);
    for (const PciRoute& route : platform.pci.routes) {
        CUPULE_ASSERT(route.device <= 31 && route.pin <= 3);
        if (const IoApic* chip = io_apic_of(platform, route.gsi)) {
            const unsigned source = (static_cast<unsigned>(route.device) << 2) | route.pin;
            entries.io_interrupt(vectored, flags, bus_pci, source, chip->id,
                                 route.gsi - chip->gsi_base);
        }
    }
}

Entries make_entries(const PlatformDescription& platform, const ProcessorIdentity& identity) {
    Entries entries;
    for (std::size_t i = 0; i < platform.processors.size(); ++i) {
        const std::uint32_t apic_id = platform.processors[i].apic_id;
        if (apic_id <= processor_apic_id_max) {
            entries.processor(static_cast<std::uint8_t>(apic_id), i == 0, identity);
        }
    }
    entries.bus(bus_pci, "PCI");
    entries.bus(bus_isa, "ISA");
    for (const IoApic& chip : platform.io_apics) {
        entries.io_apic(chip);
    }
    write_isa_interrupts(entries, platform);
    write_pci_interrupts(entries, platform);
    entries.local_interrupt(external_8259, 0);
    entries.local_interrupt(nmi, 1);
    return entries;
}

/// MP Floating Pointer Structure (4.1): configuration table present, virtual wire mode.
std::vector<std::uint8_t> make_pointer(std::uint32_t configuration_address) {
    TableWriter writer;
    writer.text("_MP_", 4).u32(configuration_address).u8(1).u8(specification_revision);
    writer.u8(0).zeros(5);
    return std::move(writer).finish_with_checksum(pointer_checksum_offset, pointer_size);
}

/// MP Configuration Table (4.2).
std::vector<std::uint8_t> make_configuration(const PlatformDescription& platform, Entries entries) {
    const std::uint16_t count = entries.count();
    const std::vector<std::uint8_t> body = std::move(entries).take();
    const std::size_t size = header_size + body.size();
    TableWriter writer;
    writer.text("PCMP", 4).u16(size).u8(specification_revision).u8(0);
    writer.text(oem_id, 8).text("VIRTUAL PC", 12);
    writer.u32(0).u16(0);  // no OEM table
    writer.u16(count).u32(platform.local_apic_address);
    writer.u16(0).u8(0).zeros(1);  // no extended table
    CUPULE_ASSERT(writer.size() == header_size);
    writer.append(body);
    return std::move(writer).finish_with_checksum(header_checksum_offset, size);
}

}  // namespace

base::Result<std::vector<std::uint8_t>> make_mp_table(const PlatformDescription& platform,
                                                      const ProcessorIdentity& identity,
                                                      std::uint32_t address,
                                                      std::uint32_t size_max) {
    CUPULE_ASSERT(address % 16 == 0 && size_max <= 0xFFFF);
    TableWriter whole;
    whole.append(make_pointer(address + pointer_size));
    whole.append(make_configuration(platform, make_entries(platform, identity)));
    if (whole.size() > size_max) {
        return base::fail("the MP table needs {} bytes and has room for {}: use fewer processors",
                          whole.size(), size_max);
    }
    return std::move(whole).finish_plain();
}

}  // namespace cupule::acpi
