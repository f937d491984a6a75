/// The two 8259A, at vectors 0x20 to 0x2F.
///
/// Document: Intel 8259A data sheet (231468-003).
#pragma once

#include <cstdint>

namespace cupule::guest {

inline constexpr std::uint8_t pic_vector_base = 0x20;

/// Both initialised, everything masked, and the processor's LINT0 masked.
void pic_init();

/// Connects the 8259 to this processor (LINT0 as ExtINT) or takes it away.
void pic_connect(bool on);

/// Unmasks exactly the interrupts of `irqs` (a bit per IRQ 0-15), with the cascade as needed.
void pic_unmask_only(std::uint16_t irqs);

void pic_end_of_interrupt(std::uint8_t irq);

/// Request and in-service registers of both, the master's in the low byte.
[[nodiscard]] std::uint16_t pic_requests();
[[nodiscard]] std::uint16_t pic_in_service();
[[nodiscard]] std::uint16_t pic_mask();

}  // namespace cupule::guest
