#include "boot/multiboot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "base/bits.h"
#include "boot/boot_layout.h"
#include "boot/processor_state.h"

namespace cupule::boot {
namespace {

// Multiboot 0.6.96, 3.1: the header.
constexpr std::uint64_t header_search_size = 8192;
constexpr std::uint32_t header_magic = 0x1BAD'B002;
constexpr std::uint32_t flag_page_align = 1 << 0;
constexpr std::uint32_t flag_memory_info = 1 << 1;
constexpr std::uint32_t flag_video_mode = 1 << 2;
constexpr std::uint32_t flag_address_fields = 1 << 16;
/// A loader must refuse what it does not know of bits 15:0, and may ignore the others.
constexpr std::uint32_t flags_required_mask = 0xFFFF;

struct Header {
    std::uint32_t magic;
    std::uint32_t flags;
    std::uint32_t checksum;
};

struct AddressFields {
    std::uint32_t header_address;
    std::uint32_t load_address;
    std::uint32_t load_end_address;
    std::uint32_t bss_end_address;
    std::uint32_t entry_address;
};

// 3.3: the boot information.
constexpr std::uint32_t loader_magic = 0x2BAD'B002;
constexpr std::uint32_t info_memory = 1 << 0;
constexpr std::uint32_t info_command_line = 1 << 2;
constexpr std::uint32_t info_modules = 1 << 3;
constexpr std::uint32_t info_memory_map = 1 << 6;
constexpr std::uint64_t initrd_end_max = 896 * one_mebibyte;

struct MemoryMapEntry {
    std::uint32_t size = 20;  // of what follows
    std::uint32_t base_low = 0, base_high = 0;
    std::uint32_t length_low = 0, length_high = 0;
    std::uint32_t type = 0;
};
static_assert(sizeof(MemoryMapEntry) == 24);

struct BootInfo {
    std::uint32_t flags = info_memory | info_command_line | info_memory_map;
    std::uint32_t memory_lower_kib = 0;
    std::uint32_t memory_upper_kib = 0;
    std::uint32_t boot_device = 0;
    std::uint32_t command_line = 0;
    std::uint32_t module_count = 0;
    std::uint32_t module_address = 0;
    std::array<std::uint32_t, 4> symbols{};
    std::uint32_t memory_map_size = 0;
    std::uint32_t memory_map_address = 0;
    std::array<std::uint32_t, 10> unused{};
    // The module list: start, end, string, reserved.
    std::array<std::uint32_t, 4> module{};
    std::array<MemoryMapEntry, 128> memory_map{};
};
static_assert(offsetof(BootInfo, memory_map_size) == 44 && offsetof(BootInfo, module) == 92);
static_assert(sizeof(BootInfo) <= memory::page_size);

/// File offset of the header within the first 8 KiB, on a 4-byte boundary.
std::optional<std::uint64_t> find_header(const ImageFile& image, Header& header) {
    std::array<std::uint32_t, header_search_size / 4> words{};
    const std::uint64_t size = std::min<std::uint64_t>(sizeof words, image.size());
    if (!image.read(0, std::as_writable_bytes(std::span(words)).first(size))) {
        return std::nullopt;
    }
    const std::uint64_t count = size / 4;
    for (std::uint64_t i = 0; i + 3 <= count; ++i) {
        if (words[i] == header_magic &&
            base::wrapping_add(base::wrapping_add(words[i], words[i + 1]), words[i + 2]) == 0) {
            header = {words[i], words[i + 1], words[i + 2]};
            return i * 4;
        }
    }
    return std::nullopt;
}

base::Result<void> check_flags(std::uint32_t flags) {
    if ((flags & flag_video_mode) != 0) {
        return base::fail(
            "its Multiboot header asks for a video mode (flags bit 2, value {:#x}), "
            "which is not supported",
            flags);
    }
    const std::uint32_t known = flag_page_align | flag_memory_info;
    if ((flags & flags_required_mask & ~known) != 0) {
        return base::fail(
            "its Multiboot header has flags {:#x}; of bits 15:0 only 0 (page "
            "alignment) and 1 (memory information) are supported",
            flags);
    }
    return {};
}

/// The one segment that the address fields describe (3.1.3).
base::Result<FlatKernel> use_address_fields(const ImageFile& image, std::uint64_t header_offset) {
    const auto fields = image.load<AddressFields>(header_offset + sizeof(Header));
    if (!fields) {
        return base::fail("truncated: the address fields of its Multiboot header are cut off");
    }
    if (fields->header_address < fields->load_address ||
        fields->header_address - fields->load_address > header_offset) {
        return base::fail(
            "its Multiboot header is at file offset {:#x}, which header_addr {:#x} and "
            "load_addr {:#x} contradict",
            header_offset, fields->header_address, fields->load_address);
    }
    LoadSegment segment;
    segment.address = fields->load_address;
    segment.file_offset = header_offset - (fields->header_address - fields->load_address);
    segment.file_size = image.size() - segment.file_offset;
    if (fields->load_end_address != 0) {
        const std::uint64_t in_file = segment.file_size;
        if (fields->load_end_address < fields->load_address ||
            fields->load_end_address - fields->load_address > in_file) {
            return base::fail(
                "load_end_addr {:#x} of its Multiboot header does not fit load_addr "
                "{:#x} and the {} bytes in the file",
                fields->load_end_address, fields->load_address, in_file);
        }
        segment.file_size = fields->load_end_address - fields->load_address;
    }
    segment.memory_size = segment.file_size;
    if (fields->bss_end_address != 0) {
        if (fields->bss_end_address < segment.address + segment.file_size) {
            return base::fail(
                "bss_end_addr {:#x} of its Multiboot header lies below the end of the "
                "loaded data {:#x}",
                fields->bss_end_address, segment.address + segment.file_size);
        }
        segment.memory_size = fields->bss_end_address - segment.address;
    }
    return FlatKernel{.entry = fields->entry_address, .segments = {segment}, .multiboot = true};
}

base::Result<void> write_boot_info(const LoadTarget& target, const PlacedInitrd& initrd) {
    BootInfo info;
    const E820Map& e820 = target.e820;
    if (e820.entries().size() > info.memory_map.size()) {
        return base::fail("the memory map has {} entries, the Multiboot information holds {}",
                          e820.entries().size(), info.memory_map.size());
    }
    info.memory_lower_kib =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(e820.ram_end_from(0) >> 10, 640));
    info.memory_upper_kib = static_cast<std::uint32_t>(
        (std::min(e820.ram_end_from(one_mebibyte), four_gibibytes) - one_mebibyte) >> 10);
    info.command_line = static_cast<std::uint32_t>(command_line_address);
    if (initrd.size != 0) {
        info.flags |= info_modules;
        info.module_count = 1;
        info.module_address = boot_info_address + offsetof(BootInfo, module);
        info.module = {static_cast<std::uint32_t>(initrd.address),
                       static_cast<std::uint32_t>(initrd.address + initrd.size), 0, 0};
    }
    std::size_t count = 0;
    for (const E820Entry& entry : e820.entries()) {
        info.memory_map[count++] = {.base_low = static_cast<std::uint32_t>(entry.base),
                                    .base_high = static_cast<std::uint32_t>(entry.base >> 32),
                                    .length_low = static_cast<std::uint32_t>(entry.size),
                                    .length_high = static_cast<std::uint32_t>(entry.size >> 32),
                                    .type = static_cast<std::uint32_t>(entry.type)};
    }
    info.memory_map_size = static_cast<std::uint32_t>(count * sizeof(MemoryMapEntry));
    info.memory_map_address = boot_info_address + offsetof(BootInfo, memory_map);
    if (!target.memory.store({boot_info_address}, info)) {
        return base::fail("the guest has no RAM at {:#x} for the Multiboot information",
                          boot_info_address);
    }
    return {};
}

}  // namespace

