#pragma once

#include <string>

#include "passthrough/driver_binding.h"
#include "passthrough/host_topology.h"

namespace cupule::passthrough {

/// What `cupule passthrough list` prints: a line for each endpoint (place, ids, class, driver,
/// group, interrupts, whether it can have PTM), and under it, indented, what else there is to know:
/// its physical function, the driver it was taken from, what keeps it from being passed through.
std::string list_functions(const HostTopology& host, const DriverBinding& binding);

}  // namespace cupule::passthrough
