#include "boot/loader.h"

#include <fmt/format.h>

#include <utility>

#include "boot/boot_layout.h"
#include "boot/pvh.h"

namespace cupule::boot {
namespace {

/// More than any kernel with its debug information; a RAM disk must fit the guest anyway.
constexpr std::uint64_t kernel_size_max = four_gibibytes;
constexpr std::uint64_t initrd_size_max = 64 * four_gibibytes;

std::unexpected<LoadError> because_of(LoadFault fault, const base::Error& error,
                                      std::string_view what) {
    return std::unexpected(LoadError{.fault = fault, .error = error.in(what)});
}

}  // namespace

GuestLoader::GuestLoader(ImageFile kernel_file, Kernel kernel, std::optional<ImageFile> initrd,
                         std::string command_line)
    : kernel_file_(std::move(kernel_file)),
      kernel_(std::move(kernel)),
      initrd_(std::move(initrd)),
      command_line_(std::move(command_line)) {}

LoadResult<GuestLoader> GuestLoader::open(LoadRequest request) {
    const bool by_elf = request.kernel.empty();
    const std::string& path = by_elf ? request.elf : request.kernel;
    if (path.empty()) {
        return std::unexpected(LoadError{.fault = LoadFault::other,
                                         .error = {.message = "no kernel or ELF file is given"}});
    }
    auto file = ImageFile::open(path, kernel_size_max);
    if (!file) {
        return because_of(by_elf ? LoadFault::other : LoadFault::kernel_file, file.error(),
                          "kernel");
    }
    std::optional<ImageFile> initrd;
    if (!request.initrd.empty()) {
        auto opened = ImageFile::open(request.initrd, initrd_size_max);
        if (!opened) {
            return because_of(LoadFault::ramdisk_file, opened.error(), "initial RAM disk");
        }
        initrd = std::move(*opened);
    }
    auto kernel = parse(*file);
    if (!kernel) {
        return because_of(LoadFault::other, kernel.error(), fmt::format("kernel '{}'", path));
    }
    return GuestLoader(std::move(*file), std::move(*kernel), std::move(initrd),
                       std::move(request.command_line));
}

base::Result<GuestLoader::Kernel> GuestLoader::parse(const ImageFile& image) {
    if (is_bzimage(image)) {
        return parse_bzimage(image);
    }
    std::optional<ElfImage> elf;
    if (is_elf(image)) {
        CUPULE_TRY_ASSIGN(elf, parse_elf(image));
        if (elf->pvh_entry) {
            return PvhKernel{std::move(*elf)};
        }
    }
    CUPULE_TRY_ASSIGN(std::optional<FlatKernel> flat,
                      parse_multiboot(image, elf ? &*elf : nullptr));
    if (flat) {
        return std::move(*flat);
    }
    if (!elf) {
        return base::fail("neither a Linux bzImage, nor ELF, nor Multiboot 1 ({} bytes)",
                          image.size());
    }
    if (elf->is_64) {
        return base::fail(
            "a 64-bit ELF without the PVH entry note (Xen note 18): build the kernel "
            "with CONFIG_PVH=y or use its bzImage");
    }
    if (!holds(elf->segments, elf->entry)) {
        return base::fail("its entry {:#x} lies in no loaded segment", elf->entry);
    }
    return FlatKernel{.entry = static_cast<std::uint32_t>(elf->entry),
                      .segments = std::move(elf->segments),
                      .multiboot = false};
}

base::Result<LoadedGuest> GuestLoader::load_kernel(const LoadTarget& target) {
    // Held first: what the check sees then stays so.
    if (target.show_images) {
        kernel_file_.hold();
        if (initrd_) {
            initrd_->hold();
        }
    }
    CUPULE_TRY(kernel_file_.check_unchanged());
    if (initrd_) {
        CUPULE_TRY(initrd_->check_unchanged());
    }
    const KernelExtras extras{.command_line = command_line_,
                              .initrd = initrd_ ? &*initrd_ : nullptr};
    if (const auto* bzimage = std::get_if<BzImage>(&kernel_)) {
        return load_bzimage(*bzimage, kernel_file_, target, extras);
    }
    if (const auto* pvh = std::get_if<PvhKernel>(&kernel_)) {
        return load_pvh(pvh->elf, kernel_file_, target, extras);
    }
    return load_flat(std::get<FlatKernel>(kernel_), kernel_file_, target, extras);
}

LoadResult<LoadedGuest> GuestLoader::load(const LoadTarget& target) {
    base::Result<LoadedGuest> guest = load_kernel(target);
    if (!guest) {
        return because_of(LoadFault::other, guest.error(),
                          fmt::format("cannot load '{}'", kernel_file_.name()));
    }
    return std::move(*guest);
}

base::Result<void> GuestLoader::release_images(memory::GuestMemory& memory) {
    CUPULE_TRY(memory.copy_shown());
    kernel_file_.release();
    if (initrd_) {
        initrd_->release();
    }
    return {};
}

}  // namespace cupule::boot
