#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.h"
#include "boot/elf_image.h"
#include "boot/load_target.h"

namespace cupule::boot {

/// A kernel that is entered in flat 32-bit protected mode: by Multiboot 1 where it has that header,
/// else as a plain ELF32 at its entry.
/// Document: Multiboot Specification 0.6.96.
struct FlatKernel {
    std::uint32_t entry = 0;
    std::vector<LoadSegment> segments;
    /// Has a header: gets the magic number in EAX and the boot information in EBX.
    bool multiboot = false;
};

/// Looks for a Multiboot 1 header and checks its flags: memory information (bit 1) and page
/// alignment (bit 0) are met, address fields (bit 16) used; what else is asked for is refused by
/// name. `elf` gives entry and segments unless the header has address fields. std::nullopt when the
/// file has no header.
base::Result<std::optional<FlatKernel>> parse_multiboot(const ImageFile& image,
                                                        const ElfImage* elf);

/// Loads the kernel, the RAM disk as module 0 (below 896 MiB where 32-bit kernels can reach it),
/// the command line and the boot information.
base::Result<LoadedGuest> load_flat(const FlatKernel& kernel, const ImageFile& image,
                                    const LoadTarget& target, const KernelExtras& extras);

}  // namespace cupule::boot
