// RAM that another process has made: the rest of GuestMemory is in guest_memory.cc.
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/bits.h"
#include "memory/guest_memory.h"
#include "memory/page.h"

namespace cupule::memory {
namespace {}  // namespace

base::Result<std::unique_ptr<GuestMemory>> GuestMemory::map(std::span<const SharedPiece> pieces) {
    std::unique_ptr<GuestMemory> memory(new GuestMemory);
    memory->keep_files_out();
    for (const SharedPiece& piece : pieces) {
        CUPULE_TRY(memory->map_piece(piece));
    }
    return memory;
}

base::Result<void> GuestMemory::map_piece(const SharedPiece& piece) {
    const std::uint64_t base_address = piece.base.value;
    const std::uint64_t all = base_address | piece.size | piece.file_offset;
    constexpr std::uint64_t end_max = std::uint64_t{1} << 52;  // no processor has more
    if (piece.size == 0 || !base::is_aligned(all, page_size) || all >= end_max) {
        return base::fail("{:#x} bytes at {:#x} from {:#x} of a file are no piece of RAM",
                          piece.size, base_address, piece.file_offset);
    }
    for (const RamRegion& other : regions_) {
        if (base_address < other.base.value + other.size &&
            other.base.value < base_address + piece.size) {
            return base::fail("RAM at {:#x} and {:#x} overlaps", base_address, other.base.value);
        }
    }
    struct stat status {};
    if (fstat(piece.file, &status) < 0) {
        return base::fail_errno(errno, "cannot look at the file of RAM at {:#x}", base_address);
    }
    const auto file_bytes = static_cast<std::uint64_t>(status.st_size);
    if (!base::contains(0, file_bytes, piece.file_offset, piece.size)) {
        return base::fail("RAM at {:#x} needs {:#x} bytes of a file that has {:#x}", base_address,
                          piece.file_offset + piece.size, file_bytes);
    }
    // Files of huge pages are mapped in whole ones.
    const auto unit = static_cast<std::uint64_t>(status.st_blksize);
    const std::uint64_t alignment =
        base::is_power_of_two(unit) && unit > page_size ? unit : page_size;
    const std::uint64_t start = base::align_down(piece.file_offset, alignment);
    const std::uint64_t bytes = base::align_up(piece.file_offset + piece.size, alignment) - start;
    void* const mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                              piece.file, static_cast<off_t>(start));
    if (mapped == MAP_FAILED) {
        return base::fail_errno(errno, "cannot map {} KiB of RAM", bytes >> 10);
    }
    madvise(mapped, bytes, MADV_DONTDUMP);
    auto* const place = static_cast<std::byte*>(mapped);
    mappings_.emplace_back(place, bytes);
    regions_.push_back(
        {piece.base, piece.size, piece.file_offset, place + (piece.file_offset - start)});
    size_ += piece.size;
    return {};
}

}  // namespace cupule::memory
