#include "passthrough/device_listener.h"

#include "base/log.h"

namespace cupule::passthrough {

void DeviceListener::descriptor_added(int fd) {
    if (const auto told = vm_.add_device_group(fd); !told) {
        base::log_warning("{}; the guest's caches may not be what its devices see",
                          told.error().message);
    }
}

void DeviceListener::descriptor_removed(int fd) {
    vm_.remove_device_group(fd);
}

}  // namespace cupule::passthrough
