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
/// Its bytes are read into guest RAM, or shown there without a copy where it can be held: a read
/// lease (fcntl(2), "Leases") makes whoever wants to write to it or shorten it wait until this
/// process has copied what it shows. Without a lease nothing is mapped, so that a file somebody
/// shortens gives an error and not a SIGBUS. The content is untrusted: `read` copies a piece out
/// once, for the caller to check.
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

    /// Puts [offset, offset + size) of the image into guest RAM: shows it there where it is held
    /// and whole pages fall on whole pages, else copies it. Fails, with part of it perhaps done,
    /// where the range leaves the image or RAM, or reading fails. One thread at a time.
    base::Result<void> copy_to(memory::GuestMemory& memory, memory::GuestAddress address,
                               std::uint64_t offset, std::uint64_t size) const;

    /// Tries to keep the file as it is until `release`. Somebody who wants to change it then waits,
    /// /proc/sys/fs/lease-break-time seconds (45) at most, and this process gets SIGIO, which must
    /// be blocked. Not possible: a file of another user without CAP_LEASE, one that is open for
    /// writing, a file system without leases.
    void hold();
    /// After GuestMemory::copy_shown.
    void release();
    bool held() const { return held_; }

    /// Fails when the open file's size or modification time is no longer what it was when opened:
    /// what was learned from it then does not hold any more.
    base::Result<void> check_unchanged() const;

  private:
    ImageFile() = default;
    base::Result<void> read_file(std::uint64_t offset, std::span<std::byte> to) const;
    /// The same as copy_to, for a range that lies in one region of RAM.
    base::Result<void> copy_into(memory::GuestMemory& memory, memory::GuestAddress address,
                                 std::uint64_t offset, std::uint64_t size) const;
    base::Result<void> copy_bytes(memory::GuestMemory& memory, memory::GuestAddress address,
                                  std::uint64_t offset, std::uint64_t size) const;

    std::string name_;
    base::FileDescriptor file_;
    std::span<const std::byte> bytes_;
    std::uint64_t size_ = 0;
    timespec modified_{};
    bool held_ = false;
};

}  // namespace cupule::boot
