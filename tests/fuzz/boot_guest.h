#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "base/assert.h"
#include "boot/e820.h"
#include "boot/image_file.h"
#include "boot/load_target.h"
#include "memory/guest_memory.h"

namespace cupule::fuzz {

/// The guest the loaders' fuzzers load into: 32 MiB, with a hole at 640 KiB, and 1 MiB at 4 GiB.
class BootGuest {
  public:
    BootGuest() {
        auto made = memory::GuestMemory::create({.pieces = {{{0}, low_size}, {{four_gib}, 1 << 20}},
                                                 .huge_pages = memory::HugePages::never});
        CUPULE_ASSERT(made.has_value());
        memory_ = std::move(*made);
        CUPULE_ASSERT(e820_.add({0, 0xA0000, boot::E820Type::ram}).has_value());
        CUPULE_ASSERT(e820_.add({1 << 20, low_size - (1 << 20), boot::E820Type::ram}).has_value());
        CUPULE_ASSERT(e820_.add({four_gib, 1 << 20, boot::E820Type::ram}).has_value());
    }

    boot::LoadTarget target() const {
        return {.memory = *memory_, .e820 = e820_, .low_ram_end = low_size, .rsdp_address = 0};
    }

  private:
    static constexpr std::uint64_t low_size = 32 << 20;
    static constexpr std::uint64_t four_gib = std::uint64_t{4} << 30;
    boot::E820Map e820_;
    std::unique_ptr<memory::GuestMemory> memory_;
};

inline boot::ImageFile image_of(const std::uint8_t* data, std::size_t size) {
    return boot::ImageFile::of_bytes(std::as_bytes(std::span(data, size)), "fuzz");
}

/// What holds for every loaded guest: the processor starts in loaded RAM, with boot data in place.
inline void check_loaded(const BootGuest& guest, const boot::LoadedGuest& loaded) {
    const boot::LoadTarget target = guest.target();
    CUPULE_ASSERT(target.e820.is_ram(loaded.boot_state.rip, 1));
    CUPULE_ASSERT(target.memory.load<std::uint64_t>({loaded.boot_state.gdt.base + 0x10}) !=
                  std::uint64_t{0});
}

}  // namespace cupule::fuzz