base::Result<std::optional<FlatKernel>> parse_multiboot(const ImageFile& image,
                                                        const ElfImage* elf) {
    Header header{};
    const std::optional<std::uint64_t> offset = find_header(image, header);
    if (!offset) {
        return std::nullopt;
    }
    CUPULE_TRY(check_flags(header.flags));
    FlatKernel kernel;
    if ((header.flags & flag_address_fields) != 0) {
        CUPULE_TRY_ASSIGN(kernel, use_address_fields(image, *offset));
    } else if (elf != nullptr && !elf->is_64) {
        kernel = {.entry = static_cast<std::uint32_t>(elf->entry),
                  .segments = elf->segments,
                  .multiboot = true};
    } else {
        return base::fail(
            "its Multiboot header has no address fields (flags bit 16), which only a "
            "32-bit ELF can do without");
    }
    if (!holds(kernel.segments, kernel.entry)) {
        return base::fail("its entry {:#x} lies outside what is loaded", kernel.entry);
    }
    return kernel;
}

base::Result<LoadedGuest> load_flat(const FlatKernel& kernel, const ImageFile& image,
                                    const LoadTarget& target, const KernelExtras& extras) {
    AddressPlan plan(target.e820, target.low_ram_end);
    CUPULE_TRY(load_segments(image, kernel.segments, target.memory, plan));
    CUPULE_TRY(write_command_line(target, extras.command_line, command_line_room - 1));
    CUPULE_TRY_ASSIGN(
        const PlacedInitrd initrd,
        place_initrd(target, plan, extras.initrd, std::min(plan.low_ram_end(), initrd_end_max)));
    CUPULE_TRY_ASSIGN(hypervisor::VcpuState state,
                      enter_protected_mode(target.memory, kernel.entry));
    // A plain ELF gets them too: a kernel without a header may still look at EAX and EBX.
    CUPULE_TRY(write_boot_info(target, initrd));
    state.rax = loader_magic;
    state.rbx = boot_info_address;
    return LoadedGuest{
        .boot_state = state,
        .description =
            fmt::format("{}, entry {:#x}, {} segments from {:#x}, {}",
                        kernel.multiboot ? "Multiboot 1" : "ELF32 at its entry", kernel.entry,
                        kernel.segments.size(), kernel.segments.front().address, describe(initrd))};
}

}  // namespace cupule::boot
