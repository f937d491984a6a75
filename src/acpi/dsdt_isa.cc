#include <array>
#include <span>
#include <string>
#include <vector>

#include "acpi/dsdt.h"
#include "base/assert.h"

namespace cupule::acpi {

using namespace aml;

namespace {

constexpr std::uint16_t irq_bit(unsigned number) {
    return static_cast<std::uint16_t>(1U << number);
}

Resource ports(std::uint16_t base, std::uint8_t count) {
    return io_ports(base, base, 1, count);
}

/// An ISA interrupt: edge, active high, exclusive.
Resource isa_irq(std::uint32_t number) {
    if (number < 16) {
        return irq_no_flags(irq_bit(number));
    }
    return interrupt(Trigger::edge, Polarity::active_high, Sharing::exclusive, std::array{number});
}

/// A range of any size; an IO descriptor holds up to 255 ports.
Resource reserved_port_range(const PortRange& range) {
    CUPULE_ASSERT(range.size > 0 && range.base + range.size <= 0x10000);
    if (range.size <= 0xFF) {
        return ports(range.base, static_cast<std::uint8_t>(range.size));
    }
    return word_address_space({.kind = AddressKind::io,
                               .usage = AddressUsage::consumer,
                               .type_flags = io_entire_range,
                               .minimum = range.base,
                               .maximum = range.base + range.size - 1});
}

Term isa_device(std::string_view what, std::string_view id, std::span<const Resource> resources) {
    return device(what, {
                            name("_HID", eisa_id(id)),
                            name("_CRS", resource_template(resources)),
                        });
}

Term isa_device(std::string_view what, std::string_view id,
                std::initializer_list<Resource> resources) {
    return isa_device(what, id, std::span<const Resource>(resources.begin(), resources.size()));
}

Term serial_port(const SerialPort& port) {
    constexpr std::uint8_t uart_ports = 8;
    CUPULE_ASSERT(port.index >= 1 && port.index <= 9);
    return device(
        "COM" + std::to_string(port.index),
        {
            name("_HID", eisa_id("PNP0501")),
            name("_UID", integer(port.index)),
            name("_CRS", resource_template({ports(port.base, uart_ports), isa_irq(port.irq)})),
        });
}

/// Ports of the board: no driver may take them.
Term reserved_ports(const PlatformDescription& platform) {
    if (platform.reserved_ports.empty()) {
        return {};
    }
    std::vector<Resource> ranges;
    for (const PortRange& range : platform.reserved_ports) {
        ranges.push_back(reserved_port_range(range));
    }
    return device("SYSR", {
                              name("_HID", eisa_id("PNP0C02")),
                              name("_UID", integer(0)),
                              name("_CRS", resource_template(ranges)),
                          });
}

Term input_devices(const LegacyDevices& legacy) {
    constexpr std::uint32_t keyboard_irq = 1;
    constexpr std::uint32_t mouse_irq = 12;
    Term devices;
    if (legacy.i8042_keyboard) {
        devices +=
            isa_device("KBD", "PNP0303", {ports(0x60, 1), ports(0x64, 1), isa_irq(keyboard_irq)});
    }
    if (legacy.i8042_mouse) {
        devices += isa_device("MOU", "PNP0F13", {isa_irq(mouse_irq)});
    }
    return devices;
}

}  // namespace

Term make_isa_devices(const PlatformDescription& platform) {
    const LegacyDevices& legacy = platform.legacy;
    constexpr std::uint32_t cascade_irq = 2;
    Term devices = reserved_ports(platform);
    if (legacy.pic_8259) {
        devices +=
            isa_device("PIC", "PNP0000",
                       {ports(0x20, 2), ports(0xA0, 2), ports(0x4D0, 2), isa_irq(cascade_irq)});
    }
    if (legacy.pit_8254) {
        devices += isa_device("TIMR", "PNP0100", {ports(0x40, 4), isa_irq(0)});
    }
    if (legacy.speaker) {
        devices += isa_device("SPKR", "PNP0800", {ports(0x61, 1)});
    }
    if (legacy.rtc) {
        constexpr std::uint32_t rtc_irq = 8;
        devices += isa_device("RTC", "PNP0B00", {ports(0x70, 2), isa_irq(rtc_irq)});
    }
    devices += input_devices(legacy);
    for (const SerialPort& port : legacy.serial_ports) {
        devices += serial_port(port);
    }
    return devices;
}

}  // namespace cupule::acpi
