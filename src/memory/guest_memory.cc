#include "memory/guest_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/bits.h"
#include "memory/guest_copy.h"

namespace cupule::memory {
namespace {

constexpr std::uint64_t page_size = 4096;
constexpr std::uint64_t huge_page_size = 2 << 20;

}  // namespace

base::Result<std::unique_ptr<GuestMemory>> GuestMemory::create(const RamLayout& layout) {
    std::unique_ptr<GuestMemory> memory(new GuestMemory);
    for (const RamLayout::Piece& piece : layout.pieces) {
        CUPULE_ASSERT(piece.size > 0 && base::is_aligned(piece.base.value, page_size) &&
                      base::is_aligned(piece.size, page_size));
        memory->size_ += piece.size;
    }
    memory->file_ =
        base::FileDescriptor(memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!memory->file_) {
        return base::fail_errno(errno, "cannot create the memfd for guest RAM");
    }
    const int fd = memory->file_.get();
    if (ftruncate(fd, static_cast<off_t>(memory->size_)) < 0) {
        return base::fail_errno(errno, "cannot size guest RAM to {} MiB", memory->size_ >> 20);
    }
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    std::uint64_t file_offset = 0;
    for (const RamLayout::Piece& piece : layout.pieces) {
        void* mapped = mmap(nullptr, piece.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                            fd, static_cast<off_t>(file_offset));
        if (mapped == MAP_FAILED) {
            return base::fail_errno(errno, "cannot map {} MiB of guest RAM", piece.size >> 20);
        }
        if (layout.huge_pages == HugePages::when_available && piece.size >= huge_page_size) {
            madvise(mapped, piece.size, MADV_HUGEPAGE);  // A wish: memory works without.
        }
        madvise(mapped, piece.size, MADV_DONTDUMP);
        memory->regions_.push_back(
            {piece.base, piece.size, file_offset, static_cast<std::byte*>(mapped)});
        file_offset += piece.size;
    }
    return memory;
}

GuestMemory::~GuestMemory() {
    for (const RamRegion& region : regions_) {
        munmap(region.host, region.size);
    }
}

std::span<std::byte> GuestMemory::span(GuestAddress address, std::uint64_t size) const {
    for (const RamRegion& region : regions_) {
        if (base::contains(region.base.value, region.size, address.value, size)) {
            return {region.host + (address.value - region.base.value), size};
        }
    }
    return {};
}

bool GuestMemory::read(GuestAddress address, std::span<std::byte> to) const {
    const std::span<std::byte> from = span(address, to.size());
    if (from.size() != to.size() || from.data() == nullptr) {
        return to.empty();
    }
    copy_from_guest(to, from.data());
    return true;
}

bool GuestMemory::write(GuestAddress address, std::span<const std::byte> from) const {
    const std::span<std::byte> to = span(address, from.size());
    if (to.size() != from.size() || to.data() == nullptr) {
        return from.empty();
    }
    copy_to_guest(to.data(), from);
    return true;
}

bool GuestMemory::fill(GuestAddress address, std::byte value, std::uint64_t size) const {
    const std::span<std::byte> to = span(address, size);
    if (to.data() == nullptr) {
        return size == 0;
    }
    fill_guest(to, value);
    return true;
}

base::Result<void> GuestMemory::discard_all() const {
    for (const RamRegion& region : regions_) {
        if (madvise(region.host, region.size, MADV_REMOVE) < 0) {
            return base::fail_errno(errno, "cannot discard guest RAM at {:#x}", region.base.value);
        }
    }
    return {};
}

base::Result<void> GuestMemory::discard(std::span<std::byte> part) const {
    const auto start = reinterpret_cast<std::uintptr_t>(part.data());
    const std::uint64_t first = base::align_up(start, page_size);
    const std::uint64_t end = base::align_down(start + part.size(), page_size);
    if (first >= end) {
        return {};
    }
    std::byte* const page = part.data() + (first - start);
    if (madvise(page, end - first, MADV_REMOVE) < 0) {
        return base::fail_errno(errno, "cannot give {} bytes of guest RAM back", end - first);
    }
    return {};
}

}  // namespace cupule::memory
