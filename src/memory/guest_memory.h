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

/// All RAM of one guest. Other CPUs of the guest and device threads change it at any time: each
/// value is read once by `read` or `load` into the caller's own copy, checked there, and never read
/// again. Ranges that wrap, leave RAM or cross a hole fail as a whole. Any thread.
class GuestMemory {
  public:
    /// A memfd mapped once, sparse: pages take room when first touched. Huge pages are asked for,
    /// never required.
    static base::Result<std::unique_ptr<GuestMemory>> create(const RamLayout& layout);
    ~GuestMemory();
    GuestMemory(const GuestMemory&) = delete;
    GuestMemory& operator=(const GuestMemory&) = delete;

    std::span<const RamRegion> regions() const { return regions_; }
    /// The memfd behind all regions (shared with vhost, vhost-user and the HSM).
    int fd() const { return file_.get(); }
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

    /// Gives all pages back to the host; the guest then reads zeros. For reset.
    base::Result<void> discard_all() const;
    /// The same for the whole pages within `part`, a piece of some `span`. For balloons.
    base::Result<void> discard(std::span<std::byte> part) const;

  private:
    GuestMemory() = default;
    base::FileDescriptor file_;
    std::vector<RamRegion> regions_;
    std::uint64_t size_ = 0;
};

}  // namespace cupule::memory
