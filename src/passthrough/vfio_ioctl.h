#pragma once

#include <sys/ioctl.h>

#include <cerrno>

namespace cupule::passthrough {

/// ioctl(2) on a VFIO descriptor, again where a signal came between. -1 and errno when it fails.
template <class Argument>
int vfio_ioctl(int fd, unsigned long request, Argument argument) {
    int result = 0;
    do {
        result = ioctl(fd, request, argument);
    } while (result < 0 && errno == EINTR);
    return result;
}

}  // namespace cupule::passthrough
