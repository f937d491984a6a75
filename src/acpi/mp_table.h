/// The MultiProcessor table, for guests without ACPI.
///
/// Leaves out: processors whose APIC id needs more than eight bits, system address space mapping,
/// an OEM table. Document: Intel MultiProcessor Specification 1.4, chapter 4.
#pragma once

#include <cstdint>
#include <vector>

#include "acpi/platform.h"
#include "base/error.h"

namespace cupule::acpi {

/// Where acrn-dm has it; the room ends where the ACPI tables begin.
inline constexpr std::uint32_t mp_table_base = 0xF0000;
inline constexpr std::uint32_t mp_table_size_max = 0x2400;

/// What CPUID leaf 1 says, repeated in the processor entries.
struct ProcessorIdentity {
    std::uint32_t signature = 0x600;      ///< EAX: stepping, model, family
    std::uint32_t feature_flags = 0x201;  ///< EDX: at least FPU and APIC
};

/// Floating pointer structure and configuration table, one after the other, to be copied to
/// `address` (a multiple of 16). The error is that they need more than `size_max` bytes.
[[nodiscard]] base::Result<std::vector<std::uint8_t>> make_mp_table(
    const PlatformDescription& platform, const ProcessorIdentity& identity = {},
    std::uint32_t address = mp_table_base, std::uint32_t size_max = mp_table_size_max);

}  // namespace cupule::acpi
