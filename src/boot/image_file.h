#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "memory/guest_memory.h"

namespace cupule::boot {

/// A kernel or initial RAM disk: a file kept open, so that a reset loads the same file though its
/// name may by then mean another, or bytes in memory (tests, fuzzers).
///
/// The file is read, never mapped: a file that somebody shortens while it is in use then gives an
/// error, not a SIGBUS, and its bytes go straight from the page cache into guest memory. The
/// content is untrusted: `read` copies a piece out once, for the caller to check.
class ImageFile {
  public:
    /// Opens a regular file of 1 to `size_max` bytes. Every error names the path and the reason.
    static base::Result<ImageFile> open(const std::string& path, std::uint64_t size_max);

    /// `bytes` must outlive the image.
    static ImageFile of_bytes(std::span<const std::byte> bytes, std::string name);

    /// Bytes, as it was when opened.
    std::uint64_t size() const { return size_; }
    /// The path as given.
    const std::string& name() const { return name_; }

    /// Copies `to.size()` bytes out of the image, or nothing useful (false) where the image does
    /// not have them all.
    [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> to) const;

    /// A little-endian value, std::nullopt where the image does not have it whole.
    template <class T>
    requires std::is_trivially_copyable_v<T> std::optional<T> load(std::uint64_t offset)
    const {
        T value{};
        if (!read(offset, std::as_writable_bytes(std::span(&value, 1)))) {
            return std::nullopt;
        }
        return value;
    }

    /// Copies [offset, offset + size) of the image into guest RAM. Fails, with part of it perhaps
    /// copied, where the range leaves the image or RAM, or reading fails. One thread at a time.
    base::Result<void> copy_to(const memory::GuestMemory& memory, memory::GuestAddress address,
                               std::uint64_t offset, std::uint64_t size) const;

    /// Fails when the open file's size or modification time is no longer what it was when opened:
    /// what was learned from it then does not hold any more.
    base::Result<void> check_unchanged() const;

  private:
    ImageFile() = default;
    base::Result<void> read_file(std::uint64_t offset, std::span<std::byte> to) const;
    /// Fills `to`, which is backed by `memory_offset` of `memory_fd`, with the file from `offset`
    /// on. Through the memfd and not through our mapping: no page fault and no clearing for each
    /// page. Moves the memfd's file position, which nobody else uses.
    base::Result<void> send_file(int memory_fd, std::uint64_t memory_offset, std::uint64_t offset,
                                 std::span<std::byte> to) const;

    std::string name_;
    base::FileDescriptor file_;
    std::span<const std::byte> bytes_;
    std::uint64_t size_ = 0;
    timespec modified_{};
};

}  // namespace cupule::boot
