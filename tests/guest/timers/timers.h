/// The parts of the `timers` guest, one per clock.
#pragma once

#include <cstdint>

namespace cupule::guest {

void check_pit();
void check_rtc();
void check_hpet();
void check_local_apic_timer();

/// Vectors of interrupts that come by the IOAPIC, FSB or the local APIC.
inline constexpr std::uint8_t timer_vector = 0x40;
inline constexpr std::uint8_t second_timer_vector = 0x41;

/// Interrupts on, for so long; gives back how many came on `vector`.
std::uint32_t count_for(std::uint8_t vector, std::uint64_t ms);

/// Checks that `vector` comes `hz` times a second: never more than 20 % too often, and at least
/// half as often in one of ten tries, because a virtual processor that is not running loses ticks.
bool check_rate(const char* name, std::uint8_t vector, std::uint64_t hz);

/// Calls `start`, waits for one interrupt on `vector`, and checks that it is not earlier than 80 %
/// of `us`, that it comes within 500 ms, and that no second one follows.
bool check_one_shot(const char* name, std::uint8_t vector, std::uint64_t us, void (*start)());

}  // namespace cupule::guest
