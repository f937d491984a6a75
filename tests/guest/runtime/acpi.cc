#include "runtime/acpi.h"

#include "runtime/boot_info.h"
#include "runtime/cpu.h"

namespace cupule::guest {
namespace {

constexpr std::size_t header_size = 36;
constexpr std::uint64_t mapped_end = std::uint64_t{1} << 32;
constexpr std::uint32_t table_size_max = 1 << 20;

constinit Madt the_madt;
constinit bool madt_was_read = false;

bool equal(std::uint64_t address, const char* text) {
    for (; *text != '\0'; ++address, ++text) {
        if (load<char>(address) != *text) {
            return false;
        }
    }
    return true;
}

bool is_rsdp(std::uint64_t address) {
    return address != 0 && equal(address, "RSD PTR ") && checksum_is_zero(address, 20);
}

std::uint64_t find_rsdp() {
    if (is_rsdp(boot_info().rsdp)) {
        return boot_info().rsdp;
    }
    if (const std::uint64_t ebda = extended_bios_data_area(); ebda != 0) {
        if (const auto rsdp = find_signature("RSD PTR ", ebda, ebda + 1024); is_rsdp(rsdp)) {
            return rsdp;
        }
    }
    std::uint64_t from = 0xE0000;
    while (const auto rsdp = find_signature("RSD PTR ", from, 0x100000)) {
        if (is_rsdp(rsdp)) {
            return rsdp;
        }
        from = rsdp + 16;
    }
    return 0;
}

bool is_table(std::uint64_t address) {
    if (address == 0 || address + header_size > mapped_end) {
        return false;
    }
    const auto size = load<std::uint32_t>(address + 4);
    return size >= header_size && size <= table_size_max && checksum_is_zero(address, size);
}

void read_madt_entry(Madt& madt, std::uint64_t entry) {
    const auto add = [&](std::uint32_t id, std::uint32_t flags) {
        if ((flags & 1) != 0 && madt.processor_count < Madt::processor_max) {
            madt.apic_ids[madt.processor_count++] = id;
        }
    };
    switch (load<std::uint8_t>(entry)) {
        case 0:  // processor local APIC
            add(load<std::uint8_t>(entry + 3), load<std::uint32_t>(entry + 4));
            break;
        case 9:  // processor local x2APIC
            add(load<std::uint32_t>(entry + 4), load<std::uint32_t>(entry + 8));
            break;
        case 1:  // I/O APIC
            ++madt.io_apic_count;
            if (load<std::uint32_t>(entry + 8) == 0) {
                madt.io_apic_address = load<std::uint32_t>(entry + 4);
            }
            break;
        default:
            break;
    }
}

template <typename Visit>
void for_each_madt_entry(Visit visit) {
    const std::uint64_t table = find_table("APIC");
    if (table == 0) {
        return;
    }
    const std::uint64_t end = table + load<std::uint32_t>(table + 4);
    std::uint64_t entry = table + 44;
    while (entry + 2 <= end && load<std::uint8_t>(entry + 1) >= 2) {
        visit(entry);
        entry += load<std::uint8_t>(entry + 1);
    }
}

}  // namespace

bool checksum_is_zero(std::uint64_t address, std::size_t size) {
    std::uint8_t sum = 0;
    for (std::size_t i = 0; i < size; ++i) {
        sum = static_cast<std::uint8_t>(sum + load<std::uint8_t>(address + i));
    }
    return sum == 0;
}

std::uint64_t find_signature(const char* text, std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t address = (from + 15) & ~std::uint64_t{15}; address + 16 <= to;
         address += 16) {
        if (equal(address, text)) {
            return address;
        }
    }
    return 0;
}

std::uint64_t extended_bios_data_area() {
    std::uint64_t pointer = 0x40E;
    asm("" : "+r"(pointer));  // keeps the compiler from taking a small address for a null pointer
    const std::uint64_t address = std::uint64_t{load<std::uint16_t>(pointer)} << 4;
    return address >= 0x80000 && address < 0xA0000 ? address : 0;
}

std::uint64_t find_table(const char (&signature)[5]) {
    const std::uint64_t rsdp = find_rsdp();
    if (rsdp == 0) {
        return 0;
    }
    std::uint64_t root = load<std::uint8_t>(rsdp + 15) >= 2 ? load<std::uint64_t>(rsdp + 24) : 0;
    const std::size_t width = is_table(root) ? 8 : 4;
    if (width == 4) {
        root = load<std::uint32_t>(rsdp + 16);
    }
    if (!is_table(root)) {
        return 0;
    }
    const std::uint64_t end = root + load<std::uint32_t>(root + 4);
    for (std::uint64_t entry = root + header_size; entry + width <= end; entry += width) {
        const std::uint64_t table =
            width == 8 ? load<std::uint64_t>(entry) : load<std::uint32_t>(entry);
        if (is_table(table) && equal(table, signature)) {
            return table;
        }
    }
    return 0;
}

Fadt fadt() {
    const std::uint64_t t = find_table("FACP");
    if (t == 0) {
        return {};
    }
    Fadt f{.sci_interrupt = load<std::uint16_t>(t + 46),
           .smi_command = load<std::uint16_t>(t + 48),
           .acpi_enable = load<std::uint8_t>(t + 52),
           .pm1_event = load<std::uint16_t>(t + 56),
           .pm1_control = load<std::uint16_t>(t + 64),
           .pm_timer = load<std::uint16_t>(t + 76),
           .gpe0 = load<std::uint16_t>(t + 80),
           .gpe0_size = load<std::uint8_t>(t + 92),
           .boot_architecture = load<std::uint16_t>(t + 109),
           .flags = load<std::uint32_t>(t + 112)};
    if (load<std::uint32_t>(t + 4) >= 129 && (f.flags & (1 << 10)) != 0) {
        f.reset_space = load<std::uint8_t>(t + 116);
        f.reset_address = load<std::uint64_t>(t + 120);
        f.reset_value = load<std::uint8_t>(t + 128);
    }
    return f;
}

const Madt& madt() {
    if (!madt_was_read) {
        madt_was_read = true;
        if (const std::uint64_t table = find_table("APIC"); table != 0) {
            the_madt.local_apic_address = load<std::uint32_t>(table + 36);
        }
        for_each_madt_entry([](std::uint64_t entry) { read_madt_entry(the_madt, entry); });
    }
    return the_madt;
}

IsaRoute isa_route(std::uint8_t irq) {
    IsaRoute route{.pin = irq};
    for_each_madt_entry([&](std::uint64_t entry) {
        // Interrupt source override (5.2.12.5): flags 1:0 polarity, 3:2 trigger; 3 = low / level.
        if (load<std::uint8_t>(entry) == 2 && load<std::uint8_t>(entry + 3) == irq) {
            const auto flags = load<std::uint16_t>(entry + 8);
            route = {.pin = load<std::uint32_t>(entry + 4),
                     .active_low = (flags & 3) == 3,
                     .level = ((flags >> 2) & 3) == 3};
        }
    });
    return route;
}

std::uint64_t ecam_base() {
    const std::uint64_t table = find_table("MCFG");
    return table == 0 || load<std::uint32_t>(table + 4) < 60 ? 0 : load<std::uint64_t>(table + 44);
}

std::uint64_t hpet_base() {
    const std::uint64_t table = find_table("HPET");
    return table == 0 ? 0 : load<std::uint64_t>(table + 44);
}

}  // namespace cupule::guest
