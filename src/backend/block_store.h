#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace cupule::backend {

/// How an image is opened: `PATH[,OPTION...]`.
struct BlockOptions {
    std::string path{};
    bool read_only = false;
    /// Each write is on stable storage before it ends (writethru); otherwise a flush makes it so
    /// (writeback, the default).
    bool write_through = false;
    bool discard = false;
    /// What the guest sees, in bytes: powers of two from 512 to 4096 and from the logical size to
    /// 64 KiB.
    std::uint32_t logical_sector = 512;
    std::uint32_t physical_sector = 4096;

    bool operator==(const BlockOptions&) const = default;
};

/// Reads `PATH[,ro][,writeback|writethru][,discard][,sectorsize=LOGICAL[/PHYSICAL]]`. Touches no
/// file. The error names what is wrong and what there is.
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
};

/// A raw image or block device of the host, never looked into. Locked for the store's life against
/// every other user that locks (OFD locks): one writer, or any number of readers.
class FileBlockStore : public BlockStore {
  public:
    static base::Result<std::unique_ptr<BlockStore>> open(const BlockOptions& options);

    std::uint64_t size() const override { return size_; }
    base::Result<void> read(std::span<const iovec> to, std::uint64_t at) override;
    base::Result<void> write(std::span<const iovec> from, std::uint64_t at) override;
    base::Result<void> flush() override;
    base::Result<void> discard(std::uint64_t at, std::uint64_t bytes) override;
    base::Result<void> write_zeroes(std::uint64_t at, std::uint64_t bytes, bool may_unmap) override;

  private:
    FileBlockStore(base::FileDescriptor file, std::uint64_t size)
        : file_(std::move(file)), size_(size) {}
    base::FileDescriptor file_;
    std::uint64_t size_;
};

}  // namespace cupule::backend
