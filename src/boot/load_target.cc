#include "boot/load_target.h"

#include <fmt/format.h>

#include <algorithm>

#include "boot/boot_layout.h"

namespace cupule::boot {

base::Result<void> write_command_line(const LoadTarget& target, std::string_view command_line,
                                      std::uint64_t length_max) {
    const std::uint64_t limit = std::min(length_max, command_line_room - 1);
    if (command_line.size() > limit) {
        return base::fail("the command line has {} characters, this kernel takes at most {}",
                          command_line.size(), limit);
    }
    const std::string terminated(command_line);
    const std::span<const char> bytes(terminated.c_str(), terminated.size() + 1);
    if (!target.memory.write({command_line_address}, std::as_bytes(bytes))) {
        return base::fail("the guest has no RAM at {:#x} for the command line",
                          command_line_address);
    }
    return {};
}

base::Result<PlacedInitrd> place_initrd(const LoadTarget& target, AddressPlan& plan,
                                        const ImageFile* initrd, std::uint64_t end_max) {
    if (initrd == nullptr) {
        return PlacedInitrd{};
    }
    const std::uint64_t size = initrd->size();
    const std::optional<std::uint64_t> address = plan.find_highest(size, end_max);
    if (!address) {
        return base::fail(
            "the initial RAM disk '{}' of {} bytes does not fit: the guest has {} bytes of RAM, "
            "and "
            "the kernel takes a RAM disk only below {:#x}; give the guest more memory",
            initrd->name(), size, target.e820.ram_size(), end_max);
    }
    CUPULE_TRY(plan.claim(*address, size, "the initial RAM disk"));
    CUPULE_TRY(initrd->copy_to(target.memory, {*address}, 0, size));
    return PlacedInitrd{.address = *address, .size = size};
}

std::string describe(const PlacedInitrd& initrd) {
    if (initrd.size == 0) {
        return "no initrd";
    }
    return fmt::format("initrd {:#x} ({} bytes)", initrd.address, initrd.size);
}

}  // namespace cupule::boot
