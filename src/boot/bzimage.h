#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "boot/boot_layout.h"
#include "boot/image_file.h"
#include "boot/load_target.h"

namespace cupule::boot {

/// A Linux bzImage, its header read and checked once.
/// Document: "The Linux/x86 Boot Protocol", versions 2.00 to 2.15
/// (Documentation/arch/x86/boot.rst); newer versions are compatible upwards and accepted.
struct BzImage {
    /// File offset and size of the protected-mode code.
    std::uint64_t code_offset = 0;
    std::uint64_t code_size = 0;
    /// The setup header as in the file, from offset 0x1F1 to its end.
    std::vector<std::byte> setup_header;
    std::uint16_t version = 0;
    /// Can be entered in long mode (XLF_KERNEL_64).
    bool entry_64 = false;
    /// RAM disk and boot data may lie above 4 GiB (XLF_CAN_BE_LOADED_ABOVE_4G).
    bool above_4g = false;
    bool relocatable = false;
    /// Power of two.
    std::uint64_t alignment = memory::page_size;
    /// Below 4 GiB: where the kernel runs, unless it is relocatable and loaded higher.
    std::uint64_t preferred_address = code_address;
    /// Bytes the kernel needs from its run-time address before it has read the memory map; at least
    /// `code_size`.
    std::uint64_t runtime_size = 0;
    /// Last byte a RAM disk may occupy.
    std::uint64_t initrd_address_max = 0;
    /// Characters, without the final NUL.
    std::uint64_t command_line_max = 0;

    /// Where a kernel that is not relocatable is loaded (it may run elsewhere).
    static constexpr std::uint64_t code_address = 0x10'0000;
};

/// True when the file claims to be a Linux kernel with a setup header ("HdrS").
bool is_bzimage(const ImageFile& image);

/// Reads and checks the header. Errors say which field has which value and what is allowed.
base::Result<BzImage> parse_bzimage(const ImageFile& image);

/// Lays kernel, RAM disk, command line and zero page into guest memory: by the 64-bit protocol when
/// the kernel has that entry, else by the 32-bit one. `image` is what `kernel` was parsed from.
base::Result<LoadedGuest> load_bzimage(const BzImage& kernel, const ImageFile& image,
                                       const LoadTarget& target, const KernelExtras& extras);

}  // namespace cupule::boot
