#include <string>
#include <vector>

#include "acpi/aml_field.h"
#include "acpi/aml_statement.h"
#include "acpi/dsdt.h"
#include "base/assert.h"

namespace cupule::acpi {

using namespace aml;

namespace {

constexpr std::size_t pirq_links_max = 8;

// A PIRQ register: bit 7 = not routed, bits 3:0 = the IRQ.
constexpr std::uint8_t pirq_disabled = 0x80;
constexpr std::uint8_t pirq_irq = 0x0F;

char link_letter(std::size_t index) {
    return static_cast<char>('A' + index);
}

std::string link_name(std::size_t index) {
    return std::string("LNK") + link_letter(index);
}

std::string register_name(std::size_t index) {
    return std::string("PIR") + link_letter(index);
}

/// One element of a _PRT (6.2.13): any function of the slot, pin, source, index in the source.
Term routing(const PciRoute& route, const Term& source, std::uint32_t source_index) {
    CUPULE_ASSERT(route.device <= 31 && route.pin <= 3);
    const std::uint64_t any_function = 0xFFFF;
    return package({integer((std::uint64_t{route.device} << 16) | any_function), integer(route.pin),
                    source, integer(source_index)});
}

Term apic_routing(const PciHost& pci) {
    std::vector<Term> elements;
    for (const PciRoute& route : pci.routes) {
        elements.push_back(routing(route, integer(0), route.gsi));
    }
    return package(elements);
}

Term pic_routing(const PciHost& pci) {
    std::vector<Term> elements;
    for (const PciRoute& route : pci.routes) {
        if (route.pirq_link) {
            CUPULE_ASSERT(pci.lpc && *route.pirq_link < pci.lpc->pirq_registers.size());
            const std::string link = "\\_SB.PCI0.LPC." + link_name(*route.pirq_link);
            elements.push_back(routing(route, path(link), 0));
        }
    }
    return package(elements);
}

/// The registers as fields of the bridge's own configuration space.
Term pirq_registers(const LpcBridge& lpc) {
    const std::uint64_t row = lpc.pirq_registers.front() & 0xF0U;
    std::vector<FieldEntry> entries;
    for (std::size_t i = 0; i < lpc.pirq_registers.size(); ++i) {
        const std::uint64_t offset = lpc.pirq_registers[i];
        CUPULE_ASSERT(offset >= row && offset < row + 16);
        entries.push_back(at_offset(offset - row));
        entries.push_back(field_bits(register_name(i), 8));
    }
    return {
        operation_region("PIRQ", RegionSpace::pci_config, row, 16),
        field("PIRQ", FieldAccess::byte, FieldLock::no_lock, FieldUpdate::preserve, entries),
    };
}

Resource link_irqs(std::uint16_t mask) {
    return irq(Trigger::level, Polarity::active_low, Sharing::shared, mask);
}

/// What all links do with their register's value: LCRS makes a _CRS of it, LSTA a _STA; LSRS
/// makes the value from the resources given to _SRS.
Term link_helpers() {
    constexpr std::uint8_t irq_mask_offset = 1;  // in an IRQ descriptor, 6.4.2.1
    constexpr std::uint8_t present_disabled = 0x09;
    constexpr std::uint8_t present_enabled = 0x0B;
    const Term routed = logical_not(bit_and(arg(0), integer(pirq_disabled)));
    return {
        name("CRSB", resource_template({link_irqs(0)})),
        create_word_field(path("CRSB"), irq_mask_offset, "CIRQ"),
        method("LCRS", 1, Serialized::yes,
               {
                   store(integer(0), path("CIRQ")),
                   if_true(routed, shift_left(integer(1), bit_and(arg(0), integer(pirq_irq)),
                                              path("CIRQ"))),
                   return_value(path("CRSB")),
               }),
        method("LSTA", 1, Serialized::no,
               {
                   if_true(routed, return_value(integer(present_enabled))),
                   return_value(integer(present_disabled)),
               }),
        method("LSRS", 1, Serialized::yes,
               {
                   create_word_field(arg(0), irq_mask_offset, "SIRQ"),
                   find_set_right_bit(path("SIRQ"), local(0)),
                   if_true(local(0), return_value(subtract(local(0), integer(1)))),
                   return_value(integer(pirq_disabled)),
               }),
    };
}

Term link_device(std::size_t index, std::uint16_t irq_mask) {
    const Term value = path(register_name(index));
    return device(link_name(index),
                  {
                      name("_HID", eisa_id("PNP0C0F")),
                      name("_UID", integer(index + 1)),
                      name("_PRS", resource_template({link_irqs(irq_mask)})),
                      method("_STA", 0, Serialized::no, return_value(call("LSTA", value))),
                      method("_DIS", 0, Serialized::no, store(integer(pirq_disabled), value)),
                      method("_CRS", 0, Serialized::no, return_value(call("LCRS", value))),
                      method("_SRS", 1, Serialized::no, store(call("LSRS", arg(0)), value)),
                  });
}

}  // namespace

Term make_pci_routing(const PciHost& pci) {
    if (pci.routes.empty()) {
        return {};
    }
    return {
        name("APRT", apic_routing(pci)),
        name("PPRT", pic_routing(pci)),
        method("_PRT", 0, Serialized::no,
               {
                   if_true(path("\\PICM"), return_value(path("APRT"))),
                   return_value(path("PPRT")),
               }),
    };
}

Term make_pirq_links(const LpcBridge& lpc) {
    if (lpc.pirq_registers.empty()) {
        return {};
    }
    CUPULE_ASSERT(lpc.pirq_registers.size() <= pirq_links_max);
    Term all{pirq_registers(lpc), link_helpers()};
    for (std::size_t i = 0; i < lpc.pirq_registers.size(); ++i) {
        all += link_device(i, lpc.pirq_irq_mask);
    }
    return all;
}

}  // namespace cupule::acpi
