// Any bytes as ELF or as a Multiboot file: parse, and load what parses.

#include "boot/elf_image.h"
#include "boot/multiboot.h"
#include "boot/pvh.h"
#include "boot_guest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cupule;
    static const fuzz::BootGuest guest;
    const boot::ImageFile image = fuzz::image_of(data, size);
    const boot::KernelExtras extras{.command_line = "console=ttyS0", .initrd = &image};
    const auto elf = boot::parse_elf(image);
    if (elf && elf->pvh_entry) {
        const auto loaded = boot::load_pvh(*elf, image, guest.target(), extras);
        if (loaded) {
            fuzz::check_loaded(guest, *loaded);
        }
    }
    const auto flat = boot::parse_multiboot(image, elf ? &*elf : nullptr);
    if (flat && *flat) {
        const auto loaded = boot::load_flat(**flat, image, guest.target(), extras);
        if (loaded) {
            fuzz::check_loaded(guest, *loaded);
        }
    }
    return 0;
}
