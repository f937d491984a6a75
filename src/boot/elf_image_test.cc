#include "boot/elf_image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boot/boot_layout.h"
#include "boot/testing/image_builder.h"

namespace cupule::boot {
namespace {

using testing::Elf32Builder;
using testing::Elf64Builder;
using ::testing::HasSubstr;
using testing::ImageBytes;
using testing::make_entry_note;
using testing::make_note;
using testing::make_pvh_elf;
using testing::TestGuest;

std::string parse_error(const ImageBytes& image) {
    const auto elf = parse_elf(image.image());
    return elf ? "no error" : elf.error().message;
}

std::string note_error(std::span<const std::byte> notes) {
    Elf64Builder elf;
    elf.add_segment({0x100'0000, 0x2000, 0x2000});
    elf.add_notes(notes);
    return parse_error(elf.build());
}

TEST(ElfImage, ReadsBothClasses) {
    const auto wide = parse_elf(make_pvh_elf().build().image());
    ASSERT_TRUE(wide.has_value()) << wide.error().message;
    EXPECT_TRUE(wide->is_64);
    EXPECT_EQ(wide->pvh_entry, 0x100'0010U);
    ASSERT_EQ(wide->segments.size(), 1U);
    EXPECT_EQ(wide->segments[0].memory_size, 0x5000U);
    Elf32Builder narrow;
    narrow.header.e_entry = 0x10'0004;
    narrow.add_segment({0x10'0000, 0x10, 0x10});
    const auto elf = parse_elf(narrow.build().image());
    ASSERT_TRUE(elf.has_value()) << elf.error().message;
    EXPECT_FALSE(elf->is_64);
    EXPECT_EQ(elf->entry, 0x10'0004U);
    EXPECT_FALSE(elf->pvh_entry.has_value());
}

TEST(ElfImage, RefusesAFileTruncatedAnywhere) {
    const ImageBytes whole = make_pvh_elf().build();
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const auto image = ImageFile::of_bytes(whole.bytes().first(size), "cut");
        ASSERT_FALSE(parse_elf(image).has_value()) << size;
    }
    EXPECT_TRUE(parse_elf(whole.image()).has_value());
}

TEST(ElfImage, NamesABadHeader) {
    const auto broken = [](auto&& change) {
        Elf64Builder elf = make_pvh_elf();
        change(elf);
        return parse_error(elf.build());
    };
    EXPECT_THAT(broken([](auto& elf) { elf.header.e_ident[0] = 0; }), HasSubstr("not an ELF"));
    EXPECT_THAT(broken([](auto& elf) { elf.header.e_ident[EI_DATA] = ELFDATA2MSB; }),
                HasSubstr("little-endian"));
    EXPECT_THAT(broken([](auto& elf) { elf.header.e_ident[EI_CLASS] = 3; }),
                HasSubstr("ELF class 3"));
    EXPECT_THAT(broken([](auto& elf) { elf.header.e_machine = EM_AARCH64; }),
                HasSubstr("ELF machine 183 is not x86"));
    EXPECT_THAT(broken([](auto& elf) { elf.header.e_type = ET_REL; }), HasSubstr("ELF type 1"));
    EXPECT_THAT(broken([](auto& elf) { elf.header.e_phentsize = 32; }),
                HasSubstr("e_phentsize is 32 instead of 56"));
    EXPECT_THAT(broken([](auto& elf) { elf.header.e_phoff = ~std::uint64_t{0} - 8; }),
                HasSubstr("program headers at offset 0xfffffffffffffff7"));
    EXPECT_THAT(broken([](auto& elf) { elf.programs.clear(); }), HasSubstr("e_phnum is 0"));
    EXPECT_THAT(broken([](auto& elf) { elf.programs.erase(elf.programs.begin()); }),
                HasSubstr("no segment to load"));
}

TEST(ElfImage, TakesAtMost64ProgramHeaders) {
    Elf64Builder elf = make_pvh_elf();
    elf.programs.resize(64);
    EXPECT_EQ(parse_error(elf.build()), "no error");
    elf.programs.resize(65);
    EXPECT_THAT(parse_error(elf.build()), HasSubstr("e_phnum is 65, 1 to 64"));
    elf.programs.resize(0xFFFF);
    EXPECT_THAT(parse_error(elf.build()), HasSubstr("e_phnum is 65535"));
}

TEST(ElfImage, RefusesSegmentsThatWrapOrLeaveTheFile) {
    const auto broken = [](auto&& change) {
        Elf64Builder elf = make_pvh_elf();
        change(elf.programs[0]);
        return parse_error(elf.build());
    };
    EXPECT_THAT(broken([](auto& program) { program.p_paddr = ~std::uint64_t{0} - 0xFFF; }),
                HasSubstr("do not lie below 4 GiB"));
    EXPECT_THAT(broken([](auto& program) { program.p_paddr = four_gibibytes - 0x4FFF; }),
                HasSubstr("do not lie below 4 GiB"));
    EXPECT_THAT(broken([](auto& program) { program.p_memsz = ~std::uint64_t{0}; }),
                HasSubstr("do not lie below 4 GiB"));
    EXPECT_THAT(broken([](auto& program) { program.p_filesz = 0x5001; }),
                HasSubstr("p_filesz 0x5001 is larger than p_memsz 0x5000"));
    EXPECT_THAT(broken([](auto& program) { program.p_filesz = 0x2001; }),
                HasSubstr("truncated: segment 0"));
    EXPECT_THAT(broken([](auto& program) { program.p_offset = ~std::uint64_t{0} - 0x10; }),
                HasSubstr("truncated: segment 0"));
}

TEST(ElfImage, RefusesSegmentsThatOverlapByOneByte) {
    Elf64Builder elf = make_pvh_elf();
    elf.add_segment({0x100'5000, 0x10, 0x10});
    EXPECT_EQ(parse_error(elf.build()), "no error");
    elf = make_pvh_elf();
    elf.add_segment({0x100'4FFF, 0x10, 0x10});
    EXPECT_THAT(parse_error(elf.build()), HasSubstr("overlap"));
    elf = make_pvh_elf();
    elf.add_segment({0x0FF'FFF0, 0x10, 0x11});
    EXPECT_THAT(parse_error(elf.build()), HasSubstr("overlap"));
}

TEST(ElfNotes, FindTheEntryBehindOtherNotesInBothAlignments) {
    for (const std::size_t alignment : {4U, 8U}) {
        const std::uint64_t entry = 0x100'0020;
        auto notes = make_note("GNU", 3, std::vector<std::byte>(5), alignment);
        const auto other = make_note("Xen", 6, std::vector<std::byte>(6), alignment);
        const auto wanted = make_note("Xen", 18, std::as_bytes(std::span(&entry, 1)), alignment);
        while (notes.size() % alignment != 0) {
            notes.push_back({});
        }
        notes.insert(notes.end(), other.begin(), other.end());
        while (notes.size() % alignment != 0) {
            notes.push_back({});
        }
        notes.insert(notes.end(), wanted.begin(), wanted.end());
        Elf64Builder elf;
        elf.add_segment({0x100'0000, 0x2000, 0x2000});
        elf.add_notes(notes, static_cast<std::uint32_t>(alignment));
        const auto parsed = parse_elf(elf.build().image());
        ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
        EXPECT_EQ(parsed->pvh_entry, entry) << alignment;
    }
}

TEST(ElfNotes, IgnoreNotesOfOthersWithTheSameType) {
    const std::uint64_t entry = 0x100'0020;
    const auto descriptor = std::as_bytes(std::span(&entry, 1));
    Elf64Builder elf;
    elf.add_segment({0x100'0000, 0x2000, 0x2000});
    elf.add_notes(make_note("Xem", 18, descriptor));
    const auto parsed = parse_elf(elf.build().image());
    ASSERT_TRUE(parsed.has_value());
    EXPECT_FALSE(parsed->pvh_entry.has_value());
}

TEST(ElfNotes, AreReadWithinTheirSegmentOnly) {
    auto note = make_entry_note(0x100'0000);
    EXPECT_EQ(note_error(note), "no error");
    EXPECT_THAT(note_error(std::span(note).first(note.size() - 1)), HasSubstr("past the end"));
    EXPECT_EQ(note_error(std::span(note).first(11)), "no error");  // no note at all
    const auto with_sizes = [&note](std::uint32_t name_size, std::uint32_t descriptor_size) {
        auto changed = note;
        std::memcpy(changed.data(), &name_size, 4);
        std::memcpy(changed.data() + 4, &descriptor_size, 4);
        return note_error(changed);
    };
    EXPECT_THAT(with_sizes(0xFFFF'FFFF, 8), HasSubstr("past the end"));
    EXPECT_THAT(with_sizes(4, 0xFFFF'FFFF), HasSubstr("past the end"));
    EXPECT_THAT(with_sizes(0xFFFF'FFFF, 0xFFFF'FFFF), HasSubstr("past the end"));
    EXPECT_THAT(with_sizes(4, 5), HasSubstr("has 5 bytes instead of 4 or 8"));
}

TEST(ElfNotes, MustNameAnEntryThatIsLoadedBelow4Gib) {
    EXPECT_EQ(note_error(make_entry_note(0x100'1FFF, 4)), "no error");
    EXPECT_THAT(note_error(make_entry_note(0x100'2000)), HasSubstr("in no loaded segment"));
    EXPECT_THAT(note_error(make_entry_note(four_gibibytes)), HasSubstr("not below 4 GiB"));
}

TEST(ElfNotes, AreLimitedToOneMebibyte) {
    Elf64Builder elf = make_pvh_elf();
    elf.programs[1].p_filesz = 0x10'0001;
    EXPECT_THAT(parse_error(elf.build()), HasSubstr("at most 0x100000 are allowed"));
    elf = make_pvh_elf();
    elf.programs[1].p_offset = ~std::uint64_t{0} - 3;
    EXPECT_THAT(parse_error(elf.build()), HasSubstr("truncated: notes"));
}

TEST(ElfSegments, GoToTheirPhysicalAddressesAndNotOverTheBootData) {
    const TestGuest guest;
    Elf64Builder builder = make_pvh_elf();
    builder.add_segment({boot_data_address - 0x1000, 0x1000, 0x1000});
    const ImageBytes bytes = builder.build();
    const auto elf = parse_elf(bytes.image());
    ASSERT_TRUE(elf.has_value());
    AddressPlan plan(guest.e820, 128 << 20);
    ASSERT_TRUE(load_segments(bytes.image(), elf->segments, *guest.memory, plan).has_value());
    EXPECT_EQ(guest.byte_at(boot_data_address - 1), 0xC5U);
    EXPECT_EQ(guest.byte_at(0x100'1FFF), 0xC5U);
    EXPECT_EQ(guest.byte_at(0x100'2000), 0U);
    std::vector<LoadSegment> segments = elf->segments;
    segments[0].memory_size += 1;
    AddressPlan fresh(guest.e820, 128 << 20);
    const auto over = load_segments(bytes.image(), segments, *guest.memory, fresh);
    ASSERT_FALSE(over.has_value());
    EXPECT_THAT(over.error().message, HasSubstr("boot data"));
}

}  // namespace
}  // namespace cupule::boot
