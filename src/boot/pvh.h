#pragma once

#include "base/error.h"
#include "boot/elf_image.h"
#include "boot/load_target.h"

namespace cupule::boot {

/// Loads an ELF kernel that has `pvh_entry` and starts it as the Xen "x86/HVM direct boot ABI"
/// says: 32-bit protected mode, EBX = hvm_start_info version 1 with memory map, command line,
/// the RAM disk as module 0 and the RSDP.
base::Result<LoadedGuest> load_pvh(const ElfImage& kernel, const ImageFile& image,
                                   const LoadTarget& target, const KernelExtras& extras);

}  // namespace cupule::boot
