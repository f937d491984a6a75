#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/error.h"

namespace cupule::backend {

class BlockStore;

enum class BlockOperation : std::uint8_t { read, write, flush, discard, write_zeroes };

/// One request to a disk's contents. Positions are in bytes, inside the store and sector-aligned.
struct BlockRequest {
    BlockOperation operation = BlockOperation::read;
    /// write, write_zeroes: on stable storage before it ends.
    bool durable = false;
    /// write_zeroes: the host may free the room.
    bool may_unmap = false;
    std::uint64_t at = 0;
    /// 0 for a flush; for read and write what the segments add up to.
    std::uint64_t bytes = 0;
    /// read, write: host memory. List and memory stay until the request has ended.
    std::span<const iovec> segments{};
    /// Comes back with the completion.
    std::uint32_t token = 0;
};

/// How a request ended: wholly, or with an errno value; never with a part.
struct BlockCompletion {
    std::uint32_t token = 0;
    int error = 0;
};

/// Requests to one store under way at the same time, which may end in any order. One thread, which
/// says when: `submit` any number, `kick` once, `collect` what has ended, and before it sleeps
/// `arm`.
class BlockQueue {
  public:
    /// Nothing may be under way: `wait` and `collect` first.
    virtual ~BlockQueue() = default;
    /// False when as many are under way as the queue was made for.
    [[nodiscard]] virtual bool submit(const BlockRequest& request) = 0;
    /// Starts what was submitted since the last call.
    virtual void kick() = 0;
    /// Fills `to` with what has ended; returns how many.
    [[nodiscard]] virtual std::size_t collect(std::span<BlockCompletion> to) = 0;
    /// Sleeps until `collect` finds something. Only with requests under way, and kicked.
    virtual void wait() = 0;
    /// An eventfd that becomes readable at a completion while armed; -1: completions are there as
    /// soon as `kick` has returned.
    virtual int event_fd() const { return -1; }
    /// From now on completions signal the eventfd. True: some are there already, for which no
    /// signal may come.
    [[nodiscard]] virtual bool arm() { return false; }
    virtual void disarm() {}
};

/// Does each request while it is submitted: for stores that never wait, and for tests.
std::unique_ptr<BlockQueue> make_immediate_block_queue(BlockStore& store, unsigned depth);

/// Whether all of `segments` begin and end at multiples of `alignment`, as direct I/O wants.
bool is_io_aligned(std::span<const iovec> segments, std::uint32_t alignment);

/// Carries a request out by the store's waiting calls; an errno value or 0.
int execute(BlockStore& store, const BlockRequest& request);

}  // namespace cupule::backend
