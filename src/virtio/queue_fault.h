#pragma once

#include <cstdint>

namespace cupule::virtio {

/// What a driver did to a ring that no driver may do. A queue that meets one stays broken until it
/// is reset; the device answers with DEVICE_NEEDS_RESET (Virtio 1.3, 2.1.2) and one log line.
enum class QueueFault : std::uint8_t {
    none,
    // Found at activation.
    size_not_allowed,
    position_not_allowed,
    area_misaligned,
    area_outside_ram,
    // Found in a running ring.
    available_index_jumped,
    ring_overrun,
    head_out_of_range,
    next_out_of_range,
    chain_loops,
    too_many_segments,
    too_many_bytes,
    zero_length,
    buffer_outside_ram,
    readable_after_writable,
    indirect_not_negotiated,
    indirect_and_next,
    indirect_nested,
    indirect_bad_size,
    indirect_outside_ram,
    // Found by whoever serves the ring instead of us.
    broken_elsewhere,
    // No fault of the driver's.
    back_end_lost,
};

/// A few words for the log: "descriptor chain loops".
const char* to_text(QueueFault fault);

}  // namespace cupule::virtio
