#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace cupule::passthrough {

/// The system calls by which VFIO is used, but for mmap(2); tests put a kernel of their own here.
class VfioKernel {
  public:
    virtual ~VfioKernel() = default;
    virtual base::Result<base::FileDescriptor> open(const std::string& path);
    /// As ioctl(2), again where a signal came between: the result, or -1 and errno.
    virtual int ioctl(int fd, unsigned long request, void* argument);
    /// As pread(2) and pwrite(2).
    virtual ssize_t read(int fd, void* data, std::size_t size, std::uint64_t offset);
    virtual ssize_t write(int fd, const void* data, std::size_t size, std::uint64_t offset);
    /// Lets the device take its time.
    virtual void sleep(std::chrono::milliseconds time);

    /// ioctl for requests that take a number.
    int ioctl_number(int fd, unsigned long request, std::uintptr_t number) {
        return ioctl(fd, request, reinterpret_cast<void*>(number));
    }
};

}  // namespace cupule::passthrough
