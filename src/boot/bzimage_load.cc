// How a parsed bzImage gets into guest memory: placement and the zero page.

#include <asm/bootparam.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>

#include "base/bits.h"
#include "boot/boot_layout.h"
#include "boot/bzimage.h"
#include "boot/processor_state.h"

namespace cupule::boot {
namespace {

constexpr std::uint64_t entry_64_offset = 0x200;
constexpr std::uint8_t unknown_loader = 0xFF;
constexpr std::uint16_t old_command_line_magic = 0xA33F;
constexpr std::size_t old_command_line_magic_offset = 0x20;
constexpr std::size_t old_command_line_offset = 0x22;

static_assert(sizeof(boot_params) == memory::page_size);
static_assert(offsetof(boot_params, hdr) == 0x1F1);

/// Takes the RAM the kernel is loaded to and the RAM it will run in; gives the load address.
base::Result<std::uint64_t> place_kernel(const BzImage& kernel, AddressPlan& plan) {
    if (!kernel.relocatable) {
        // It moves itself from where it is loaded to pref_address: all of that is taken.
        const std::uint64_t load = BzImage::code_address;
        const std::uint64_t from = std::min(load, kernel.preferred_address);
        const std::uint64_t end =
            std::max(load + kernel.code_size, kernel.preferred_address + kernel.runtime_size);
        CUPULE_TRY(plan.claim(from, end - from, "the kernel (with init_size)"));
        return load;
    }
    // Loaded below pref_address it would move itself there: so never below.
    const std::uint64_t from = std::max(kernel.preferred_address, BzImage::code_address);
    const auto load = plan.find_lowest(kernel.runtime_size, from, kernel.alignment);
    if (!load) {
        return base::fail(
            "the kernel needs {} bytes (init_size) of RAM at or above {:#x} (pref_address), "
            "aligned "
            "to {:#x}; RAM below 4 GiB ends at {:#x}; give the guest more memory",
            kernel.runtime_size, from, kernel.alignment, plan.low_ram_end());
    }
    CUPULE_TRY(plan.claim(*load, kernel.runtime_size, "the kernel"));
    return *load;
}

base::Result<PlacedInitrd> place_for_kernel(const BzImage& kernel, const LoadTarget& target,
                                            AddressPlan& plan, const ImageFile* initrd) {
    const std::uint64_t end_max = std::min(kernel.initrd_address_max + 1, plan.low_ram_end());
    if (initrd != nullptr && kernel.above_4g && !plan.find_highest(initrd->size(), end_max)) {
        return place_initrd(target, plan, initrd, ~std::uint64_t{0});
    }
    return place_initrd(target, plan, initrd, end_max);
}

base::Result<void> fill_e820(boot_params& zero_page, const E820Map& e820) {
    if (e820.entries().size() > std::size(zero_page.e820_table)) {
        return base::fail("the memory map has {} entries, the zero page holds {}",
                          e820.entries().size(), std::size(zero_page.e820_table));
    }
    for (const E820Entry& entry : e820.entries()) {
        boot_e820_entry& slot = zero_page.e820_table[zero_page.e820_entries++];
        slot.addr = entry.base;
        slot.size = entry.size;
        slot.type = static_cast<std::uint32_t>(entry.type);
    }
    // Kernels that do not read the map take the size of RAM above 1 MiB, in KiB, from here.
    const std::uint64_t extended = (e820.ram_end_from(one_mebibyte) - one_mebibyte) >> 10;
    zero_page.alt_mem_k = static_cast<std::uint32_t>(std::min<std::uint64_t>(extended, ~0U));
    zero_page.screen_info.ext_mem_k =
        static_cast<std::uint16_t>(std::min<std::uint64_t>(extended, 0xFFFF));
    return {};
}

void set_initrd(boot_params& zero_page, const PlacedInitrd& initrd) {
    zero_page.hdr.ramdisk_image = static_cast<std::uint32_t>(initrd.address);
    zero_page.hdr.ramdisk_size = static_cast<std::uint32_t>(initrd.size);
    zero_page.ext_ramdisk_image = static_cast<std::uint32_t>(initrd.address >> 32);
    zero_page.ext_ramdisk_size = static_cast<std::uint32_t>(initrd.size >> 32);
}

void set_command_line(boot_params& zero_page, std::uint16_t version) {
    if (version >= 0x202) {
        zero_page.hdr.cmd_line_ptr = static_cast<std::uint32_t>(command_line_address);
        return;
    }
    // Before 2.02: a magic number and an offset from the zero page, which has to lie at 0x90000.
    static_assert(boot_info_address == 0x9'0000);
    const std::uint16_t offset = command_line_address - boot_info_address;
    auto* const bytes = reinterpret_cast<std::byte*>(&zero_page);
    std::memcpy(bytes + old_command_line_magic_offset, &old_command_line_magic, sizeof offset);
    std::memcpy(bytes + old_command_line_offset, &offset, sizeof offset);
}

base::Result<void> write_zero_page(const BzImage& kernel, const LoadTarget& target,
                                   std::uint64_t load_address, const PlacedInitrd& initrd) {
    boot_params zero_page{};
    std::memcpy(reinterpret_cast<std::byte*>(&zero_page) + offsetof(boot_params, hdr),
                kernel.setup_header.data(), kernel.setup_header.size());
    zero_page.hdr.type_of_loader = unknown_loader;
    // As acrn-dm: no early messages to a text screen that is not there.
    zero_page.hdr.loadflags |= QUIET_FLAG;
    zero_page.hdr.code32_start = static_cast<std::uint32_t>(load_address);
    zero_page.acpi_rsdp_addr = target.rsdp_address;
    CUPULE_TRY(fill_e820(zero_page, target.e820));
    set_initrd(zero_page, initrd);
    set_command_line(zero_page, kernel.version);
    if (!target.memory.store({boot_info_address}, zero_page)) {
        return base::fail("the guest has no RAM at {:#x} for the zero page", boot_info_address);
    }
    return {};
}

}  // namespace

base::Result<LoadedGuest> load_bzimage(const BzImage& kernel, const ImageFile& image,
                                       const LoadTarget& target, const KernelExtras& extras) {
    AddressPlan plan(target.e820, target.low_ram_end);
    CUPULE_TRY_ASSIGN(const std::uint64_t load, place_kernel(kernel, plan));
    CUPULE_TRY(write_command_line(target, extras.command_line, kernel.command_line_max));
    CUPULE_TRY_ASSIGN(const PlacedInitrd initrd,
                      place_for_kernel(kernel, target, plan, extras.initrd));
    CUPULE_TRY(image.copy_to(target.memory, {load}, kernel.code_offset, kernel.code_size));
    CUPULE_TRY(write_zero_page(kernel, target, load, initrd));
    CUPULE_TRY_ASSIGN(hypervisor::VcpuState state,
                      kernel.entry_64
                          ? enter_long_mode(target.memory, load + entry_64_offset)
                          : enter_protected_mode(target.memory, static_cast<std::uint32_t>(load)));
    state.rsi = boot_info_address;
    return LoadedGuest{
        .boot_state = state,
        .description = fmt::format(
            "bzImage, boot protocol {}.{:02}, {}-bit entry {:#x} ({} bytes), zero page {:#x}, {}",
            kernel.version >> 8, kernel.version & 0xFF, kernel.entry_64 ? 64 : 32, state.rip,
            kernel.code_size, boot_info_address, describe(initrd))};
}

}  // namespace cupule::boot
