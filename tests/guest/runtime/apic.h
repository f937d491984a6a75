/// Local APIC (xAPIC mode) and I/O APIC.
///
/// Document: Intel SDM volume 3A, chapter 11 (APIC); 82093AA data sheet (290566-001).
#pragma once

#include <cstdint>

namespace cupule::guest {

/// Register offsets.
enum class LocalApic : std::uint32_t {
    id = 0x20,
    version = 0x30,
    task_priority = 0x80,
    eoi = 0xB0,
    spurious = 0xF0,
    in_service = 0x100,
    request = 0x200,
    error_status = 0x280,
    command_low = 0x300,
    command_high = 0x310,
    lvt_timer = 0x320,
    lvt_lint0 = 0x350,
    lvt_lint1 = 0x360,
    lvt_error = 0x370,
    timer_initial = 0x380,
    timer_current = 0x390,
    timer_divide = 0x3E0,
};

inline constexpr std::uint32_t lvt_masked = 1U << 16;
inline constexpr std::uint32_t lvt_ext_int = 7U << 8;
inline constexpr std::uint32_t lvt_nmi = 4U << 8;

[[nodiscard]] std::uint32_t local_apic_read(LocalApic reg);
void local_apic_write(LocalApic reg, std::uint32_t value);

/// Software enable with spurious vector 0xFF, all of the LVT masked, task priority 0.
void local_apic_init();

[[nodiscard]] std::uint32_t local_apic_id();

/// Bit of IRR or ISR.
[[nodiscard]] bool local_apic_bit(LocalApic first, std::uint8_t vector);

/// Low word of the interrupt command register.
inline constexpr std::uint32_t ipi_fixed = 0;
inline constexpr std::uint32_t ipi_nmi = 4U << 8;
inline constexpr std::uint32_t ipi_init = 5U << 8;
inline constexpr std::uint32_t ipi_startup = 6U << 8;
inline constexpr std::uint32_t ipi_assert = 1U << 14;
inline constexpr std::uint32_t ipi_to_self = 1U << 18;
inline constexpr std::uint32_t ipi_to_others = 3U << 18;

/// Sends and waits until it has been accepted.
void send_ipi(std::uint32_t apic_id, std::uint32_t command);

/// Low word of a redirection entry.
inline constexpr std::uint32_t redirection_level = 1U << 15;
inline constexpr std::uint32_t redirection_remote_irr = 1U << 14;
inline constexpr std::uint32_t redirection_active_low = 1U << 13;
inline constexpr std::uint32_t redirection_masked = 1U << 16;

[[nodiscard]] std::uint32_t io_apic_read(std::uint32_t index);
void io_apic_write(std::uint32_t index, std::uint32_t value);
[[nodiscard]] std::uint32_t io_apic_pins();
[[nodiscard]] std::uint32_t io_apic_entry(std::uint32_t pin);

/// Sends `pin` to `vector` of this processor; `flags` are redirection_* bits.
void io_apic_route(std::uint32_t pin, std::uint8_t vector, std::uint32_t flags);
void io_apic_mask(std::uint32_t pin);
void io_apic_mask_all();

}  // namespace cupule::guest
