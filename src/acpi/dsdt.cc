#include "acpi/dsdt.h"

#include <utility>
#include <vector>

#include "acpi/aml_statement.h"
#include "base/assert.h"

namespace cupule::acpi {

using namespace aml;

namespace {

constexpr std::uint64_t four_gib = std::uint64_t{1} << 32;

/// \_PIC (5.8.1): the OS says which interrupt model it uses, _PRT looks at PICM.
Term interrupt_model() {
    return {
        name("PICM", integer(0)),
        method("\\_PIC", 1, Serialized::no, store(arg(0), path("PICM"))),
    };
}

/// \_Sx (7.4.2): SLP_TYP for PM1a and PM1b, two reserved elements.
Term sleep_state(std::string_view state, std::uint8_t sleep_type) {
    return name(state, package({integer(sleep_type), integer(0), integer(0), integer(0)}));
}

Term sleep_states(const PowerManagement& power) {
    Term states = sleep_state("\\_S0", 0);
    if (power.s3_sleep_type) {
        states += sleep_state("\\_S3", *power.s3_sleep_type);
    }
    states += sleep_state("\\_S5", power.s5_sleep_type);
    return states;
}

/// Processor device (8.4); _UID is the processor UID of the MADT.
Term processor(std::size_t index, const Processor& processor) {
    return device(processor_path(index).substr(5), {
                                                       name("_HID", string("ACPI0007")),
                                                       name("_UID", integer(index)),
                                                       processor.objects,
                                                   });
}

Resource reserved_range(const AddressRange& range) {
    const std::uint64_t end = range.base + range.size;
    CUPULE_ASSERT(range.size > 0 && end > range.base);
    if (end <= four_gib && range.size < four_gib) {
        return memory32_fixed(MemoryAccess::read_write, static_cast<std::uint32_t>(range.base),
                              static_cast<std::uint32_t>(range.size));
    }
    return qword_address_space({.kind = AddressKind::memory,
                                .usage = AddressUsage::consumer,
                                .type_flags = memory_read_write,
                                .minimum = range.base,
                                .maximum = end - 1});
}

/// Memory that belongs to the board. Linux accepts an MCFG only if its range is reserved here
/// (PCI Firmware Specification 3.3, note 2 to table 4-2).
Term reserved_memory(const PlatformDescription& platform) {
    std::vector<Resource> ranges;
    if (const auto& ecam = platform.pci.ecam) {
        constexpr std::uint64_t bus_size = 1 << 20;
        const std::uint64_t first = ecam->base + ecam->bus_first * bus_size;
        const std::uint64_t last = ecam->base + (ecam->bus_last + std::uint64_t{1}) * bus_size;
        ranges.push_back(reserved_range({first, last - first}));
    }
    for (const AddressRange& range : platform.reserved_memory) {
        ranges.push_back(reserved_range(range));
    }
    if (ranges.empty()) {
        return {};
    }
    return device("MEM", {
                             name("_HID", eisa_id("PNP0C02")),
                             name("_UID", integer(1)),
                             name("_CRS", resource_template(ranges)),
                         });
}

Term hpet_device(const Hpet& hpet) {
    constexpr std::uint64_t size = 0x400;
    return device("HPET", {
                              name("_HID", eisa_id("PNP0103")),
                              name("_UID", integer(0)),
                              name("_CRS", resource_template({reserved_range({hpet.base, size})})),
                          });
}

}  // namespace

std::string processor_path(std::size_t index) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    CUPULE_ASSERT(index <= 0xFFF);
    return {'\\',
            '_',
            'S',
            'B',
            '.',
            'C',
            digits[index >> 8],
            digits[(index >> 4) & 0xF],
            digits[index & 0xF]};
}

Term contributed(const PlatformDescription& platform, AmlPlace place) {
    Term all;
    for (const AmlContribution& contribution : platform.contributions) {
        if (contribution.place == place) {
            all += contribution.aml;
        }
    }
    return all;
}

Table make_dsdt(const PlatformDescription& platform) {
    Term system_bus;
    for (std::size_t i = 0; i < platform.processors.size(); ++i) {
        system_bus += processor(i, platform.processors[i]);
    }
    system_bus += reserved_memory(platform);
    if (platform.hpet) {
        system_bus += hpet_device(*platform.hpet);
    }
    system_bus += make_pci_host(platform);
    system_bus += contributed(platform, AmlPlace::system_bus);

    TableWriter writer("DSDT", 2);  // revision 2: 64-bit integers
    writer.append(interrupt_model().bytes());
    writer.append(sleep_states(platform.power).bytes());
    writer.append(scope("\\_SB", system_bus).bytes());
    writer.append(make_pci_events(platform).bytes());
    writer.append(contributed(platform, AmlPlace::root).bytes());
    return {"DSDT", std::move(writer).finish()};
}

}  // namespace cupule::acpi
