#pragma once

#include "base/error.h"
#include "base/file_descriptor.h"

namespace cupule::app {

/// Takes the signals that end a service (SIGTERM, SIGINT, SIGHUP) from the whole process, before
/// any thread exists: they make the descriptor readable instead. SIGPIPE is ignored from now on.
base::Result<base::FileDescriptor> take_end_signals();

}  // namespace cupule::app
