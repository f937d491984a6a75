#include "passthrough/vfio_domain.h"

#include <cerrno>

#include "base/log.h"

namespace cupule::passthrough {

std::unexpected<base::Error> interrupts_not_remapped(std::string_view module) {
    return base::fail_errno(
        EPERM,
        "the host refuses passthrough as it cannot remap interrupts: a device could forge any "
        "interrupt; turn interrupt remapping on in the firmware and kernel (intremap=on), or "
        "accept that risk with the module parameter {}.allow_unsafe_interrupts=1 and the option "
        "unsafe_interrupts",
        module);
}

void VmListener::descriptor_added(int fd) {
    if (const auto told = vm_.add_device_group(fd); !told) {
        base::log_warning("{}; the guest's caches may not be what its devices see",
                          told.error().message);
    }
}

}  // namespace cupule::passthrough
