#include "boot/elf_image.h"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "base/bits.h"
#include "boot/boot_layout.h"

namespace cupule::boot {
namespace {

/// A vmlinux has about five.
constexpr std::uint16_t program_headers_max = 64;
constexpr std::uint64_t note_segment_size_max = one_mebibyte;
constexpr std::uint32_t xen_phys32_entry_note = 18;  // XEN_ELFNOTE_PHYS32_ENTRY
constexpr std::string_view xen_note_name{"Xen\0", 4};

struct Elf32 {
    using Header = Elf32_Ehdr;
    using ProgramHeader = Elf32_Phdr;
    static constexpr std::uint16_t machine = EM_386;
};

struct Elf64 {
    using Header = Elf64_Ehdr;
    using ProgramHeader = Elf64_Phdr;
    static constexpr std::uint16_t machine = EM_X86_64;
};

/// A note segment as read from the file, with the alignment of the notes in it.
struct NoteSegment {
    std::vector<std::byte> bytes;
    std::uint64_t alignment = 4;
};

/// The descriptor of one PHYS32_ENTRY note: 4 or 8 bytes.
base::Result<std::uint32_t> read_entry_note(std::span<const std::byte> descriptor) {
    std::uint64_t entry = 0;
    if (descriptor.size() != 4 && descriptor.size() != 8) {
        return base::fail("the PHYS32_ENTRY note has {} bytes instead of 4 or 8",
                          descriptor.size());
    }
    std::memcpy(&entry, descriptor.data(), descriptor.size());
    if (entry >= four_gibibytes) {
        return base::fail("the PHYS32_ENTRY note says {:#x}, which is not below 4 GiB", entry);
    }
    return static_cast<std::uint32_t>(entry);
}

base::Result<std::optional<std::uint32_t>> find_pvh_entry(const NoteSegment& segment) {
    const std::span<const std::byte> bytes = segment.bytes;
    std::uint64_t at = 0;
    // Each turn passes at least one note header of 12 bytes; all sums stay far below 2^64.
    while (at + sizeof(Elf32_Nhdr) <= bytes.size()) {
        Elf32_Nhdr note{};  // the same in both classes
        std::memcpy(&note, bytes.data() + at, sizeof note);
        const std::uint64_t name_at = at + sizeof note;
        const std::uint64_t descriptor_at =
            name_at + base::align_up(note.n_namesz, segment.alignment);
        const std::uint64_t end = descriptor_at + note.n_descsz;
        if (end > bytes.size()) {
            return base::fail("the note at offset {} of its segment ends at {}, past the end {}",
                              at, end, bytes.size());
        }
        const bool is_xen =
            note.n_namesz == xen_note_name.size() &&
            std::memcmp(bytes.data() + name_at, xen_note_name.data(), xen_note_name.size()) == 0;
        if (is_xen && note.n_type == xen_phys32_entry_note) {
            CUPULE_TRY_ASSIGN(const std::uint32_t entry,
                              read_entry_note(bytes.subspan(descriptor_at, note.n_descsz)));
            return entry;
        }
        at = base::align_up(end, segment.alignment);
    }
    return std::nullopt;
}

template <class ProgramHeader>
base::Result<LoadSegment> read_load_segment(const ProgramHeader& header, unsigned index,
                                            const ImageFile& image) {
    const LoadSegment segment{.file_offset = header.p_offset,
                              .file_size = header.p_filesz,
                              .address = header.p_paddr,
                              .memory_size = header.p_memsz};
    if (segment.file_size > segment.memory_size) {
        return base::fail("segment {}: p_filesz {:#x} is larger than p_memsz {:#x}", index,
                          segment.file_size, segment.memory_size);
    }
    if (!base::contains(0, image.size(), segment.file_offset, segment.file_size)) {
        return base::fail(
            "truncated: segment {} is {:#x} bytes at file offset {:#x}, the file has {:#x}", index,
            segment.file_size, segment.file_offset, image.size());
    }
    if (!base::contains(0, four_gibibytes, segment.address, segment.memory_size)) {
        return base::fail("segment {}: {:#x} bytes at p_paddr {:#x} do not lie below 4 GiB", index,
                          segment.memory_size, segment.address);
    }
    return segment;
}

template <class ProgramHeader>
base::Result<NoteSegment> read_note_segment(const ProgramHeader& header, unsigned index,
                                            const ImageFile& image) {
    NoteSegment segment;
    segment.alignment = header.p_align == 8 ? 8 : 4;
    if (header.p_filesz > note_segment_size_max) {
        return base::fail("segment {}: {:#x} bytes of notes, at most {:#x} are allowed", index,
                          header.p_filesz, note_segment_size_max);
    }
    if (!base::contains(0, image.size(), header.p_offset, header.p_filesz)) {
        return base::fail(
            "truncated: notes of {:#x} bytes at file offset {:#x} (segment {}), the file has {:#x}",
            header.p_filesz, header.p_offset, index, image.size());
    }
    segment.bytes.resize(header.p_filesz);
    if (!image.read(header.p_offset, segment.bytes)) {
        return base::fail("cannot read the notes of segment {}", index);
    }
    return segment;
}

template <class Class>
base::Result<typename Class::Header> read_elf_header(const ImageFile& image) {
    const auto header = image.load<typename Class::Header>(0);
    if (!header) {
        return base::fail("truncated: {} bytes, the ELF header has {}", image.size(),
                          sizeof *header);
    }
    if (header->e_machine != Class::machine) {
        return base::fail("ELF machine {} is not x86 ({})", header->e_machine, Class::machine);
    }
    if (header->e_type != ET_EXEC) {
        return base::fail("ELF type {} is not an executable at fixed addresses (2)",
                          header->e_type);
    }
    if (header->e_phentsize != sizeof(typename Class::ProgramHeader)) {
        return base::fail("e_phentsize is {} instead of {}", header->e_phentsize,
                          sizeof(typename Class::ProgramHeader));
    }
    if (header->e_phnum == 0 || header->e_phnum > program_headers_max) {
        return base::fail("e_phnum is {}, 1 to {} program headers are allowed", header->e_phnum,
                          program_headers_max);
    }
    return *header;
}

/// Takes over one program header.
template <class ProgramHeader>
base::Result<void> add_program_header(ElfImage& elf, const ProgramHeader& header, unsigned index,
                                      const ImageFile& image) {
    if (header.p_type == PT_LOAD && header.p_memsz != 0) {
        CUPULE_TRY_ASSIGN(const LoadSegment segment, read_load_segment(header, index, image));
        elf.segments.push_back(segment);
    }
    if (header.p_type == PT_NOTE && !elf.pvh_entry) {
        CUPULE_TRY_ASSIGN(const NoteSegment notes, read_note_segment(header, index, image));
        CUPULE_TRY_ASSIGN(elf.pvh_entry, find_pvh_entry(notes));
    }
    return {};
}

base::Result<void> check_segments(ElfImage& elf) {
    if (elf.segments.empty()) {
        return base::fail("no segment to load (PT_LOAD)");
    }
    std::ranges::sort(elf.segments, {}, &LoadSegment::address);
    for (std::size_t i = 1; i < elf.segments.size(); ++i) {
        const LoadSegment& low = elf.segments[i - 1];
        const LoadSegment& high = elf.segments[i];
        if (low.address + low.memory_size > high.address) {
            return base::fail("segments {:#x}-{:#x} and {:#x}-{:#x} overlap", low.address,
                              low.address + low.memory_size, high.address,
                              high.address + high.memory_size);
        }
    }
    if (elf.pvh_entry && !holds(elf.segments, *elf.pvh_entry)) {
        return base::fail("the PVH entry {:#x} lies in no loaded segment", *elf.pvh_entry);
    }
    return {};
}

template <class Class>
base::Result<ElfImage> parse(const ImageFile& image) {
    CUPULE_TRY_ASSIGN(const auto header, read_elf_header<Class>(image));
    ElfImage elf;
    elf.is_64 = sizeof header == sizeof(Elf64_Ehdr);
    elf.entry = header.e_entry;
    using ProgramHeader = typename Class::ProgramHeader;
    std::vector<ProgramHeader> headers(header.e_phnum);
    if (!image.read(header.e_phoff, std::as_writable_bytes(std::span(headers)))) {
        return base::fail("truncated: {} program headers at offset {:#x}, the file has {:#x} bytes",
                          header.e_phnum, header.e_phoff, image.size());
    }
    for (unsigned i = 0; i < headers.size(); ++i) {
        CUPULE_TRY(add_program_header(elf, headers[i], i, image));
    }
    CUPULE_TRY(check_segments(elf));
    return elf;
}

}  // namespace

bool is_elf(const ImageFile& image) {
    std::array<char, SELFMAG> magic{};
    return image.read(0, std::as_writable_bytes(std::span(magic))) &&
           std::memcmp(magic.data(), ELFMAG, SELFMAG) == 0;
}

base::Result<ElfImage> parse_elf(const ImageFile& image) {
    const auto ident = image.load<std::array<unsigned char, EI_NIDENT>>(0);
    if (!ident || !is_elf(image)) {
        return base::fail("not an ELF file ({} bytes)", image.size());
    }
    if ((*ident)[EI_DATA] != ELFDATA2LSB || (*ident)[EI_VERSION] != EV_CURRENT) {
        return base::fail("ELF data encoding {} version {}: only little-endian (1) version 1",
                          (*ident)[EI_DATA], (*ident)[EI_VERSION]);
    }
    if ((*ident)[EI_CLASS] == ELFCLASS32) {
        return parse<Elf32>(image);
    }
    if ((*ident)[EI_CLASS] == ELFCLASS64) {
        return parse<Elf64>(image);
    }
    return base::fail("ELF class {} is neither 32-bit (1) nor 64-bit (2)", (*ident)[EI_CLASS]);
}

bool holds(const std::vector<LoadSegment>& segments, std::uint64_t address) {
    return std::ranges::any_of(segments, [address](const LoadSegment& segment) {
        return base::contains(segment.address, segment.memory_size, address, 1);
    });
}

base::Result<void> load_segments(const ImageFile& image, const std::vector<LoadSegment>& segments,
                                 memory::GuestMemory& memory, AddressPlan& plan) {
    for (const LoadSegment& segment : segments) {
        CUPULE_TRY(plan.claim(segment.address, segment.memory_size, "a segment of the kernel"));
    }
    for (const LoadSegment& segment : segments) {
        CUPULE_TRY(
            image.copy_to(memory, {segment.address}, segment.file_offset, segment.file_size));
    }
    return {};
}

}  // namespace cupule::boot
