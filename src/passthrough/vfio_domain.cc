#include "passthrough/vfio_domain.h"

#include "base/log.h"

namespace cupule::passthrough {

void VmListener::descriptor_added(int fd) {
    if (const auto told = vm_.add_device_group(fd); !told) {
        base::log_warning("{}; the guest's caches may not be what its devices see",
                          told.error().message);
    }
}

}  // namespace cupule::passthrough
