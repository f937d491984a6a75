// Any bytes as a bzImage: parse, and load what parses, with a RAM disk made of the same bytes.

#include "boot/bzimage.h"
#include "boot_guest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cupule;
    static const fuzz::BootGuest guest;
    const boot::ImageFile image = fuzz::image_of(data, size);
    const auto kernel = boot::parse_bzimage(image);
    if (!kernel) {
        return 0;
    }
    CUPULE_ASSERT(kernel->code_offset + kernel->code_size == size);
    CUPULE_ASSERT(kernel->runtime_size >= kernel->code_size);
    const auto loaded = boot::load_bzimage(*kernel, image, guest.target(),
                                           {.command_line = "console=ttyS0", .initrd = &image});
    if (loaded) {
        fuzz::check_loaded(guest, *loaded);
    }
    return 0;
}
