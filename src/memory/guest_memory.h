#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "memory/guest_address.h"

namespace cupule::memory {

/// One piece of guest RAM: `size` bytes at `base`, backed by `offset` bytes into the memory's file.
struct RamRegion {
    GuestAddress base;
    std::uint64_t size = 0;
    std::uint64_t file_offset = 0;
    std::byte* host = nullptr;
};

enum class HugePages : std::uint8_t { when_available, never };

struct RamLayout {
    struct Piece {
        GuestAddress base;
        std::uint64_t size = 0;
    };
    /// Ascending, not overlapping, each a multiple of 4 KiB.
    std::vector<Piece> pieces;
    HugePages huge_pages = HugePages::when_available;
};

/// RAM of a guest that another process has made: `size` bytes of its file from `file_offset` on.
struct SharedPiece {
    GuestAddress base;
    std::uint64_t size = 0;
    int file = -1;
    std::uint64_t file_offset = 0;
};

/// All RAM of one guest. Other CPUs of the guest and device threads change it at any time: each
/// value is read once by `read` or `load` into the caller's own copy, checked there, and never read
/// again. Ranges that wrap, leave RAM or cross a hole fail as a whole. Any thread.
class GuestMemory {
  public:
    /// A memfd mapped once, sparse: pages take room when first touched. Huge pages are asked for,
    /// never required.
    static base::Result<std::unique_ptr<GuestMemory>> create(const RamLayout& layout);
    /// Maps what another process shares (vhost-user), which need not be a friend: pieces that are
    /// empty, overlap, wrap, are no multiples of 4 KiB or reach past the end of their file are an
    /// error. A file that is cut short later makes accesses fault. `fd` and what concerns shown
    /// files and discarding are not for such memory.
    static base::Result<std::unique_ptr<GuestMemory>> map(std::span<const SharedPiece> pieces);
    ~GuestMemory();
    GuestMemory(const GuestMemory&) = delete;
    GuestMemory& operator=(const GuestMemory&) = delete;

    std::span<const RamRegion> regions() const { return regions_; }
    /// What the process has mapped for them, which may be more.
    std::span<const std::span<std::byte>> mappings() const { return mappings_; }
    /// The memfd behind all regions, to share it (vhost-user, the HSM). As keep_in_file.
    int fd() const;
    /// From now on no file is shown as RAM: for who shares the memfd, pins pages (VFIO) or writes
    /// to RAM from threads that do not stop with the processors. When a part is made, before an
    /// image is loaded.
    void keep_in_file() const;
    std::uint64_t size() const { return size_; }

    /// Copies guest memory out, or nothing (false).
    [[nodiscard]] bool read(GuestAddress address, std::span<std::byte> to) const;
    /// Copies into guest memory, or nothing (false).
    [[nodiscard]] bool write(GuestAddress address, std::span<const std::byte> from) const;
    [[nodiscard]] bool fill(GuestAddress address, std::byte value, std::uint64_t size) const;

    /// A little-endian value, read once; std::nullopt outside RAM.
    template <class T>
    requires std::is_trivially_copyable_v<T> std::optional<T> load(GuestAddress address)
    const {
        T value;
        if (!read(address, std::as_writable_bytes(std::span(&value, 1)))) {
            return std::nullopt;
        }
        return value;
    }

    template <class T>
    requires std::is_trivially_copyable_v<T>
    [[nodiscard]] bool store(GuestAddress address, const T& value) const {
        return write(address, std::as_bytes(std::span(&value, 1)));
    }

    /// The host view of [address, address + size) for bulk I/O, empty when it is not wholly in one
    /// region. The guest can change its bytes at any time: pass it to the kernel or copy from it,
    /// never decide by it.
    std::span<std::byte> span(GuestAddress address, std::uint64_t size) const;

    /// Copies up to `size` bytes of `file` from `offset` on into RAM at `address` inside the
    /// kernel: no page fault and no clearing for each page. How many it was: fewer where the kernel
    /// cannot do it so, the file ends or RAM does. Not where files are shown. Control thread.
    std::uint64_t receive_file(GuestAddress address, int file, std::uint64_t offset,
                               std::uint64_t size) const;

    /// Shows `size` bytes of `file` from `offset` on as RAM at `address`, all three multiples of
    /// 4 KiB, without copying: a page belongs to the page cache until somebody writes to it, then
    /// to the guest alone. The caller answers for it that the file does not change meanwhile, or
    /// calls copy_shown first (boot::ImageFile, by a lease). False, and nothing is changed, where
    /// RAM is kept in its file or gets huge pages, and where the file cannot be read. Control
    /// thread.
    [[nodiscard]] bool show_file(GuestAddress address, int file, std::uint64_t offset,
                                 std::uint64_t size);

    /// Whether show_file may succeed at all.
    bool can_show_files() const { return !kept_in_file_ && !huge_pages_; }

    /// Copies what is shown into RAM's own file and shows it no longer: the files may then change,
    /// also shrink, which takes even written pages away from a private mapping. Nobody may write to
    /// RAM meanwhile. An error leaves some shown. Control thread.
    base::Result<void> copy_shown();

    /// Gives all pages back to the host; the guest then reads zeros. For reset. Control thread.
    base::Result<void> discard_all();
    /// The same for the whole pages within `part`, a piece of some `span` in RAM that is kept in
    /// its file. For balloons.
    base::Result<void> discard(std::span<std::byte> part) const;

  private:
    /// A range of our own mapping that shows a file.
    struct Shown {
        std::byte* host = nullptr;
        std::uint64_t size = 0;
        /// What of the memfd belongs there.
        std::uint64_t file_offset = 0;
    };

    GuestMemory() = default;
    /// Maps the memfd's [file_offset, file_offset + size): at `place`, over what is there, or
    /// anywhere (nullptr). nullptr and errno where that fails.
    std::byte* map_own(std::byte* place, std::uint64_t size, std::uint64_t file_offset) const;
    const RamRegion* find_region(GuestAddress address, std::uint64_t size) const;

    /// Maps one piece and adds it to the regions.
    base::Result<void> map_piece(const SharedPiece& piece);

    base::FileDescriptor file_;
    std::vector<RamRegion> regions_;
    /// What is mapped, where that is more than the regions.
    std::vector<std::span<std::byte>> mappings_;
    std::uint64_t size_ = 0;
    bool huge_pages_ = false;
    std::vector<Shown> shown_;
    mutable std::atomic<bool> kept_in_file_ = false;
};

}  // namespace cupule::memory
