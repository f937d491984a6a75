#pragma once

#include "app/commands.h"

namespace cupule::app {

/// Offers ACRN's service module as a device of this host until a signal ends it (SIGTERM, SIGINT,
/// SIGHUP: exit status 0). The virtual machines that are left end with it.
int run_hsm(const HsmOptions& options);

}  // namespace cupule::app
