#include "runtime/apic.h"

#include "runtime/acpi.h"
#include "runtime/cpu.h"

namespace cupule::guest {
namespace {

constexpr std::uint64_t local_apic_base = 0xFEE00000;

std::uint64_t io_apic_base() {
    const std::uint64_t base = madt().io_apic_address;
    return base == 0 ? 0xFEC00000 : base;
}

}  // namespace

std::uint32_t local_apic_read(LocalApic reg) {
    return mmio_read<std::uint32_t>(local_apic_base + static_cast<std::uint32_t>(reg));
}

void local_apic_write(LocalApic reg, std::uint32_t value) {
    mmio_write<std::uint32_t>(local_apic_base + static_cast<std::uint32_t>(reg), value);
}

void local_apic_init() {
    local_apic_write(LocalApic::spurious, 0x1FF);
    local_apic_write(LocalApic::lvt_timer, lvt_masked);
    local_apic_write(LocalApic::lvt_lint0, lvt_masked | lvt_ext_int);
    local_apic_write(LocalApic::lvt_lint1, lvt_masked | lvt_nmi);
    local_apic_write(LocalApic::lvt_error, lvt_masked);
    local_apic_write(LocalApic::task_priority, 0);
}

std::uint32_t local_apic_id() {
    return local_apic_read(LocalApic::id) >> 24;
}

bool local_apic_bit(LocalApic first, std::uint8_t vector) {
    const auto reg = static_cast<std::uint32_t>(first) + (vector / 32U) * 0x10;
    return ((local_apic_read(static_cast<LocalApic>(reg)) >> (vector % 32)) & 1) != 0;
}

void send_ipi(std::uint32_t apic_id, std::uint32_t command) {
    local_apic_write(LocalApic::command_high, apic_id << 24);
    local_apic_write(LocalApic::command_low, command);
    for (int i = 0; i < 100'000; ++i) {
        if ((local_apic_read(LocalApic::command_low) & (1U << 12)) == 0) {  // delivery status
            return;
        }
        pause();
    }
}

std::uint32_t io_apic_read(std::uint32_t index) {
    mmio_write<std::uint32_t>(io_apic_base(), index);
    return mmio_read<std::uint32_t>(io_apic_base() + 0x10);
}

void io_apic_write(std::uint32_t index, std::uint32_t value) {
    mmio_write<std::uint32_t>(io_apic_base(), index);
    mmio_write<std::uint32_t>(io_apic_base() + 0x10, value);
}

std::uint32_t io_apic_pins() {
    return ((io_apic_read(1) >> 16) & 0xFF) + 1;
}

std::uint32_t io_apic_entry(std::uint32_t pin) {
    return io_apic_read(0x10 + 2 * pin);
}

void io_apic_route(std::uint32_t pin, std::uint8_t vector, std::uint32_t flags) {
    io_apic_mask(pin);
    io_apic_write(0x11 + 2 * pin, local_apic_id() << 24);
    io_apic_write(0x10 + 2 * pin, flags | vector);
}

void io_apic_mask(std::uint32_t pin) {
    io_apic_write(0x10 + 2 * pin, redirection_masked);
}

void io_apic_mask_all() {
    const std::uint32_t pins = io_apic_pins();
    for (std::uint32_t pin = 0; pin < pins; ++pin) {
        io_apic_mask(pin);
    }
}

}  // namespace cupule::guest
