/// Starting the application processors (INIT, STARTUP).
///
/// Document: Intel SDM volume 3A, 9.4.4 (MP initialisation).
#pragma once

#include <cstdint>

namespace cupule::guest {

/// Runs on each application processor, with its own small stack, the common page tables and GDT,
/// and interrupts off. `start_index` counts starts from 0. Must not return.
using ApMain = void (*)(std::uint32_t start_index);

/// Puts the trampoline at 0x8000 and notes where APs shall go.
void prepare_processors(ApMain main);

/// INIT, 10 ms, STARTUP, and a second STARTUP if `started()` stays false for a while.
/// Gives back whether `started()` came true within two seconds.
bool start_processor(std::uint32_t apic_id, bool (*started)(std::uint32_t apic_id));

}  // namespace cupule::guest
