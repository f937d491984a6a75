#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>

namespace cupule::backend {

/// Reads what the host's page cache holds there and then, so that it needs no way to another thread
/// or through io_uring and back. Where reads miss it stops trying for a while, longer each time, up
/// to 63 reads. One thread.
class CachedReads {
  public:
    /// `fd` outlives this; -1: reads nothing ever.
    explicit CachedReads(int fd) : fd_(fd) {}

    /// Fills `to` from its start with what lies at byte `at` of the file, without waiting. How many
    /// bytes those were; fewer than there are, or 0: the rest has to be read by waiting, which also
    /// finds errors.
    std::uint64_t read(std::span<const iovec> to, std::uint64_t at);

  private:
    int fd_;
    unsigned pause_ = 0;
    unsigned left_out_ = 0;
};

}  // namespace cupule::backend
