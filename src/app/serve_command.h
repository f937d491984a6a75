#pragma once

#include "app/commands.h"

namespace cupule::app {

/// Serves a device over vhost-user until a signal ends it. The exit status.
int run_serve(const ServeOptions& options);

}  // namespace cupule::app
