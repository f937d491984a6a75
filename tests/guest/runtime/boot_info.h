/// What the loader told the image: memory map and command line, by multiboot 1 or PVH.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cupule::guest {

enum class BootProtocol : std::uint8_t { unknown, multiboot, pvh };

struct MemoryRange {
    std::uint64_t base = 0;
    std::uint64_t size = 0;
    std::uint32_t type = 0;  ///< as in e820: 1 usable, 2 reserved, ...
};

struct BootInfo {
    static constexpr std::size_t memory_max = 64;

    BootProtocol protocol = BootProtocol::unknown;
    std::uint64_t info_address = 0;  ///< multiboot_info or hvm_start_info
    const char* command_line = "";   ///< never null
    bool has_lower_upper = false;    ///< multiboot only
    std::uint32_t memory_lower_kib = 0;
    std::uint32_t memory_upper_kib = 0;
    MemoryRange memory[memory_max] = {};
    std::size_t memory_count = 0;
    std::uint64_t rsdp = 0;  ///< PVH only, 0 = not told
};

[[nodiscard]] const BootInfo& boot_info();

/// For the start-up code: `magic` and `info` are what the loader left in EAX and EBX.
void read_boot_info(std::uint32_t magic, std::uint32_t info);

/// Word "KEY=VALUE" of the command line; null without one. Ends at a space or NUL.
[[nodiscard]] const char* option(const char* key);
[[nodiscard]] bool option_is(const char* key, const char* value);
/// Decimal, or hexadecimal with 0x.
[[nodiscard]] std::uint64_t option_number(const char* key, std::uint64_t otherwise);

}  // namespace cupule::guest
