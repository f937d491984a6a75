#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "boot/e820.h"
#include "boot/image_file.h"
#include "boot/load_target.h"
#include "memory/guest_memory.h"

namespace cupule::boot::testing {

/// Bytes of a file under construction; `put` extends it as needed.
class ImageBytes {
  public:
    template <class T>
    void put(std::uint64_t offset, const T& value) {
        bytes_.resize(std::max<std::size_t>(bytes_.size(), offset + sizeof value));
        std::memcpy(bytes_.data() + offset, &value, sizeof value);
    }
    void resize(std::uint64_t size, std::byte fill = {}) { bytes_.resize(size, fill); }
    std::span<const std::byte> bytes() const { return bytes_; }
    std::size_t size() const { return bytes_.size(); }
    ImageFile image() const { return ImageFile::of_bytes(bytes_, "test image"); }

  private:
    std::vector<std::byte> bytes_;
};

inline constexpr std::byte code_fill{0xC5};

/// A bzImage with a valid header of protocol `version` (0x200 to 0x20F), `setup_sectors` and
/// `code_size` bytes of code_fill. Tests then break single fields with `put`.
inline ImageBytes make_bzimage(std::uint16_t version = 0x20F, std::uint8_t setup_sectors = 4,
                               std::uint32_t code_size = 0x4000) {
    ImageBytes image;
    image.resize((std::uint64_t{setup_sectors} + 1) * 512);
    image.put<std::uint8_t>(0x1F1, setup_sectors);
    image.put<std::uint32_t>(0x1F4, code_size / 16);
    image.put<std::uint16_t>(0x1FE, 0xAA55);
    image.put<std::uint8_t>(0x200, 0xEB);
    image.put<std::uint8_t>(0x201, 0x6A);  // the header ends at 0x26C
    image.put<std::uint32_t>(0x202, 0x5372'6448);
    image.put<std::uint16_t>(0x206, version);
    image.put<std::uint8_t>(0x211, 1);  // LOADED_HIGH
    image.put<std::uint32_t>(0x214, 0x10'0000);
    image.put<std::uint32_t>(0x22C, 0x7FFF'FFFF);  // initrd_addr_max
    if (version >= 0x205) {
        image.put<std::uint32_t>(0x230, 0x20'0000);  // kernel_alignment
        image.put<std::uint8_t>(0x234, 1);           // relocatable_kernel
    }
    image.put<std::uint16_t>(0x236, version >= 0x20C ? 0x3 : 0);  // KERNEL_64, ABOVE_4G
    image.put<std::uint32_t>(0x238, 2047);                        // cmdline_size
    image.put<std::uint64_t>(0x258, 0x100'0000);                  // pref_address
    image.put<std::uint32_t>(0x260, 0x10'0000);                   // init_size
    image.resize(image.size() + code_size, code_fill);
    return image;
}

/// What one PT_LOAD says; its data are code_fill.
struct TestSegment {
    std::uint64_t address = 0;
    std::uint64_t file_size = 0;
    std::uint64_t memory_size = 0;
};

/// Lays out an ELF of one class: header, program headers, segments' data from 0x3000 on, notes.
template <class Header, class ProgramHeader>
class ElfBuilder {
  public:
    ElfBuilder() {
        std::memcpy(header.e_ident, ELFMAG, SELFMAG);
        const bool is_64 = sizeof(Header) == sizeof(Elf64_Ehdr);
        header.e_ident[EI_CLASS] = is_64 ? ELFCLASS64 : ELFCLASS32;
        header.e_ident[EI_DATA] = ELFDATA2LSB;
        header.e_ident[EI_VERSION] = EV_CURRENT;
        header.e_type = ET_EXEC;
        header.e_machine = is_64 ? EM_X86_64 : EM_386;
        header.e_phoff = sizeof(Header);
        header.e_phentsize = sizeof(ProgramHeader);
    }

    void add_segment(const TestSegment& segment) {
        ProgramHeader program{};
        program.p_type = PT_LOAD;
        program.p_offset = static_cast<decltype(program.p_offset)>(data_at_);
        program.p_paddr = static_cast<decltype(program.p_paddr)>(segment.address);
        program.p_filesz = static_cast<decltype(program.p_filesz)>(segment.file_size);
        program.p_memsz = static_cast<decltype(program.p_memsz)>(segment.memory_size);
        programs.push_back(program);
        data_at_ += segment.file_size;
    }

    void add_notes(std::span<const std::byte> notes, std::uint32_t alignment = 4) {
        ProgramHeader program{};
        program.p_type = PT_NOTE;
        program.p_offset = note_offset;
        program.p_filesz = static_cast<decltype(program.p_filesz)>(notes.size());
        program.p_align = alignment;
        programs.push_back(program);
        notes_.assign(notes.begin(), notes.end());
    }

    /// The file with `header` and `programs` as they now are.
    ImageBytes build() {
        ImageBytes image;
        header.e_phnum = static_cast<Elf64_Half>(programs.size());
        image.put(0, header);
        for (std::size_t i = 0; i < programs.size(); ++i) {
            image.put(sizeof(Header) + i * sizeof(ProgramHeader), programs[i]);
        }
        for (std::size_t i = 0; i < notes_.size(); ++i) {
            image.put(note_offset + i, notes_[i]);
        }
        image.resize(data_offset);
        image.resize(data_at_, code_fill);
        return image;
    }

    Header header{};
    std::vector<ProgramHeader> programs;

    static constexpr std::uint32_t note_offset = 0x2000;
    static constexpr std::uint64_t data_offset = 0x3000;

  private:
    std::uint64_t data_at_ = data_offset;
    std::vector<std::byte> notes_;
};

using Elf32Builder = ElfBuilder<Elf32_Ehdr, Elf32_Phdr>;
using Elf64Builder = ElfBuilder<Elf64_Ehdr, Elf64_Phdr>;

/// One note: header, name padded, descriptor padded.
inline std::vector<std::byte> make_note(std::string name, std::uint32_t type,
                                        std::span<const std::byte> descriptor,
                                        std::size_t alignment = 4) {
    const auto pad = [alignment](std::size_t n) { return (n + alignment - 1) & ~(alignment - 1); };
    name.push_back('\0');
    const Elf32_Nhdr header{.n_namesz = static_cast<Elf32_Word>(name.size()),
                            .n_descsz = static_cast<Elf32_Word>(descriptor.size()),
                            .n_type = type};
    std::vector<std::byte> note(sizeof header + pad(name.size()) + pad(descriptor.size()));
    std::memcpy(note.data(), &header, sizeof header);
    std::memcpy(note.data() + sizeof header, name.data(), name.size());
    if (!descriptor.empty()) {
        std::memcpy(note.data() + sizeof header + pad(name.size()), descriptor.data(),
                    descriptor.size());
    }
    return note;
}

inline std::vector<std::byte> make_entry_note(std::uint64_t entry, std::size_t size = 8) {
    return make_note("Xen", 18, std::as_bytes(std::span(&entry, 1)).first(size));
}

/// An ELF64 with one segment at 16 MiB and the PVH note for its first byte.
inline Elf64Builder make_pvh_elf() {
    Elf64Builder elf;
    elf.add_segment({0x100'0000, 0x2000, 0x5000});
    elf.add_notes(make_entry_note(0x100'0010));
    return elf;
}

/// A guest with `low` bytes of RAM below 4 GiB (with the hole at 640 KiB) and `high` above.
class TestGuest {
  public:
    explicit TestGuest(std::uint64_t low = 128 << 20, std::uint64_t high = 0) : low_ram_end_(low) {
        memory::RamLayout layout{.pieces = {{{0}, low}}, .huge_pages = memory::HugePages::never};
        bool complete = e820.add({0, 0xA0000, E820Type::ram}).has_value() &&
                        e820.add({0x10'0000, low - 0x10'0000, E820Type::ram}).has_value();
        if (high != 0) {
            const std::uint64_t base = std::uint64_t{4} << 30;
            layout.pieces.push_back({{base}, high});
            complete = complete && e820.add({base, high, E820Type::ram}).has_value();
        }
        auto made = memory::GuestMemory::create(layout);
        if (complete && made) {
            memory = std::move(*made);
        }
    }

    LoadTarget target() const {
        return {
            .memory = *memory, .e820 = e820, .low_ram_end = low_ram_end_, .rsdp_address = 0xF'2400};
    }
    std::uint64_t byte_at(std::uint64_t address) const {
        return memory->load<std::uint8_t>({address}).value_or(0);
    }
    template <class T>
    T at(std::uint64_t address) const {
        return memory->load<T>({address}).value_or(T{});
    }
    std::string text_at(std::uint64_t address) const {
        std::string text;
        while (text.size() < 0x1'0000 && byte_at(address + text.size()) != 0) {
            text.push_back(static_cast<char>(byte_at(address + text.size())));
        }
        return text;
    }

    E820Map e820;
    std::unique_ptr<memory::GuestMemory> memory;

  private:
    std::uint64_t low_ram_end_;
};

}  // namespace cupule::boot::testing
