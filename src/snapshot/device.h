#pragma once

#include "snapshot/visitor.h"

namespace cupule::snapshot {

/// What every device offers whoever runs the machine. All calls with the device's monitor held.
class Device {
  public:
    virtual ~Device() = default;
    /// Back to the power-on state; lines fall and timers stop.
    virtual void reset() = 0;
    /// Names each guest-visible field once. When `visitor.restoring()`, the device brings every
    /// value back into its legal range, restarts its timers and drives its lines from the new
    /// state.
    virtual void visit(Visitor& visitor) = 0;
};

}  // namespace cupule::snapshot
