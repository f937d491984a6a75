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
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "memory/guest_address.h"

namespace cupule::memory {

/// One piece of guest RAM: `size` bytes at `base`. In a memfd it is what begins at `file_offset`.
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
    /// In a memfd from the start: for a hypervisor that takes RAM from a file (the HSM).
    bool shared = false;
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
    /// As long as one lives, the pages behind RAM stay the same ones: for who pins them and reaches
    /// them by tables of its own (an IOMMU, ACRN's hypervisor), and would keep those that this
    /// process has given back. Move-only; the memory outlives it.
    class KeptPages {
      public:
        KeptPages() = default;
        explicit KeptPages(const GuestMemory& memory) : memory_(&memory) { ++memory.pages_kept_; }
        KeptPages(KeptPages&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}
        KeptPages& operator=(KeptPages&& other) noexcept {
            std::swap(memory_, other.memory_);
            return *this;
        }
        KeptPages(const KeptPages&) = delete;
        KeptPages& operator=(const KeptPages&) = delete;
        ~KeptPages() {
            if (memory_ != nullptr) {
                --memory_->pages_kept_;
            }
        }

      private:
        const GuestMemory* memory_ = nullptr;
    };

    /// Sparse: pages take room when first touched. Anonymous memory, because hosts give that huge
    /// pages and memfds none (docs/adr/0010), until somebody shares it. Huge pages are asked for,
    /// never required.
    static base::Result<std::unique_ptr<GuestMemory>> create(const RamLayout& layout);
    /// Maps what another process shares (vhost-user), which need not be a friend: pieces that are
    /// empty, overlap, wrap, are no multiples of 4 KiB or reach past the end of their file are an
    /// error. A file that is cut short later makes accesses fault. `share` and what concerns shown
    /// files and discarding are not for such memory.
    static base::Result<std::unique_ptr<GuestMemory>> map(std::span<const SharedPiece> pieces);
    ~GuestMemory();
    GuestMemory(const GuestMemory&) = delete;
    GuestMemory& operator=(const GuestMemory&) = delete;

    std::span<const RamRegion> regions() const { return regions_; }
    /// What the process has mapped for them, which may be more.
    std::span<const std::span<std::byte>> mappings() const { return mappings_; }
    /// Puts RAM into a memfd, at the same addresses, and gives its descriptor: all regions one
    /// after the other, as their `file_offset` says. For who maps RAM from another process
    /// (vhost-user). What was written before is lost, so: when a part is made, before an image is
    /// loaded. As keep_files_out. Control thread.
    base::Result<int> share();
    /// The memfd that RAM is in, -1 where it is not shared.
    int file() const { return file_.get(); }
    /// From now on no file is shown as RAM: for who writes to RAM from threads that do not stop
    /// with the processors. When a part is made, before an image is loaded.
    void keep_files_out() const;
    /// From now on, as long as the answer lives, `discard` does nothing, `discard_all` clears and
    /// no file is shown as RAM. Before an image is loaded, while nobody discards. Control thread.
    [[nodiscard]] KeptPages keep_pages() const;
    /// Whether somebody keeps the pages. Any thread.
    bool keeps_pages() const { return pages_kept_ != 0; }
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
    /// files are kept out, and where the file cannot be read. Control
    /// thread.
    [[nodiscard]] bool show_file(GuestAddress address, int file, std::uint64_t offset,
                                 std::uint64_t size);

    /// Whether show_file may succeed at all.
    bool can_show_files() const { return !files_kept_out_ && !keeps_pages(); }

    /// Whether the guest is better off with a copy of what is shown, soon: files come in small
    /// pages, copies in huge ones where the host has them.
    bool wants_copies() const;

    /// Reads what is shown into copies beside RAM, for copy_shown to put in their place; the guest
    /// runs on. Where that fails copy_shown does it all. Any thread, while nobody calls another
    /// function for shown files or discards RAM.
    void prepare_copies();

    /// Gives the guest its own copy of what is shown, and shows it no longer: the files may then
    /// change, also shrink, which takes even written pages away from a private mapping. Nobody may
    /// write to RAM meanwhile. An error leaves some shown. Control thread.
    base::Result<void> copy_shown();

    /// Gives all pages back to the host, or clears them where they are kept; the guest then reads
    /// zeros. For reset. Control thread.
    base::Result<void> discard_all();
    /// Gives the whole pages within `part` back, a piece of some `span` where no file is shown; the
    /// guest then reads zeros. Where pages are kept, nothing happens. For balloons.
    base::Result<void> discard(std::span<std::byte> part) const;

  private:
    /// A range of our own mapping that shows a file.
    struct Shown {
        std::byte* host = nullptr;
        std::uint64_t size = 0;
        int file = -1;
        std::uint64_t offset = 0;
        /// What `prepare_copies` made: of the file, without what the guest has written.
        std::byte* copy = nullptr;
    };

    GuestMemory() = default;
    base::Result<void> create_file();
    /// Maps one piece of another process and adds it to the regions.
    base::Result<void> map_piece(const SharedPiece& piece);
    base::Result<void> copy(Shown& shown) const;
    void forget_shown();
    /// Maps fresh memory at `place`, over what is there: the memfd's [file_offset, file_offset +
    /// size), or anonymous memory where there is none. False and errno where that fails.
    [[nodiscard]] bool map_own(std::byte* place, std::uint64_t size,
                               std::uint64_t file_offset) const;
    bool give_back(std::byte* place, std::uint64_t size) const;
    /// Zeros in the same pages; what has none is left so where the memfd tells.
    void clear(const RamRegion& region) const;
    const RamRegion* find_region(GuestAddress address, std::uint64_t size) const;

    /// The memfd, where RAM is shared.
    base::FileDescriptor file_;
    std::vector<RamRegion> regions_;
    std::vector<std::span<std::byte>> mappings_;
    std::uint64_t size_ = 0;
    HugePages huge_pages_ = HugePages::when_available;
    std::vector<Shown> shown_;
    mutable std::atomic<bool> files_kept_out_ = false;
    /// How many KeptPages there are.
    mutable std::atomic<unsigned> pages_kept_ = 0;
};

}  // namespace cupule::memory
