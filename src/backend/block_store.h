#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/block_queue.h"
#include "backend/rate_limiter.h"
#include "backend/worker_word.h"
#include "base/error.h"
#include "base/file_descriptor.h"
#include "event/mutex.h"
#include "event/thread_pool.h"
#include "memory/guest_memory.h"

namespace cupule::backend {

/// Who carries requests out: io_uring, or threads that wait. Without a choice io_uring, and for an
/// image in the host's memory (tmpfs, ramfs) whoever submits.
enum class BlockAio : std::uint8_t { automatic, io_uring, threads };

/// How an image is opened and served: `[iothread...,][mq=N,]PATH[,OPTION...]`.
struct BlockOptions {
    /// Empty: a drive without a disk, which may get one later (nodisk).
    std::string path{};
    bool read_only = false;
    /// Each write is on stable storage before it ends (writethru); otherwise a flush makes it so
    /// (writeback, the default).
    bool write_through = false;
    /// Past the host's page cache (nocache).
    bool direct = false;
    bool discard = false;
    /// What one discard may ask for, in 512-byte sectors and segments, and its alignment in
    /// sectors; 0: the device's own.
    std::uint32_t discard_sectors_max = 0;
    std::uint32_t discard_segments_max = 0;
    std::uint32_t discard_alignment = 0;
    /// What the guest sees, in bytes: powers of two from 512 to 4096 and from the logical size to
    /// 64 KiB.
    std::uint32_t logical_sector = 512;
    std::uint32_t physical_sector = 4096;
    /// The part of the image that is the disk, in bytes; `range_bytes` 0: to its end.
    std::uint64_t range_start = 0;
    std::uint64_t range_bytes = 0;
    BlockAio aio = BlockAio::automatic;
    /// Guest memory is registered with io_uring, and so pinned.
    bool pinned = false;
    RateLimit limit{};
    /// What the guest can ask for, up to 20 bytes; empty: the machine chooses.
    std::string serial{};
    /// Virtqueues: 1 to 64.
    unsigned queues = 1;
    /// The threads that serve the queues, in turn.
    WorkerCpus workers{{}};

    bool operator==(const BlockOptions&) const = default;
};

/// Reads acrn-dm's grammar and what is ours (docs/device/virtio_blk.md). Touches no file. The error
/// names what is wrong and what there is.
base::Result<BlockOptions> parse_block_options(std::string_view text);

/// A disk's contents. Positions are in bytes, inside the store and sector-aligned (the device
/// checks guests). Calls may wait for the host; any thread, several at once.
class BlockStore {
  public:
    virtual ~BlockStore() = default;
    virtual std::uint64_t size() const = 0;
    /// All of `to`, or an error: never a part.
    virtual base::Result<void> read(std::span<const iovec> to, std::uint64_t at) = 0;
    virtual base::Result<void> write(std::span<const iovec> from, std::uint64_t at) = 0;
    /// All writes that ended before are on stable storage.
    virtual base::Result<void> flush() = 0;
    /// The bytes are of no use any more; they read as anything.
    virtual base::Result<void> discard(std::uint64_t at, std::uint64_t bytes) = 0;
    /// `may_unmap`: the host may free the room.
    virtual base::Result<void> write_zeroes(std::uint64_t at, std::uint64_t bytes,
                                            bool may_unmap) = 0;
    /// A way to have `depth` requests under way at once. The store outlives it.
    virtual base::Result<std::unique_ptr<BlockQueue>> make_queue(unsigned depth) {
        return make_immediate_block_queue(*this, depth);
    }
};

/// A raw image or block device of the host, never looked into. Locked for the store's life against
/// every other user that locks (OFD locks): one writer, or any number of readers.
class FileBlockStore : public BlockStore {
  public:
    /// `memory`: what requests lie in; outlives the store. Where the options say `pinned` its pages
    /// are kept by the caller (GuestMemory::keep_pages) as long as queues run.
    static base::Result<std::unique_ptr<BlockStore>> open(
        const BlockOptions& options, const memory::GuestMemory* memory = nullptr);

    ~FileBlockStore() override;
    std::uint64_t size() const override { return size_; }
    base::Result<void> read(std::span<const iovec> to, std::uint64_t at) override;
    base::Result<void> write(std::span<const iovec> from, std::uint64_t at) override;
    base::Result<void> flush() override;
    base::Result<void> discard(std::uint64_t at, std::uint64_t bytes) override;
    base::Result<void> write_zeroes(std::uint64_t at, std::uint64_t bytes, bool may_unmap) override;
    base::Result<std::unique_ptr<BlockQueue>> make_queue(unsigned depth) override;

  private:
    FileBlockStore(base::FileDescriptor file, const BlockOptions& options, std::uint64_t size,
                   const memory::GuestMemory* memory);
    base::Result<void> find_alignment(const BlockOptions& options);
    template <class Call>
    base::Result<void> transfer(std::span<const iovec> segments, std::uint64_t at, bool to_host,
                                Call call);

    base::FileDescriptor file_;
    base::FileDescriptor lock_;
    const std::uint64_t start_;
    const std::uint64_t size_;
    const BlockAio aio_;
    /// What is to be registered; nullptr: nothing.
    const memory::GuestMemory* const memory_;
    /// Through the host's page cache.
    const bool cached_;
    const std::string path_;
    /// What memory has to be aligned to (nocache), 1 otherwise.
    std::uint32_t alignment_ = 1;
    event::Mutex mutex_;
    /// Made when a queue first needs it.
    std::unique_ptr<event::ThreadPool> threads_ CUPULE_GUARDED_BY(mutex_);
};

}  // namespace cupule::backend
