/// Resets the machine, boot after boot, and tells the host what the devices look like at each.
///
/// Options: mode=acpi|cf9_06|cf9_0e|i8042|triple, the way to reset. Every boot prints
///
///     boot NUMBER
///     state NAME=VALUE ...
///
/// then leaves marks in memory and devices, and resets. The state line must be the same at each
/// boot. NUMBER counts in CMOS RAM and stays 1 where that does not survive a reset; with count=N
/// the guest ends by itself at boot N where it does. Else the host stops after enough boots.
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/boot_info.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/pci.h"

namespace cupule::guest {
namespace {

constexpr std::uint32_t marker_initial = 0x600DDA7A;
constinit volatile std::uint32_t marker = marker_initial;  // the loader has to write .data again
constinit volatile std::uint32_t marker_zero = 0;          // and to clear .bss

constexpr std::uint8_t cmos_signature = 0x7A;
constexpr std::uint8_t cmos_count = 0x7B;
constexpr std::uint8_t signature = 0xC7;

std::uint8_t cmos_read(std::uint8_t index) {
    out8(0x70, index);
    return in8(0x71);
}
void cmos_write(std::uint8_t index, std::uint8_t value) {
    out8(0x70, index);
    out8(0x71, value);
}

std::uint8_t count_boot() {
    const bool counted = cmos_read(cmos_signature) == signature;
    const auto number = static_cast<std::uint8_t>(counted ? cmos_read(cmos_count) + 1 : 1);
    cmos_write(cmos_signature, signature);
    cmos_write(cmos_count, number);
    return number;
}

void put_state(const char* name, std::uint64_t value) {
    put(name);
    put('=');
    put(Hex{value});
    put(' ');
}

void print_state() {
    const Fadt f = fadt();
    put("state ");
    put_state("pm1_enable", in16(static_cast<std::uint16_t>(f.pm1_event + 2)));
    put_state("pm1_control", in16(f.pm1_control));
    if (is_strict()) {
        put_state("port_61", in8(0x61) & 0x0F);  // QEMU 7.2 keeps the speaker on
    }
    put_state("uart_scratch", in8(0x3FF));
    put_state("rtc_b", cmos_read(0x0B));
    put_state("io_apic_5", io_apic_entry(5));
    put_state("apic_lvt_timer", local_apic_read(LocalApic::lvt_timer));
    put_state("apic_tpr", local_apic_read(LocalApic::task_priority));
    put_state("pci_address", in32(pci_address_port));
    if (const std::uint64_t hpet = hpet_base(); hpet != 0) {
        put_state("hpet_configuration", mmio_read<std::uint64_t>(hpet + 0x10));
        put_state("hpet_0", mmio_read<std::uint32_t>(hpet + 0x100));
    }
    for_each_pci_function(0, [](PciAddress address) {
        put_state("pci_command", pci_read<std::uint16_t>(address, 0x04));
    });
    print("");
}

/// Everything that the state line shows is changed.
void leave_marks() {
    const Fadt f = fadt();
    marker = 0xBADBAD;
    marker_zero = 0xBADBAD;
    out16(static_cast<std::uint16_t>(f.pm1_event + 2), 0x0101);
    out8(0x61, 0x03);
    out8(0x3FF, 0x77);
    cmos_write(0x0B, static_cast<std::uint8_t>(cmos_read(0x0B) | 0x70));
    io_apic_write(0x10 + 2 * 5, redirection_masked | redirection_level | 0x77);
    local_apic_write(LocalApic::lvt_timer, lvt_masked | 0x77);
    local_apic_write(LocalApic::task_priority, 0x20);
    if (const std::uint64_t hpet = hpet_base(); hpet != 0) {
        mmio_write<std::uint64_t>(hpet + 0x100, 0x0A);
        mmio_write<std::uint64_t>(hpet + 0x10, 1);
    }
    out32(pci_address_port, 0x80001234);
}

[[gnu::noinline]] void triple_fault() {
    struct [[gnu::packed]] {
        std::uint16_t limit = 0;
        std::uint64_t base = 0;
    } nothing;
    asm volatile("lidt %0\n int3" : : "m"(nothing));
}

/// Whether the mode is known and the machine offers it.
bool reset() {
    if (option_is("mode", "acpi")) {
        const Fadt f = fadt();
        if (f.reset_space != 1) {
            return false;
        }
        out8(static_cast<std::uint16_t>(f.reset_address), f.reset_value);
    } else if (option_is("mode", "cf9_06")) {
        out8(0xCF9, 0x02);
        out8(0xCF9, 0x06);
    } else if (option_is("mode", "cf9_0e")) {
        out8(0xCF9, 0x0A);
        out8(0xCF9, 0x0E);
    } else if (option_is("mode", "i8042")) {
        out8(0x64, 0xFE);
    } else if (option_is("mode", "triple")) {
        triple_fault();
    } else {
        return false;
    }
    wait_ms(2000);
    return true;
}

}  // namespace

void guest_main() {
    const std::uint8_t number = count_boot();
    print("boot ", number);
    check("data_is_loaded_anew", marker == marker_initial, Hex{marker});
    check("bss_is_cleared_anew", marker_zero == 0, Hex{marker_zero});
    check("boot_processor_resets", local_apic_id() == madt().apic_ids[0], local_apic_id());
    print_state();
    if (number >= option_number("count", 0x100)) {
        cmos_write(cmos_signature, 0);
        return;
    }
    leave_marks();
    const bool known = reset();
    check("machine_resets", false,
          known ? "still running after 2 s" : "mode= unknown or not offered");
}

}  // namespace cupule::guest
