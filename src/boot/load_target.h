#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "boot/address_plan.h"
#include "boot/e820.h"
#include "boot/image_file.h"
#include "hypervisor/vcpu_state.h"
#include "memory/guest_memory.h"

namespace cupule::boot {

/// The guest an image is loaded into. RAM reads as zeros where nothing has been written yet: it is
/// new, or was discarded for the reset (GuestMemory::discard_all). Nothing here writes zeros.
struct LoadTarget {
    memory::GuestMemory& memory;
    const E820Map& e820;
    /// End of the RAM below 4 GiB that images may use.
    std::uint64_t low_ram_end = 0;
    /// Guest-physical address of the ACPI RSDP; 0: the guest looks for it by itself.
    std::uint64_t rsdp_address = 0;
    /// Show images in RAM instead of copying them, where they can be held (ImageFile::hold). The
    /// process then blocks SIGIO and answers it with GuestLoader::release_images.
    bool show_images = false;
};

/// What is loaded beside the kernel.
struct KernelExtras {
    std::string_view command_line;
    /// nullptr: no initial RAM disk.
    const ImageFile* initrd = nullptr;
};

/// A guest ready to run.
struct LoadedGuest {
    hypervisor::VcpuState boot_state;
    /// One line for the log: protocol, addresses and sizes.
    std::string description;
};

/// Where an initial RAM disk lies; size 0: there is none.
struct PlacedInitrd {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
};

/// Copies the command line with its NUL to `command_line_address`. Fails, naming the length and the
/// limit, when it is longer than `length_max` or the room there is.
base::Result<void> write_command_line(const LoadTarget& target, std::string_view command_line,
                                      std::uint64_t length_max);

/// Copies the RAM disk to the highest free page-aligned place that ends at or below `end_max`.
/// nullptr gives size 0. The error names the sizes when there is no such place.
base::Result<PlacedInitrd> place_initrd(const LoadTarget& target, AddressPlan& plan,
                                        const ImageFile* initrd, std::uint64_t end_max);

/// "initrd 0x… (N bytes)" or "no initrd", for descriptions.
std::string describe(const PlacedInitrd& initrd);

}  // namespace cupule::boot
