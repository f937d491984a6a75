#include "runtime/boot_info.h"

#include "runtime/cpu.h"

namespace cupule::guest {
namespace {

constexpr std::uint32_t multiboot_magic = 0x2BADB002;
constexpr std::uint32_t pvh_magic = 0x336EC578;

constinit BootInfo the_boot_info;

const char* text_at(std::uint64_t address) {
    return reinterpret_cast<const char*>(address);
}

void read_multiboot(BootInfo& boot, std::uint64_t info) {
    const auto flags = load<std::uint32_t>(info);
    boot.has_lower_upper = (flags & 1) != 0;
    boot.memory_lower_kib = load<std::uint32_t>(info + 4);
    boot.memory_upper_kib = load<std::uint32_t>(info + 8);
    if ((flags & 4) != 0 && load<std::uint32_t>(info + 16) != 0) {
        boot.command_line = text_at(load<std::uint32_t>(info + 16));
    }
    if ((flags & 0x40) == 0) {
        return;
    }
    std::uint64_t entry = load<std::uint32_t>(info + 48);
    const std::uint64_t end = entry + load<std::uint32_t>(info + 44);
    while (entry < end && boot.memory_count < BootInfo::memory_max) {
        boot.memory[boot.memory_count++] = {.base = load<std::uint64_t>(entry + 4),
                                            .size = load<std::uint64_t>(entry + 12),
                                            .type = load<std::uint32_t>(entry + 20)};
        entry += load<std::uint32_t>(entry) + 4;  // the size does not count itself
    }
}

void read_pvh(BootInfo& boot, std::uint64_t info) {
    if (const auto command_line = load<std::uint64_t>(info + 24); command_line != 0) {
        boot.command_line = text_at(command_line);
    }
    boot.rsdp = load<std::uint64_t>(info + 32);
    const auto map = load<std::uint64_t>(info + 40);
    const auto entries = load<std::uint32_t>(info + 48);
    if (load<std::uint32_t>(info + 4) < 1 || map == 0) {
        return;  // version 0 has no memory map
    }
    for (std::uint64_t i = 0; i < entries && boot.memory_count < BootInfo::memory_max; ++i) {
        const std::uint64_t entry = map + 24 * i;
        boot.memory[boot.memory_count++] = {.base = load<std::uint64_t>(entry),
                                            .size = load<std::uint64_t>(entry + 8),
                                            .type = load<std::uint32_t>(entry + 16)};
    }
}

bool ends_word(char c) {
    return c == '\0' || c == ' ';
}

}  // namespace

const BootInfo& boot_info() {
    return the_boot_info;
}

void read_boot_info(std::uint32_t magic, std::uint32_t info) {
    BootInfo& boot = the_boot_info;
    boot.info_address = info;
    if (magic == multiboot_magic) {
        boot.protocol = BootProtocol::multiboot;
        read_multiboot(boot, info);
    } else if (magic == pvh_magic && load<std::uint32_t>(info) == pvh_magic) {
        boot.protocol = BootProtocol::pvh;
        read_pvh(boot, info);
    }
}

const char* option(const char* key) {
    const char* p = boot_info().command_line;
    while (*p != '\0') {
        const char* k = key;
        while (*k != '\0' && *p == *k) {
            ++p;
            ++k;
        }
        if (*k == '\0' && *p == '=') {
            return p + 1;
        }
        while (!ends_word(*p)) {
            ++p;
        }
        while (*p == ' ') {
            ++p;
        }
    }
    return nullptr;
}

bool option_is(const char* key, const char* value) {
    const char* p = option(key);
    if (p == nullptr) {
        return false;
    }
    while (*value != '\0' && *p == *value) {
        ++p;
        ++value;
    }
    return *value == '\0' && ends_word(*p);
}

std::uint64_t option_number(const char* key, std::uint64_t otherwise) {
    const char* p = option(key);
    if (p == nullptr) {
        return otherwise;
    }
    std::uint64_t base = 10;
    if (p[0] == '0' && p[1] == 'x') {
        base = 16;
        p += 2;
    }
    std::uint64_t number = 0;
    for (; !ends_word(*p); ++p) {
        const char c = *p;
        const bool decimal = c >= '0' && c <= '9';
        number =
            number * base + static_cast<std::uint64_t>(decimal ? c - '0' : (c | 32) - 'a' + 10);
    }
    return number;
}

}  // namespace cupule::guest
