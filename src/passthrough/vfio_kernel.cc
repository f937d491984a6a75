#include "passthrough/vfio_kernel.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

namespace cupule::passthrough {

base::Result<base::FileDescriptor> VfioKernel::open(const std::string& path) {
    return base::open_file(path, O_RDWR);
}

int VfioKernel::ioctl(int fd, unsigned long request, void* argument) {
    int result = 0;
    do {
        result = ::ioctl(fd, request, argument);
    } while (result < 0 && errno == EINTR);
    return result;
}

ssize_t VfioKernel::read(int fd, void* data, std::size_t size, std::uint64_t offset) {
    return pread(fd, data, size, static_cast<off_t>(offset));
}

ssize_t VfioKernel::write(int fd, const void* data, std::size_t size, std::uint64_t offset) {
    return pwrite(fd, data, size, static_cast<off_t>(offset));
}

void VfioKernel::sleep(std::chrono::milliseconds time) {
    std::this_thread::sleep_for(time);
}

}  // namespace cupule::passthrough
