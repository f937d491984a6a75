#pragma once

#include <cstdint>

#include "memory/page.h"

namespace cupule::boot {

// Where the loader puts what a kernel needs to start: one block at the top of conventional memory
// (docs/memory_map.md). Reasons for the place: ELF kernels load at low addresses (Zephyr at
// 0x8000); kernels older than boot protocol 2.02 look for their command line in the segment at
// 0x90000; and Linux puts its 5-level paging trampoline over 0x9D000 to 0x9EFFF while our page
// tables are live.

inline constexpr std::uint64_t one_mebibyte = std::uint64_t{1} << 20;
inline constexpr std::uint64_t four_gibibytes = std::uint64_t{4} << 30;

/// boot_params, hvm_start_info or the multiboot information, with their tables: one page.
inline constexpr std::uint64_t boot_info_address = 0x9'0000;
inline constexpr std::uint64_t gdt_address = 0x9'1000;
/// PML4, one page directory pointer table, four page directories.
inline constexpr std::uint64_t page_tables_address = 0x9'2000;
inline constexpr std::uint64_t command_line_address = 0x9'8000;
/// Bytes for the command line with its final NUL.
inline constexpr std::uint64_t command_line_room = 0x4000;

inline constexpr std::uint64_t boot_data_address = boot_info_address;
inline constexpr std::uint64_t boot_data_size =
    command_line_address + command_line_room - boot_data_address;

static_assert(boot_data_address + boot_data_size <= 0x9'D000);

}  // namespace cupule::boot
