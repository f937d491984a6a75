#pragma once

#include <cstddef>
#include <cstdint>

namespace cupule::machine {

/// What happens to a guest that programs outside may want to know. The numbers are ACRN's
/// (acrn_common.h, VM_EVENT_*).
enum class GuestEventKind : std::uint8_t { clock_set = 0, power_off = 1, triple_fault = 2 };
constexpr std::size_t guest_event_kinds = 3;

struct GuestEvent {
    GuestEventKind kind{};
    /// Of clock_set: what the guest's clock showed before, in seconds since 1970, and by how many
    /// it went forward.
    std::int64_t clock_before_s = 0;
    std::int64_t clock_delta_s = 0;
};

class GuestEvents {
  public:
    virtual ~GuestEvents() = default;
    /// On the control thread, with no lock held; before what follows from it.
    virtual void happened(const GuestEvent& event) = 0;
};

}  // namespace cupule::machine
