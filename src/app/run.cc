#include "app/run.h"

#include "app/exit_codes.h"
#include "base/log.h"

namespace cupule::app {

// Stands here until the machine does.
int run_machine(const VmOptions& options) {
    base::log_error(
        "'{}' is well described ({} MB, {} vCPUs, {} slots, {} serial ports), but this "
        "build has no machine",
        options.name, options.memory_size >> 20, options.vcpu_count, options.slots.size(),
        options.serial_ports.size());
    return exit_failure;
}

}  // namespace cupule::app
