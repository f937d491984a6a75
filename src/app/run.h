#pragma once

#include "app/vm_options.h"

namespace cupule::app {

/// Builds the virtual machine, runs it to its end and returns the process's exit status
/// (exit_codes.h). Problems of the host go to the log.
int run_machine(const VmOptions& options);

}  // namespace cupule::app
