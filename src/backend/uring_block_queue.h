#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "backend/block_queue.h"

namespace cupule::backend {

/// Where a queue's disk lies.
struct UringTarget {
    int fd = -1;
    /// The disk's first byte in the file.
    std::uint64_t start = 0;
    /// What memory and lengths have to be aligned to, 1: nothing.
    std::uint32_t alignment = 1;
    /// Whether reads go through the host's page cache.
    bool cached = false;
    /// Memory that requests lie in, to be registered and so pinned; empty: none. Outlives the
    /// queue.
    std::span<const std::span<std::byte>> memory{};
};

/// Hands requests to the kernel by io_uring: the file registered, what was submitted started by a
/// system call for up to four, for fewer while the kernel has nothing else to do. Memory that the
/// host does not let it register is used as any other, with a warning.
/// Made and used on one thread. `store` is the disk itself and does what cannot be done this way:
/// zeroing where the file system refuses, memory that is not aligned. Both outlive the queue. Fails
/// where the host refuses io_uring, with the errno value.
base::Result<std::unique_ptr<BlockQueue>> make_uring_block_queue(const UringTarget& target,
                                                                 BlockStore& store, unsigned depth);

}  // namespace cupule::backend
