#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <variant>

#include "base/error.h"
#include "boot/bzimage.h"
#include "boot/elf_image.h"
#include "boot/image_file.h"
#include "boot/load_target.h"
#include "boot/multiboot.h"

namespace cupule::boot {

/// What went wrong, as far as acrn-dm's exit codes tell it apart.
enum class LoadFault : std::uint8_t {
    kernel_file,   ///< the kernel file is missing, unreadable or empty: exit code 10
    ramdisk_file,  ///< the same for the RAM disk: exit code 11
    other,         ///< all else (corrupt, does not fit, ELF file missing): exit code 1
};

struct LoadError {
    LoadFault fault = LoadFault::other;
    base::Error error{};
};

template <class T>
using LoadResult = std::expected<T, LoadError>;

/// What a user asked to boot; empty paths are not given.
struct LoadRequest {
    /// `-k`. Goes before `elf` when both are given, as in acrn-dm.
    std::string kernel{};
    /// `-E`.
    std::string elf{};
    /// `-r`.
    std::string initrd{};
    /// `-B`.
    std::string command_line{};
};

/// An opened and checked boot request. The kind of kernel is told by the content, not by the
/// option: bzImage; ELF with a PVH note; Multiboot 1; plain ELF32.
///
/// `open` belongs to the reading of the command line: it finds missing, empty and corrupt files
/// before a VM exists. `load` runs at each start of the guest. The files stay open in between, so a
/// reset loads the same ones even when their names mean others by then.
class GuestLoader {
  public:
    static LoadResult<GuestLoader> open(LoadRequest request);

    /// Fills guest memory, which reads as zeros, and says how the boot processor starts. A file
    /// that was rewritten in place since `open` is an error.
    LoadResult<LoadedGuest> load(const LoadTarget& target);

    bool holds_images() const { return kernel_file_.held() || (initrd_ && initrd_->held()); }
    /// Somebody waits to change an image that `memory` shows: gives the guest its own copy, and the
    /// files free. As GuestMemory::copy_shown. After an error they are still held, until the kernel
    /// takes them away.
    base::Result<void> release_images(memory::GuestMemory& memory);

  private:
    /// An ELF kernel with a PVH entry.
    struct PvhKernel {
        ElfImage elf;
    };
    using Kernel = std::variant<BzImage, PvhKernel, FlatKernel>;

    GuestLoader(ImageFile kernel_file, Kernel kernel, std::optional<ImageFile> initrd,
                std::string command_line);
    static base::Result<Kernel> parse(const ImageFile& image);
    base::Result<LoadedGuest> load_kernel(const LoadTarget& target);

    ImageFile kernel_file_;
    Kernel kernel_;
    std::optional<ImageFile> initrd_;
    std::string command_line_;
};

}  // namespace cupule::boot
