#pragma once

#include <cstdint>

namespace cupule::device {

/// What a guest's write asks of the whole machine. All three interfaces are implemented by whoever
/// runs the machine and called with the asking device's monitor held, on a vCPU's thread: an
/// implementation only posts, never waits, never calls back into a device. The write still returns
/// to the guest; a vCPU may run on for a few instructions until the machine stops it. The same
/// request may come again before it is carried out, and different ones may cross: the machine
/// decides which wins.

enum class ResetKind : std::uint8_t {
    warm,  // devices and CPUs restart, memory and passed-through hardware keep their power
    full,  // as if the power had gone and come back
};

class ResetRequests {
  public:
    virtual ~ResetRequests() = default;
    virtual void reset(ResetKind kind) = 0;
};

class SleepRequests {
  public:
    virtual ~SleepRequests() = default;
    /// ACPI S5: the machine stops and its process ends.
    virtual void power_off() = 0;
    /// ACPI S3: vCPUs stop, memory stays, until something wakes the machine.
    virtual void suspend_to_ram() = 0;
};

class DebugExitRequests {
  public:
    virtual ~DebugExitRequests() = default;
    /// Power off; `value` is what the guest wrote, for the exit code.
    virtual void debug_exit(std::uint32_t value) = 0;
};

}  // namespace cupule::device
