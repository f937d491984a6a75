#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.h"
#include "boot/address_plan.h"
#include "boot/image_file.h"
#include "memory/guest_memory.h"

namespace cupule::boot {

/// A piece of a file and the guest-physical place it goes to. `memory_size` is at least
/// `file_size`; what is beyond reads as zeros. Ends below 4 GiB.
struct LoadSegment {
    std::uint64_t file_offset = 0;
    std::uint64_t file_size = 0;
    std::uint64_t address = 0;
    std::uint64_t memory_size = 0;
};

/// An x86 ELF executable, its headers and notes read and checked once.
/// Documents: System V ABI gABI 4.1 chapters 4 and 5; Xen "x86/HVM direct boot ABI" for the note.
struct ElfImage {
    bool is_64 = false;
    std::uint64_t entry = 0;
    /// The PT_LOAD segments that occupy memory, by address, not overlapping; at least one.
    std::vector<LoadSegment> segments;
    /// The 32-bit entry of XEN_ELFNOTE_PHYS32_ENTRY, where the file has that note.
    std::optional<std::uint32_t> pvh_entry;
};

/// True for the ELF magic number.
bool is_elf(const ImageFile& image);

/// Reads and checks headers and notes. Errors name the header, the value and what is allowed.
base::Result<ElfImage> parse_elf(const ImageFile& image);

/// True when `address` lies in one of `segments`.
bool holds(const std::vector<LoadSegment>& segments, std::uint64_t address);

/// Takes the segments' places and copies them there. Segments go to their physical addresses.
base::Result<void> load_segments(const ImageFile& image, const std::vector<LoadSegment>& segments,
                                 memory::GuestMemory& memory, AddressPlan& plan);

}  // namespace cupule::boot
