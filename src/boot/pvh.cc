#include "boot/pvh.h"

#include <fmt/format.h>

#include <array>
#include <cstddef>

#include "boot/boot_layout.h"
#include "boot/processor_state.h"

namespace cupule::boot {
namespace {

// Xen public header arch-x86/hvm/start_info.h.
constexpr std::uint32_t start_info_magic = 0x336E'C578;  // "xEn3" with bit 7 of the E set
constexpr std::uint32_t start_info_version = 1;

struct StartInfo {
    std::uint32_t magic = start_info_magic;
    std::uint32_t version = start_info_version;
    std::uint32_t flags = 0;
    std::uint32_t module_count = 0;
    std::uint64_t module_list_address = 0;
    std::uint64_t command_line_address = 0;
    std::uint64_t rsdp_address = 0;
    std::uint64_t memory_map_address = 0;
    std::uint32_t memory_map_entries = 0;
    std::uint32_t reserved = 0;
};
static_assert(sizeof(StartInfo) == 56);

struct Module {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    std::uint64_t command_line_address = 0;
    std::uint64_t reserved = 0;
};
static_assert(sizeof(Module) == 32);

struct MemoryMapEntry {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    std::uint32_t type = 0;  // as in E820
    std::uint32_t reserved = 0;
};
static_assert(sizeof(MemoryMapEntry) == 24);

/// All of it in one page.
struct BootInfo {
    StartInfo start;
    Module module;
    std::array<MemoryMapEntry, 128> memory_map;
};
static_assert(sizeof(BootInfo) <= memory::page_size);

base::Result<void> write_boot_info(const LoadTarget& target, const PlacedInitrd& initrd) {
    BootInfo info{};
    info.start.command_line_address = command_line_address;
    info.start.rsdp_address = target.rsdp_address;
    if (initrd.size != 0) {
        info.start.module_count = 1;
        info.start.module_list_address = boot_info_address + offsetof(BootInfo, module);
        info.module = {.address = initrd.address, .size = initrd.size};
    }
    if (target.e820.entries().size() > info.memory_map.size()) {
        return base::fail("the memory map has {} entries, the PVH start information holds {}",
                          target.e820.entries().size(), info.memory_map.size());
    }
    info.start.memory_map_address = boot_info_address + offsetof(BootInfo, memory_map);
    for (const E820Entry& entry : target.e820.entries()) {
        info.memory_map[info.start.memory_map_entries++] = {
            .address = entry.base,
            .size = entry.size,
            .type = static_cast<std::uint32_t>(entry.type)};
    }
    if (!target.memory.store({boot_info_address}, info)) {
        return base::fail("the guest has no RAM at {:#x} for the PVH start information",
                          boot_info_address);
    }
    return {};
}

}  // namespace

base::Result<LoadedGuest> load_pvh(const ElfImage& kernel, const ImageFile& image,
                                   const LoadTarget& target, const KernelExtras& extras) {
    AddressPlan plan(target.e820, target.low_ram_end);
    CUPULE_TRY(load_segments(image, kernel.segments, target.memory, plan));
    CUPULE_TRY(write_command_line(target, extras.command_line, command_line_room - 1));
    CUPULE_TRY_ASSIGN(const PlacedInitrd initrd,
                      place_initrd(target, plan, extras.initrd, plan.low_ram_end()));
    CUPULE_TRY(write_boot_info(target, initrd));
    CUPULE_TRY_ASSIGN(hypervisor::VcpuState state,
                      enter_protected_mode(target.memory, kernel.pvh_entry.value_or(0)));
    state.rbx = boot_info_address;
    return LoadedGuest{
        .boot_state = state,
        .description = fmt::format("ELF{}, PVH entry {:#x}, {} segments from {:#x}, {}",
                                   kernel.is_64 ? 64 : 32, state.rip, kernel.segments.size(),
                                   kernel.segments.front().address, describe(initrd))};
}

}  // namespace cupule::boot
