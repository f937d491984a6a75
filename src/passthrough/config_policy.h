#pragma once

#include <cstdint>
#include <span>

#include "passthrough/config_image.h"

namespace cupule::passthrough {

/// What becomes of a register of the host's configuration space; a bit in none of the masks keeps
/// the host's value at opening, less the hidden bits, and cannot be written. docs/passthrough.md
/// has the same table with the reasons.
struct FieldPolicy {
    /// From the start of the capability.
    std::uint16_t offset = 0;
    std::uint8_t size = 4;  // 1, 2 or 4
    /// Read from the device whenever the guest reads.
    std::uint32_t live = 0;
    /// Written to the device when the guest writes, and live.
    std::uint32_t passed = 0;
    /// Of the device's bits those that a written one clears: only the guest's own ones go there.
    std::uint32_t write_1_to_clear = 0;
    /// The guest's own copy, which the device does not hear of.
    std::uint32_t stored = 0;
    /// Reads as zero at first.
    std::uint32_t hidden = 0;
};

enum class Treatment : std::uint8_t {
    /// Not in the guest's list.
    hidden,
    /// Emulated by a part of the function.
    emulated,
    /// As `fields` say, the rest fixed.
    by_field,
    /// All bits read and written on the device.
    passed,
    /// Fixed to the host's values.
    fixed,
};

struct CapabilityPolicy {
    std::uint16_t id = 0;
    bool extended = false;
    Treatment treatment = Treatment::hidden;
    std::span<const FieldPolicy> fields{};
    /// A bit whose writing asks for a function level reset: offset and mask; mask 0: none.
    std::uint16_t reset_offset = 0;
    std::uint16_t reset_mask = 0;
};

/// Bits of the header that are read from the device, at absolute offsets; only `live` is set. All
/// else of the header is the function's own.
std::span<const FieldPolicy> header_policy();

/// The policy of a capability; unknown ones are hidden.
const CapabilityPolicy& capability_policy(const ConfigCapability& capability);

}  // namespace cupule::passthrough
