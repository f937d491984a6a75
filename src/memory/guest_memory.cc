#include "memory/guest_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "base/assert.h"
#include "base/bits.h"
#include "memory/guest_copy.h"

namespace cupule::memory {
namespace {

constexpr std::uint64_t page_size = 4096;
constexpr std::uint64_t huge_page_size = 2 << 20;

/// Whether the host gives huge pages to memfds that ask for them (kernel documentation,
/// "Transparent Hugepage Support": the choice is the word in brackets).
bool host_has_huge_pages() {
    const auto file =
        base::open_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", O_RDONLY);
    std::array<char, 128> text{};
    const ssize_t got = file ? ::read(file->get(), text.data(), text.size()) : 0;
    const std::string_view choice(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    return choice.contains('[') && !choice.contains("[never]") && !choice.contains("[deny]");
}

/// Whether no page of the file mapped at `place` has to come from the disk.
bool is_resident(std::byte* place, std::uint64_t size) {
    std::vector<unsigned char> pages(size / page_size);
    return mincore(place, size, pages.data()) == 0 &&
           std::ranges::all_of(pages, [](unsigned char page) { return (page & 1) != 0; });
}

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
    memory->huge_pages_ = layout.huge_pages == HugePages::when_available && host_has_huge_pages();
    std::uint64_t file_offset = 0;
    for (const RamLayout::Piece& piece : layout.pieces) {
        std::byte* const mapped = memory->map_own(nullptr, piece.size, file_offset);
        if (mapped == nullptr) {
            return base::fail_errno(errno, "cannot map {} MiB of guest RAM", piece.size >> 20);
        }
        memory->mappings_.emplace_back(mapped, piece.size);
        memory->regions_.push_back({piece.base, piece.size, file_offset, mapped});
        file_offset += piece.size;
    }
    return memory;
}

std::byte* GuestMemory::map_own(std::byte* place, std::uint64_t size,
                                std::uint64_t file_offset) const {
    const int flags = MAP_SHARED | MAP_NORESERVE | (place != nullptr ? MAP_FIXED : 0);
    void* const mapped = mmap(place, size, PROT_READ | PROT_WRITE, flags, file_.get(),
                              static_cast<off_t>(file_offset));
    if (mapped == MAP_FAILED) {
        return nullptr;
    }
    if (huge_pages_ && size >= huge_page_size) {
        madvise(mapped, size, MADV_HUGEPAGE);  // A wish: memory works without.
    }
    madvise(mapped, size, MADV_DONTDUMP);
    return static_cast<std::byte*>(mapped);
}

GuestMemory::~GuestMemory() {
    for (const std::span<std::byte> mapping : mappings_) {
        munmap(mapping.data(), mapping.size());
    }
}

base::Result<std::unique_ptr<GuestMemory>> GuestMemory::map(std::span<const SharedPiece> pieces) {
    std::unique_ptr<GuestMemory> memory(new GuestMemory);
    memory->kept_in_file_ = true;
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

int GuestMemory::fd() const {
    keep_in_file();
    return file_.get();
}

void GuestMemory::keep_in_file() const {
    // Too late: whoever asks would not see what the guest sees.
    CUPULE_ASSERT(shown_.empty());
    kept_in_file_ = true;
}

const RamRegion* GuestMemory::find_region(GuestAddress address, std::uint64_t size) const {
    const auto found = std::ranges::find_if(regions_, [&](const RamRegion& region) {
        return base::contains(region.base.value, region.size, address.value, size);
    });
    return found == regions_.end() ? nullptr : &*found;
}

std::span<std::byte> GuestMemory::span(GuestAddress address, std::uint64_t size) const {
    const RamRegion* const region = find_region(address, size);
    if (region == nullptr) {
        return {};
    }
    return {region->host + (address.value - region->base.value), size};
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

std::uint64_t GuestMemory::receive_file(GuestAddress address, int file, std::uint64_t offset,
                                        std::uint64_t size) const {
    const RamRegion* const region = find_region(address, size);
    if (region == nullptr) {
        return 0;
    }
    const std::uint64_t into = address.value - region->base.value;
    // Nobody else uses the memfd's position.
    if (lseek(file_.get(), static_cast<off_t>(region->file_offset + into), SEEK_SET) < 0) {
        return 0;
    }
    auto from = static_cast<off_t>(offset);
    std::uint64_t done = 0;
    while (done < size) {
        const ssize_t sent = sendfile(file_.get(), file, &from, size - done);
        if (sent <= 0) {
            break;
        }
        done += static_cast<std::uint64_t>(sent);
    }
    return done;
}

// Files shown as RAM.

bool GuestMemory::show_file(GuestAddress address, int file, std::uint64_t offset,
                            std::uint64_t size) {
    CUPULE_ASSERT(base::is_aligned(address.value | offset | size, page_size));
    const RamRegion* const region = find_region(address, size);
    if (region == nullptr || size == 0 || !can_show_files()) {
        return false;
    }
    const std::uint64_t into = address.value - region->base.value;
    const Shown shown{region->host + into, size, region->file_offset + into};
    if (mmap(shown.host, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED,
             file, static_cast<off_t>(offset)) == MAP_FAILED) {
        return false;
    }
    madvise(shown.host, size, MADV_DONTDUMP);
    // What is not in the page cache is read now: what the disk cannot give is then an error of this
    // load and not of the guest's first access.
    if (!is_resident(shown.host, size) && madvise(shown.host, size, MADV_POPULATE_READ) < 0) {
        CUPULE_ASSERT(map_own(shown.host, size, shown.file_offset) != nullptr);
        return false;
    }
    shown_.push_back(shown);
    return true;
}

base::Result<void> GuestMemory::copy_shown() {
    while (!shown_.empty()) {
        const Shown& shown = shown_.back();
        std::uint64_t done = 0;
        while (done < shown.size) {
            const ssize_t written = pwrite(file_.get(), shown.host + done, shown.size - done,
                                           static_cast<off_t>(shown.file_offset + done));
            if (written <= 0) {
                return base::fail_errno(errno, "cannot copy {} KiB of an image for the guest",
                                        shown.size >> 10);
            }
            done += static_cast<std::uint64_t>(written);
        }
        if (map_own(shown.host, shown.size, shown.file_offset) == nullptr) {
            return base::fail_errno(errno, "cannot map {} KiB of guest RAM again",
                                    shown.size >> 10);
        }
        shown_.pop_back();
    }
    return {};
}

base::Result<void> GuestMemory::discard_all() {
    for (const Shown& shown : shown_) {
        if (map_own(shown.host, shown.size, shown.file_offset) == nullptr) {
            return base::fail_errno(errno, "cannot map {} KiB of guest RAM again",
                                    shown.size >> 10);
        }
    }
    shown_.clear();
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
