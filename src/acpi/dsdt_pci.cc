#include <string>
#include <vector>

#include "acpi/aml_statement.h"
#include "acpi/dsdt.h"
#include "base/assert.h"

namespace cupule::acpi {

using namespace aml;

namespace {

constexpr std::uint16_t config_ports = 0xCF8;
constexpr std::uint8_t config_ports_count = 8;

/// _CRS of the host bridge (6.2.2): what it forwards (producer) and what it decodes itself.
Term host_resources(const PciHost& pci) {
    const std::uint8_t bus_first = pci.ecam ? pci.ecam->bus_first : std::uint8_t{0};
    std::vector<Resource> resources = {
        word_address_space(
            {.kind = AddressKind::bus_number, .minimum = bus_first, .maximum = pci.bus_last}),
        io_ports(config_ports, config_ports, 1, config_ports_count),
    };
    for (const PortRange& window : pci.port_windows) {
        CUPULE_ASSERT(window.size > 0);
        resources.push_back(word_address_space({.kind = AddressKind::io,
                                                .type_flags = io_entire_range,
                                                .minimum = window.base,
                                                .maximum = window.base + window.size - 1}));
    }
    for (const AddressRange& window : pci.memory_windows) {
        CUPULE_ASSERT(window.size > 0);
        resources.push_back(dword_address_space({.type_flags = memory_read_write,
                                                 .minimum = window.base,
                                                 .maximum = window.base + window.size - 1}));
    }
    for (const AddressRange& window : pci.memory_windows_64) {
        CUPULE_ASSERT(window.size > 0);
        // Cacheable, not prefetchable: non-prefetchable BARs may live there too.
        resources.push_back(qword_address_space({.type_flags = memory_read_write | memory_cacheable,
                                                 .minimum = window.base,
                                                 .maximum = window.base + window.size - 1}));
    }
    return resource_template(resources);
}

/// _OSC (6.2.11, PCI Firmware Specification 3.3, 4.5.1): grants what is asked for and in
/// `granted`, and says so in the status bits of the first DWORD.
Term operating_system_capabilities(std::uint32_t granted) {
    constexpr std::uint8_t unrecognized_uuid = 1 << 2;
    constexpr std::uint8_t unrecognized_revision = 1 << 3;
    constexpr std::uint8_t capabilities_masked = 1 << 4;
    const Term status = path("CDW1");
    const Term control = path("CDW3");
    return method("_OSC", 4, Serialized::yes,
                  {
                      create_dword_field(arg(3), 0, "CDW1"),
                      if_true(equal(arg(0), to_uuid("33db4d5b-1ff7-401c-9657-7441c03dd766")),
                              {
                                  create_dword_field(arg(3), 8, "CDW3"),
                                  bit_and(control, integer(granted), local(0)),
                                  if_true(not_equal(arg(1), integer(1)),
                                          bit_or(status, integer(unrecognized_revision), status)),
                                  if_true(not_equal(control, local(0)),
                                          bit_or(status, integer(capabilities_masked), status)),
                                  store(local(0), control),
                              }),
                      otherwise(bit_or(status, integer(unrecognized_uuid), status)),
                      return_value(arg(3)),
                  });
}

Term lpc_bridge(const PlatformDescription& platform, const LpcBridge& lpc) {
    CUPULE_ASSERT(lpc.device <= 31 && lpc.function <= 7);
    return device("LPC",
                  {
                      name("_ADR", integer((std::uint64_t{lpc.device} << 16) | lpc.function)),
                      make_pirq_links(lpc),
                      make_isa_devices(platform),
                      contributed(platform, AmlPlace::lpc_bridge),
                  });
}

}  // namespace

/// \_GPE (5.6.4.1): the operating system looks at the whole bus (5.6.6, Bus Check), and takes the
/// driver of what has gone away. Edge-triggered: the status is cleared first, so that what happens
/// meanwhile is another event.
Term make_pci_events(const PlatformDescription& platform) {
    if (!platform.pci.bus_check_event) {
        return {};
    }
    constexpr std::uint64_t bus_check = 0;
    CUPULE_ASSERT(platform.power.gpe0 && *platform.pci.bus_check_event < 16);
    const std::string event{'_', 'E', '0', "0123456789ABCDEF"[*platform.pci.bus_check_event]};
    return scope("\\_GPE",
                 method(event, 0, Serialized::no, notify("\\_SB.PCI0", integer(bus_check))));
}

Term make_pci_host(const PlatformDescription& platform) {
    const PciHost& pci = platform.pci;
    const std::uint8_t bus_first = pci.ecam ? pci.ecam->bus_first : std::uint8_t{0};
    Term body{
        name("_HID", eisa_id("PNP0A08")),
        name("_CID", eisa_id("PNP0A03")),
        name("_SEG", integer(0)),
        name("_BBN", integer(bus_first)),
        name("_UID", integer(0)),
        name("_CRS", host_resources(pci)),
        operating_system_capabilities(pci.osc_granted),
        make_pci_routing(pci),
    };
    if (pci.lpc) {
        body += lpc_bridge(platform, *pci.lpc);
    } else {
        body += make_isa_devices(platform);
    }
    body += contributed(platform, AmlPlace::pci_host);
    return device("PCI0", body);
}

}  // namespace cupule::acpi
