#pragma once

#include <utility>

#include "base/error.h"

namespace cupule::base {

/// Owns one file descriptor and closes it.
class FileDescriptor {
  public:
    FileDescriptor() = default;
    explicit FileDescriptor(int fd) : fd_(fd) {}
    FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept;
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    ~FileDescriptor() { close(); }

    /// The descriptor's number, -1 when empty. Stays owned here.
    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }

    /// Gives up ownership.
    int release() { return std::exchange(fd_, -1); }
    void close();

    /// A second descriptor of the same open file, close-on-exec.
    Result<FileDescriptor> duplicate() const;

  private:
    int fd_ = -1;
};

/// Opens with O_CLOEXEC. `flags` and `mode` as for open(2). The error names the path.
Result<FileDescriptor> open_file(const std::string& path, int flags, unsigned mode = 0);

/// An eventfd(2), non-blocking and close-on-exec, with a count of zero.
Result<FileDescriptor> make_eventfd();

/// Adds one to an eventfd; drains it to zero. An eventfd that is full or empty stays as it is.
void signal_eventfd(int fd);
void drain_eventfd(int fd);

}  // namespace cupule::base
