#include "boot/multiboot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boot/boot_layout.h"
#include "boot/testing/image_builder.h"

namespace cupule::boot {
namespace {

using testing::Elf32Builder;
using ::testing::HasSubstr;
using testing::ImageBytes;
using testing::make_pvh_elf;
using testing::TestGuest;

constexpr std::uint32_t magic = 0x1BAD'B002;
constexpr std::uint64_t mib = 1 << 20;

void put_header(ImageBytes& image, std::uint64_t offset, std::uint32_t flags) {
    image.put<std::uint32_t>(offset, magic);
    image.put<std::uint32_t>(offset + 4, flags);
    image.put<std::uint32_t>(offset + 8, 0U - magic - flags);
}

ImageBytes make_elf32(std::uint32_t entry = 0x10'0000) {
    Elf32Builder elf;
    elf.header.e_entry = entry;
    elf.add_segment({0x10'0000, 0x1000, 0x1000});
    return elf.build();
}

base::Result<std::optional<FlatKernel>> parse(const ImageBytes& bytes) {
    const ImageFile image = bytes.image();
    if (!is_elf(image)) {
        return parse_multiboot(image, nullptr);
    }
    CUPULE_TRY_ASSIGN(const ElfImage elf, parse_elf(image));
    return parse_multiboot(image, &elf);
}

std::string parse_error(const ImageBytes& bytes) {
    const auto kernel = parse(bytes);
    if (!kernel) {
        return kernel.error().message;
    }
    return *kernel ? "no error" : "no header";
}

/// A flat file whose header says: load the file from `load_offset` on at 2 MiB.
ImageBytes make_flat(std::uint64_t header_offset = 0x20) {
    ImageBytes image;
    image.resize(0x400, testing::code_fill);
    put_header(image, header_offset, 1U << 16);
    image.put<std::uint32_t>(header_offset + 12, 2 * mib + 0x10);  // header_addr
    image.put<std::uint32_t>(header_offset + 16, 2 * mib);         // load_addr
    image.put<std::uint32_t>(header_offset + 20, 2 * mib + 0x100);
    image.put<std::uint32_t>(header_offset + 24, 2 * mib + 0x1000);
    image.put<std::uint32_t>(header_offset + 28, 2 * mib + 0x40);
    return image;
}

TEST(MultibootHeader, IsFoundOnFourByteBoundariesOfTheFirst8Kib) {
    for (const std::uint64_t offset : {0x100U, 0x1FF4U}) {
        ImageBytes image = make_elf32();
        put_header(image, offset, 0x3);
        EXPECT_EQ(parse_error(image), "no error") << offset;
    }
    for (const std::uint64_t offset : {0x102U, 0x1FF8U}) {
        ImageBytes image = make_elf32();
        put_header(image, offset, 0x3);
        EXPECT_EQ(parse_error(image), "no header") << offset;
    }
    ImageBytes image = make_elf32();
    put_header(image, 0x100, 0x3);
    image.put<std::uint32_t>(0x108, 0);  // checksum
    EXPECT_EQ(parse_error(image), "no header");
}

TEST(MultibootHeader, RefusesWhatItAsksForTooMuchByName) {
    const auto with_flags = [](std::uint32_t flags) {
        ImageBytes image = make_elf32();
        put_header(image, 0x100, flags);
        return parse_error(image);
    };
    EXPECT_EQ(with_flags(0), "no error");
    EXPECT_EQ(with_flags(0x0002'0003), "no error");
    EXPECT_THAT(with_flags(0x7), HasSubstr("video mode (flags bit 2, value 0x7)"));
    EXPECT_THAT(with_flags(0x8002), HasSubstr("flags 0x8002"));
}

TEST(MultibootHeader, HonoursAddressFieldsWithoutElf) {
    const auto kernel = parse(make_flat());
    ASSERT_TRUE(kernel.has_value()) << kernel.error().message;
    ASSERT_TRUE(kernel->has_value());
    EXPECT_EQ((*kernel)->entry, 2 * mib + 0x40);
    const LoadSegment& segment = (*kernel)->segments.at(0);
    EXPECT_EQ(segment.file_offset, 0x10U);
    EXPECT_EQ(segment.file_size, 0x100U);
    EXPECT_EQ(segment.memory_size, 0x1000U);
    EXPECT_EQ(segment.address, 2 * mib);
}

TEST(MultibootHeader, LoadsTheWholeFileWhereNoEndIsGiven) {
    ImageBytes image = make_flat();
    image.put<std::uint32_t>(0x20 + 20, 0);
    image.put<std::uint32_t>(0x20 + 24, 0);
    const auto kernel = parse(image);
    ASSERT_TRUE(kernel.has_value() && kernel->has_value());
    EXPECT_EQ((*kernel)->segments.at(0).file_size, 0x3F0U);
    EXPECT_EQ((*kernel)->segments.at(0).memory_size, 0x3F0U);
}

TEST(MultibootHeader, RefusesContradictoryAddressFields) {
    const auto with = [](std::uint64_t field, std::uint32_t value) {
        ImageBytes image = make_flat();
        image.put<std::uint32_t>(0x20 + field, value);
        return parse_error(image);
    };
    EXPECT_THAT(with(12, 2 * mib - 1), HasSubstr("contradict"));
    EXPECT_THAT(with(12, 2 * mib + 0x21), HasSubstr("contradict"));
    EXPECT_THAT(with(20, 2 * mib - 1), HasSubstr("load_end_addr"));
    EXPECT_THAT(with(20, 2 * mib + 0x3F1), HasSubstr("load_end_addr"));
    EXPECT_THAT(with(24, 2 * mib + 0xFF), HasSubstr("bss_end_addr"));
    EXPECT_THAT(with(28, 2 * mib + 0x1000), HasSubstr("outside what is loaded"));
    ImageBytes cut = make_flat(0x3F0);
    cut.resize(0x400);
    EXPECT_THAT(parse_error(cut), HasSubstr("truncated"));
}

TEST(MultibootHeader, NeedsAddressFieldsIn64BitElf) {
    ImageBytes image = make_pvh_elf().build();
    put_header(image, 0x100, 0x3);
    EXPECT_THAT(parse_error(image), HasSubstr("no address fields"));
}

TEST(MultibootHeader, NeedsAnEntryThatIsLoaded) {
    ImageBytes image = make_elf32(0x10'1000);
    put_header(image, 0x100, 0x3);
    EXPECT_THAT(parse_error(image), HasSubstr("entry 0x101000 lies outside"));
}

TEST(MultibootLoad, GivesMagicAndBootInformation) {
    const TestGuest guest(128 * mib, 64 * mib);
    ImageBytes bytes = make_elf32(0x10'0800);
    put_header(bytes, 0x100, 0x3);
    const auto kernel = parse(bytes);
    ASSERT_TRUE(kernel.has_value() && kernel->has_value());
    const std::vector<std::byte> disk(0x1234, std::byte{0x5A});
    const ImageFile initrd = ImageFile::of_bytes(disk, "disk");
    const auto loaded = load_flat(**kernel, bytes.image(), guest.target(),
                                  {.command_line = "one two", .initrd = &initrd});
    ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
    const hypervisor::VcpuState& state = loaded->boot_state;
    EXPECT_EQ(state.rip, 0x10'0800U);
    EXPECT_EQ(state.rax, 0x2BAD'B002U);
    EXPECT_EQ(state.cr0, 0x11U);
    EXPECT_EQ(state.cs.access_rights, 0xC09BU);
    EXPECT_EQ(guest.byte_at(0x10'0FFF), 0xC5U);
    const std::uint64_t info = state.rbx;
    EXPECT_EQ(guest.at<std::uint32_t>(info), 0x4DU);  // memory, command line, modules, map
    EXPECT_EQ(guest.at<std::uint32_t>(info + 4), 640U);
    EXPECT_EQ(guest.at<std::uint32_t>(info + 8), 127U * 1024);
    EXPECT_EQ(guest.text_at(guest.at<std::uint32_t>(info + 16)), "one two");
    EXPECT_EQ(guest.at<std::uint32_t>(info + 20), 1U);
    const std::uint64_t module = guest.at<std::uint32_t>(info + 24);
    const std::uint64_t start = guest.at<std::uint32_t>(module);
    EXPECT_EQ(start, 128 * mib - 0x2000);
    EXPECT_EQ(guest.at<std::uint32_t>(module + 4), start + 0x1234);
    EXPECT_EQ(guest.byte_at(start + 0x1233), 0x5AU);
    EXPECT_EQ(guest.at<std::uint32_t>(info + 44), 3U * 24);
    const std::uint64_t last = guest.at<std::uint32_t>(info + 48) + 48;
    EXPECT_EQ(guest.at<std::uint32_t>(last), 20U);
    EXPECT_EQ(guest.at<std::uint64_t>(last + 4), four_gibibytes);
    EXPECT_EQ(guest.at<std::uint64_t>(last + 12), 64 * mib);
    EXPECT_EQ(guest.at<std::uint32_t>(last + 20), 1U);
}

TEST(MultibootLoad, RefusesAKernelOverTheBootDataOrOutsideRam) {
    const TestGuest guest;
    const ImageBytes bytes = make_flat();
    const auto load_at = [&](std::uint64_t address) {
        const FlatKernel kernel{.entry = 0,
                                .segments = {{.file_offset = 0,
                                              .file_size = 0x10,
                                              .address = address,
                                              .memory_size = 0x10}},
                                .multiboot = true};
        return load_flat(kernel, bytes.image(), guest.target(), {}).has_value();
    };
    EXPECT_TRUE(load_at(0x8000));
    EXPECT_FALSE(load_at(boot_info_address - 1));
    EXPECT_FALSE(load_at(0xA'0000));
    EXPECT_FALSE(load_at(128 * mib - 0xF));
    EXPECT_TRUE(load_at(128 * mib - 0x10));
}

}  // namespace
}  // namespace cupule::boot
