#include "memory/guest_memory.h"

#include <fcntl.h>
#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/assert.h"
#include "base/bits.h"
#include "memory/guest_copy.h"
#include "memory/page.h"

namespace cupule::memory {
namespace {

constexpr std::uint64_t huge_page_size = 2 << 20;

/// Reserves addresses for `size` bytes of RAM at `base`. They lie in huge pages as the guest's own
/// addresses do: only then can the hypervisor map a huge page as one. nullptr and errno on failure.
std::byte* reserve(GuestAddress base, std::uint64_t size) {
    const std::uint64_t room = size + huge_page_size;
    void* const mapped =
        mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) {
        return nullptr;
    }
    auto* const begin = static_cast<std::byte*>(mapped);
    const std::uint64_t before =
        base::wrapping_sub(base.value, reinterpret_cast<std::uintptr_t>(mapped)) % huge_page_size;
    std::byte* const place = begin + before;
    if (before > 0) {
        munmap(begin, before);
    }
    munmap(place + size, huge_page_size - before);
    return place;
}

/// Whether the host gives huge pages to anonymous memory that asks for them (kernel documentation,
/// "Transparent Hugepage Support": the choice is the word in brackets).
bool host_has_huge_pages() {
    const auto file = base::open_file("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY);
    std::array<char, 128> text{};
    const ssize_t got = file ? ::read(file->get(), text.data(), text.size()) : 0;
    const std::string_view choice(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    return choice.contains('[') && !choice.contains("[never]");
}

/// Shows in /proc/PID/smaps what it is.
void name_ram(std::byte* place, std::uint64_t size) {
    prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, place, size, "guest-ram");
}

/// Anonymous memory that can take the place of `size` bytes at `place` with its huge pages whole.
/// nullptr on failure.
std::byte* map_beside(const std::byte* place, std::uint64_t size) {
    std::byte* const copy = reserve({reinterpret_cast<std::uintptr_t>(place)}, size);
    if (copy != nullptr && mprotect(copy, size, PROT_READ | PROT_WRITE) < 0) {
        munmap(copy, size);
        return nullptr;
    }
    name_ram(copy, size);
    return copy;
}

/// Reads `size` bytes of `file` from `offset` on, or as many as there are.
std::uint64_t read_file(int file, std::uint64_t offset, std::byte* to, std::uint64_t size) {
    std::uint64_t done = 0;
    while (done < size) {
        const ssize_t got = pread(file, to + done, size - done, static_cast<off_t>(offset + done));
        if (got <= 0) {
            break;
        }
        done += static_cast<std::uint64_t>(got);
    }
    return done;
}

/// Copies those pages of a private mapping of a file that somebody has written to (proc(5),
/// /proc/PID/pagemap). False when the kernel does not tell.
bool copy_written_pages(std::byte* to, const std::byte* from, std::uint64_t size) {
    constexpr std::uint64_t is_of_the_file = std::uint64_t{1} << 61;
    constexpr std::uint64_t is_swapped = std::uint64_t{1} << 62;
    constexpr std::uint64_t is_present = std::uint64_t{1} << 63;
    const auto pagemap = base::open_file("/proc/self/pagemap", O_RDONLY);
    std::vector<std::uint64_t> entries(size / page_size);
    const std::uint64_t first = reinterpret_cast<std::uintptr_t>(from) / page_size;
    const std::span<std::byte> wanted = std::as_writable_bytes(std::span(entries));
    if (!pagemap || read_file(pagemap->get(), first * sizeof(std::uint64_t), wanted.data(),
                              wanted.size()) != wanted.size()) {
        return false;
    }
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const bool is_resident = (entries[i] & is_present) != 0;
        if ((entries[i] & is_swapped) != 0 || (is_resident && (entries[i] & is_of_the_file) == 0)) {
            std::memcpy(to + i * page_size, from + i * page_size, page_size);
        }
    }
    return true;
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
    memory->huge_pages_ = layout.huge_pages;
    if (layout.shared) {
        CUPULE_TRY(memory->create_file());
    }
    std::uint64_t file_offset = 0;
    for (const RamLayout::Piece& piece : layout.pieces) {
        std::byte* const place = reserve(piece.base, piece.size);
        if (place == nullptr) {
            return base::fail_errno(errno, "cannot reserve {} MiB of addresses for guest RAM",
                                    piece.size >> 20);
        }
        memory->mappings_.emplace_back(place, piece.size);
        memory->regions_.push_back({piece.base, piece.size, file_offset, place});
        if (!memory->map_own(place, piece.size, file_offset)) {
            return base::fail_errno(errno, "cannot map {} MiB of guest RAM", piece.size >> 20);
        }
        file_offset += piece.size;
    }
    return memory;
}

base::Result<void> GuestMemory::create_file() {
    keep_files_out();
    base::FileDescriptor file(memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file) {
        return base::fail_errno(errno, "cannot create the memfd for guest RAM");
    }
    if (ftruncate(file.get(), static_cast<off_t>(size_)) < 0) {
        return base::fail_errno(errno, "cannot size guest RAM to {} MiB", size_ >> 20);
    }
    fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    file_ = std::move(file);
    return {};
}

bool GuestMemory::map_own(std::byte* place, std::uint64_t size, std::uint64_t file_offset) const {
    const int kind = file_ ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    if (mmap(place, size, PROT_READ | PROT_WRITE, kind | MAP_NORESERVE | MAP_FIXED, file_.get(),
             file_ ? static_cast<off_t>(file_offset) : 0) == MAP_FAILED) {
        return false;
    }
    // Wishes: memory works without.
    madvise(place, size, huge_pages_ == HugePages::never ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    madvise(place, size, MADV_DONTDUMP);
    if (!file_) {
        name_ram(place, size);
    }
    return true;
}

GuestMemory::~GuestMemory() {
    forget_shown();
    for (const std::span<std::byte> mapping : mappings_) {
        munmap(mapping.data(), mapping.size());
    }
}

base::Result<int> GuestMemory::share() {
    // Too late: whoever asks would not see what the guest sees.
    CUPULE_ASSERT(shown_.empty());
    if (!file_) {
        CUPULE_ASSERT(!keeps_pages());
        CUPULE_TRY(create_file());
        for (const RamRegion& region : regions_) {
            if (!map_own(region.host, region.size, region.file_offset)) {
                return base::fail_errno(errno, "cannot map {} MiB of shared guest RAM",
                                        region.size >> 20);
            }
        }
    }
    return file_.get();
}

void GuestMemory::keep_files_out() const {
    CUPULE_ASSERT(shown_.empty());
    files_kept_out_ = true;
}

GuestMemory::KeptPages GuestMemory::keep_pages() const {
    CUPULE_ASSERT(shown_.empty());
    return KeptPages(*this);
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
    if (to.empty()) {
        return true;
    }
    const std::span<std::byte> from = span(address, to.size());
    if (from.empty()) {
        return false;
    }
    copy_from_guest(to, from.data());
    return true;
}

bool GuestMemory::write(GuestAddress address, std::span<const std::byte> from) const {
    if (from.empty()) {
        return true;
    }
    const std::span<std::byte> to = span(address, from.size());
    if (to.empty()) {
        return false;
    }
    copy_to_guest(to.data(), from);
    return true;
}

bool GuestMemory::fill(GuestAddress address, std::byte value, std::uint64_t size) const {
    if (size == 0) {
        return true;
    }
    const std::span<std::byte> to = span(address, size);
    if (to.empty()) {
        return false;
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
    return read_file(file, offset, region->host + (address.value - region->base.value), size);
}

// Files shown as RAM.

bool GuestMemory::show_file(GuestAddress address, int file, std::uint64_t offset,
                            std::uint64_t size) {
    CUPULE_ASSERT(base::is_aligned(address.value | offset | size, page_size));
    const RamRegion* const region = find_region(address, size);
    if (region == nullptr || size == 0 || !can_show_files()) {
        return false;
    }
    const Shown shown{.host = region->host + (address.value - region->base.value),
                      .size = size,
                      .file = file,
                      .offset = offset};
    if (mmap(shown.host, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED,
             file, static_cast<off_t>(offset)) == MAP_FAILED) {
        return false;
    }
    madvise(shown.host, size, MADV_DONTDUMP);
    // What is not in the page cache is read now: what the disk cannot give is then an error of this
    // load and not of the guest's first access.
    if (!is_resident(shown.host, size) && madvise(shown.host, size, MADV_POPULATE_READ) < 0) {
        CUPULE_ASSERT(map_own(shown.host, size, 0));
        return false;
    }
    shown_.push_back(shown);
    return true;
}

bool GuestMemory::wants_copies() const {
    return huge_pages_ == HugePages::when_available && host_has_huge_pages();
}

void GuestMemory::prepare_copies() {
    for (Shown& shown : shown_) {
        std::byte* const copy = map_beside(shown.host, shown.size);
        if (copy == nullptr) {
            return;
        }
        madvise(copy, shown.size, MADV_HUGEPAGE);
        if (read_file(shown.file, shown.offset, copy, shown.size) != shown.size) {
            munmap(copy, shown.size);
            return;
        }
        shown.copy = copy;
    }
}

base::Result<void> GuestMemory::copy_shown() {
    while (!shown_.empty()) {
        CUPULE_TRY(copy(shown_.back()));
        shown_.pop_back();
    }
    return {};
}

base::Result<void> GuestMemory::copy(Shown& shown) const {
    const bool prepared = shown.copy != nullptr;
    if (!prepared) {
        shown.copy = map_beside(shown.host, shown.size);
    }
    if (shown.copy == nullptr) {
        return base::fail_errno(errno, "no memory to copy {} KiB of an image for the guest",
                                shown.size >> 10);
    }
    if (!prepared || !copy_written_pages(shown.copy, shown.host, shown.size)) {
        std::memcpy(shown.copy, shown.host, shown.size);
    }
    madvise(shown.copy, shown.size, MADV_DONTDUMP);
    if (mremap(shown.copy, shown.size, shown.size, MREMAP_MAYMOVE | MREMAP_FIXED, shown.host) ==
        MAP_FAILED) {
        return base::fail_errno(errno, "cannot map {} KiB of guest RAM again", shown.size >> 10);
    }
    return {};
}

void GuestMemory::forget_shown() {
    for (const Shown& shown : shown_) {
        if (shown.copy != nullptr) {
            munmap(shown.copy, shown.size);
        }
    }
    shown_.clear();
}

base::Result<void> GuestMemory::discard_all() {
    for (const Shown& shown : shown_) {
        if (!map_own(shown.host, shown.size, 0)) {
            return base::fail_errno(errno, "cannot map {} KiB of guest RAM again",
                                    shown.size >> 10);
        }
    }
    forget_shown();
    for (const RamRegion& region : regions_) {
        if (keeps_pages()) {
            clear(region);
        } else if (!give_back(region.host, region.size)) {
            return base::fail_errno(errno, "cannot discard guest RAM at {:#x}", region.base.value);
        }
    }
    return {};
}

bool GuestMemory::give_back(std::byte* place, std::uint64_t size) const {
    return madvise(place, size, file_ ? MADV_REMOVE : MADV_DONTNEED) == 0;
}

void GuestMemory::clear(const RamRegion& region) const {
    if (!file_) {
        fill_guest({region.host, region.size}, std::byte{0});
        return;
    }
    const auto begin = static_cast<off_t>(region.file_offset);
    const auto end = static_cast<off_t>(region.file_offset + region.size);
    for (off_t at = begin; at < end;) {
        const off_t first = lseek(file_.get(), at, SEEK_DATA);
        if (first < 0 || first >= end) {
            return;  // no page from here on
        }
        // Whoever shares the file may have taken the page away meanwhile: then all of it.
        const off_t hole = lseek(file_.get(), first, SEEK_HOLE);
        at = hole > first ? std::min(hole, end) : end;
        fill_guest({region.host + (first - begin), static_cast<std::size_t>(at - first)},
                   std::byte{0});
    }
}

base::Result<void> GuestMemory::discard(std::span<std::byte> part) const {
    if (keeps_pages()) {
        return {};
    }
    const auto start = reinterpret_cast<std::uintptr_t>(part.data());
    const std::uint64_t first = base::align_up(start, page_size);
    const std::uint64_t end = base::align_down(start + part.size(), page_size);
    if (first >= end) {
        return {};
    }
    std::byte* const page = part.data() + (first - start);
    if (!give_back(page, end - first)) {
        return base::fail_errno(errno, "cannot give {} bytes of guest RAM back", end - first);
    }
    return {};
}

}  // namespace cupule::memory
