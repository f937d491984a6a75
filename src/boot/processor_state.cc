#include "boot/processor_state.h"

#include <array>
#include <cstddef>

#include "boot/boot_layout.h"

namespace cupule::boot {
namespace {

using hypervisor::Segment;
using hypervisor::VcpuState;

// Segment access rights in the VMCS layout (Intel SDM vol. 3, 25.4.1).
constexpr std::uint32_t flat_code_32 = 0xC09B;  // execute/read, accessed, P, D, G
constexpr std::uint32_t flat_code_64 = 0xA09B;  // execute/read, accessed, P, L, G
constexpr std::uint32_t flat_data = 0xC093;     // read/write, accessed, P, B, G
constexpr std::uint32_t busy_task = 0x008B;     // busy TSS, P: 32-bit, or 64-bit in long mode
constexpr std::uint32_t task_limit = 0x67;

constexpr std::uint64_t cr0_protection = 1 << 0;                  // PE
constexpr std::uint64_t cr0_extension_type = 1 << 4;              // ET, fixed to 1
constexpr std::uint64_t cr0_paging = std::uint64_t{1} << 31;      // PG
constexpr std::uint64_t cr4_physical_address_extension = 1 << 5;  // PAE
constexpr std::uint64_t efer_long_mode = (1 << 8) | (1 << 10);    // LME, LMA

constexpr std::uint64_t page_present_writable = 0x3;
constexpr std::uint64_t large_page = 1 << 7;
constexpr std::uint64_t large_page_size = 2 * one_mebibyte;

/// A descriptor as the GDT holds it (Intel SDM vol. 3, 3.4.5): the access rights lie in bits 47:40
/// and 55:52, as the VMCS has them in 7:0 and 15:12.
constexpr std::uint64_t descriptor(const Segment& segment) {
    const bool pages = (segment.access_rights & 0x8000) != 0;
    const std::uint64_t limit = pages ? segment.limit >> 12 : segment.limit;
    return (limit & 0xFFFF) | (segment.base & 0xFF'FFFF) << 16 |
           std::uint64_t{segment.access_rights & 0xF0FF} << 40 | (limit >> 16 & 0xF) << 48 |
           (segment.base >> 24 & 0xFF) << 56;
}

constexpr Segment flat_segment(std::uint16_t selector, std::uint32_t access_rights) {
    return {.base = 0, .limit = 0xFFFF'FFFF, .selector = selector, .access_rights = access_rights};
}

static_assert(descriptor(flat_segment(0, flat_code_32)) == 0x00CF'9B00'0000'FFFF);
static_assert(descriptor(flat_segment(0, flat_code_64)) == 0x00AF'9B00'0000'FFFF);

base::Result<VcpuState> enter(const memory::GuestMemory& memory, std::uint64_t entry,
                              std::uint32_t code_rights) {
    VcpuState state;
    state.rip = entry;
    state.cs = flat_segment(boot_code_selector, code_rights);
    const Segment data = flat_segment(boot_data_selector, flat_data);
    state.ds = state.es = state.fs = state.gs = state.ss = data;
    state.tr = {
        .base = 0, .limit = task_limit, .selector = boot_task_selector, .access_rights = busy_task};
    // Null, unused, code, data, and a TSS of two entries (long mode's size).
    const std::array<std::uint64_t, 6> gdt{
        0, 0, descriptor(state.cs), descriptor(data), descriptor(state.tr), 0};
    state.gdt = {.base = gdt_address, .limit = sizeof gdt - 1};
    state.idt = {.base = 0, .limit = 0};
    state.cr0 = cr0_protection | cr0_extension_type;
    if (!memory.store({gdt_address}, gdt)) {
        return base::fail("the guest has no RAM at {:#x} for the GDT", gdt_address);
    }
    return state;
}

}  // namespace

base::Result<VcpuState> enter_protected_mode(const memory::GuestMemory& memory,
                                             std::uint32_t entry) {
    return enter(memory, entry, flat_code_32);
}

base::Result<VcpuState> enter_long_mode(const memory::GuestMemory& memory, std::uint64_t entry) {
    constexpr std::size_t directories = four_gibibytes >> 30;
    std::array<std::array<std::uint64_t, 512>, 2 + directories> tables{};
    tables[0][0] = (page_tables_address + memory::page_size) | page_present_writable;
    for (std::size_t gib = 0; gib < directories; ++gib) {
        tables[1][gib] =
            (page_tables_address + (2 + gib) * memory::page_size) | page_present_writable;
        for (std::size_t i = 0; i < 512; ++i) {
            tables[2 + gib][i] =
                (gib * 512 + i) * large_page_size | large_page | page_present_writable;
        }
    }
    static_assert(page_tables_address + sizeof tables <= command_line_address);
    if (!memory.store({page_tables_address}, tables)) {
        return base::fail("the guest has no RAM at {:#x} for page tables", page_tables_address);
    }
    CUPULE_TRY_ASSIGN(VcpuState state, enter(memory, entry, flat_code_64));
    state.cr0 |= cr0_paging;
    state.cr3 = page_tables_address;
    state.cr4 = cr4_physical_address_extension;
    state.efer = efer_long_mode;
    return state;
}

}  // namespace cupule::boot
