#include "boot/bzimage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "boot/boot_layout.h"
#include "boot/testing/image_builder.h"

namespace cupule::boot {
namespace {

using ::testing::HasSubstr;
using testing::ImageBytes;
using testing::make_bzimage;
using testing::TestGuest;

constexpr std::uint64_t mib = 1 << 20;
constexpr std::uint64_t zero_page = boot_info_address;

std::string parse_error(const ImageBytes& image) {
    const auto kernel = parse_bzimage(image.image());
    return kernel ? "no error" : kernel.error().message;
}

base::Result<LoadedGuest> load(const ImageBytes& image, const TestGuest& guest,
                               std::string_view command_line = "",
                               const ImageFile* initrd = nullptr) {
    const ImageFile file = image.image();
    CUPULE_TRY_ASSIGN(const BzImage kernel, parse_bzimage(file));
    return load_bzimage(kernel, file, guest.target(),
                        {.command_line = command_line, .initrd = initrd});
}

TEST(BzImageHeader, TakesEveryVersionFrom200To20FAndLater) {
    for (std::uint16_t version = 0x200; version <= 0x210; ++version) {
        EXPECT_EQ(parse_error(make_bzimage(version)), "no error") << version;
    }
}

TEST(BzImageHeader, NamesWhatIsWrong) {
    auto image = make_bzimage();
    image.put<std::uint32_t>(0x202, 0);
    EXPECT_THAT(parse_error(image), HasSubstr("no \"HdrS\""));
    image = make_bzimage();
    image.put<std::uint16_t>(0x1FE, 0x1234);
    EXPECT_THAT(parse_error(image), HasSubstr("boot_flag at 0x1fe is 0x1234"));
    image = make_bzimage(0x1FF);
    EXPECT_THAT(parse_error(image), HasSubstr("boot protocol 1.255"));
    image = make_bzimage();
    image.put<std::uint8_t>(0x211, 0);
    EXPECT_THAT(parse_error(image), HasSubstr("zImage"));
    image = make_bzimage();
    image.put<std::uint8_t>(0x201, 0x69);
    EXPECT_THAT(parse_error(image), HasSubstr("ends at 0x26b, boot protocol 2.15 needs 0x26c"));
    image = make_bzimage();
    image.put<std::uint32_t>(0x230, 0x30'0000);
    EXPECT_THAT(parse_error(image), HasSubstr("kernel_alignment 0x300000"));
    image.put<std::uint32_t>(0x230, 0);
    EXPECT_THAT(parse_error(image), HasSubstr("kernel_alignment 0x0"));
    image = make_bzimage();
    image.put<std::uint64_t>(0x258, ~std::uint64_t{0});
    EXPECT_THAT(parse_error(image), HasSubstr("pref_address"));
    image = make_bzimage();
    image.put<std::uint32_t>(0x1F4, 0);
    EXPECT_THAT(parse_error(image), HasSubstr("syssize is 0"));
}

TEST(BzImageHeader, RefusesAFileTruncatedAnywhere) {
    const auto whole = make_bzimage();
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const auto image = ImageFile::of_bytes(whole.bytes().first(size), "cut");
        ASSERT_FALSE(parse_bzimage(image).has_value()) << size;
    }
    EXPECT_TRUE(parse_bzimage(whole.image()).has_value());
}

TEST(BzImageHeader, NamesTheSizesOfATruncatedFile) {
    const auto whole = make_bzimage();
    const auto cut = [&whole](std::size_t size) {
        const auto kernel = parse_bzimage(ImageFile::of_bytes(whole.bytes().first(size), "cut"));
        return kernel ? "" : kernel.error().message;
    };
    EXPECT_THAT(cut(0x207), HasSubstr("truncated: 519 bytes"));
    EXPECT_THAT(cut(0x26B), HasSubstr("truncated: 619 bytes, the setup header ends at 0x26c"));
    EXPECT_THAT(cut(2560), HasSubstr("its setup code alone has 2560"));
    EXPECT_THAT(cut(2561), HasSubstr("syssize says 16384 bytes of protected-mode code, the file "
                                     "has 1"));
}

TEST(BzImageHeader, ReadsZeroSetupSectorsAsFour) {
    auto image = make_bzimage();
    image.put<std::uint8_t>(0x1F1, 0);
    const auto kernel = parse_bzimage(image.image());
    ASSERT_TRUE(kernel.has_value());
    EXPECT_EQ(kernel->code_offset, 5U * 512);
    EXPECT_EQ(kernel->code_size, 0x4000U);
}

TEST(BzImageHeader, AcceptsBytesAppendedBehindTheKernel) {
    auto image = make_bzimage();
    image.resize(image.size() + 100);
    EXPECT_EQ(parse_error(image), "no error");
}

TEST(BzImageHeader, GivesOldKernelsTheOldLimits) {
    const auto kernel = parse_bzimage(make_bzimage(0x202).image());
    ASSERT_TRUE(kernel.has_value());
    EXPECT_EQ(kernel->command_line_max, 255U);
    EXPECT_EQ(kernel->initrd_address_max, 0x37FF'FFFFU);
    EXPECT_FALSE(kernel->relocatable);
    EXPECT_FALSE(kernel->entry_64);
    EXPECT_EQ(kernel->preferred_address, mib);
}

TEST(BzImageLoad, EntersA64BitKernelInLongMode) {
    const TestGuest guest;
    const auto loaded = load(make_bzimage(), guest, "console=ttyS0");
    ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
    const hypervisor::VcpuState& state = loaded->boot_state;
    EXPECT_EQ(state.rip, 16 * mib + 0x200);
    EXPECT_EQ(state.rsi, zero_page);
    EXPECT_EQ(state.cr0, 0x8000'0011U);
    EXPECT_EQ(state.cr4, 0x20U);
    EXPECT_EQ(state.efer, 0x500U);
    EXPECT_EQ(state.cs.selector, 0x10);
    EXPECT_EQ(state.cs.access_rights, 0xA09BU);
    EXPECT_EQ(state.ds.selector, 0x18);
    EXPECT_EQ(state.tr.access_rights, 0x8BU);
    EXPECT_EQ(state.rflags, 2U);
    EXPECT_EQ(guest.byte_at(16 * mib), 0xC5U);
    EXPECT_EQ(guest.byte_at(16 * mib + 0x3FFF), 0xC5U);
    EXPECT_EQ(guest.byte_at(16 * mib + 0x4000), 0U);
    EXPECT_EQ(guest.at<std::uint64_t>(state.gdt.base + 0x10), 0x00AF'9B00'0000'FFFFU);
    EXPECT_EQ(guest.at<std::uint64_t>(state.gdt.base + 0x18), 0x00CF'9300'0000'FFFFU);
    EXPECT_THAT(loaded->description, HasSubstr("64-bit entry 0x1000200"));
}

TEST(BzImageLoad, MapsTheFirst4GibToThemselves) {
    const TestGuest guest;
    const auto loaded = load(make_bzimage(), guest);
    ASSERT_TRUE(loaded.has_value());
    constexpr std::uint64_t frame = 0x000F'FFFF'FFFF'F000;
    const auto translate = [&](std::uint64_t linear) -> std::uint64_t {
        const auto entry_at = [&](std::uint64_t table, unsigned shift) {
            return guest.at<std::uint64_t>((table & frame) + (linear >> shift & 511) * 8);
        };
        const std::uint64_t pml4e = entry_at(loaded->boot_state.cr3, 39);
        const std::uint64_t pdpte = entry_at(pml4e, 30);
        const std::uint64_t pde = entry_at(pdpte, 21);
        const bool mapped = (pml4e & pdpte & pde & 3) == 3 && (pde & 0x80) != 0;
        return mapped ? (pde & frame) | (linear & 0x1F'FFFF) : 0;
    };
    for (std::uint64_t linear = 0x1234; linear < four_gibibytes; linear += 0x20'0000) {
        ASSERT_EQ(translate(linear), linear);
    }
    EXPECT_EQ(translate(four_gibibytes + 5), 0U);
}

TEST(BzImageLoad, EntersAnOldKernelInFlatProtectedMode) {
    const TestGuest guest;
    const auto loaded = load(make_bzimage(0x204), guest);
    ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
    const hypervisor::VcpuState& state = loaded->boot_state;
    EXPECT_EQ(state.rip, mib);
    EXPECT_EQ(state.rsi, zero_page);
    EXPECT_EQ(state.rbx | state.rbp | state.rdi, 0U);
    EXPECT_EQ(state.cr0, 0x11U);
    EXPECT_EQ(state.cr4 | state.efer | state.cr3, 0U);
    EXPECT_EQ(state.cs.access_rights, 0xC09BU);
    EXPECT_EQ(state.cs.limit, 0xFFFF'FFFFU);
    EXPECT_EQ(state.ss.selector, 0x18);
    EXPECT_EQ(guest.at<std::uint64_t>(state.gdt.base + 0x10), 0x00CF'9B00'0000'FFFFU);
    EXPECT_EQ(guest.byte_at(mib), 0xC5U);
    EXPECT_EQ(guest.at<std::uint32_t>(zero_page + 0x228), command_line_address);
}

TEST(BzImageLoad, TellsKernelsBefore202TheirCommandLineTheOldWay) {
    const TestGuest guest;
    ASSERT_TRUE(load(make_bzimage(0x201), guest, "old").has_value());
    EXPECT_EQ(guest.at<std::uint16_t>(0x9'0020), 0xA33F);
    EXPECT_EQ(guest.text_at(0x9'0000U + guest.at<std::uint16_t>(0x9'0022)), "old");
}

TEST(BzImageLoad, FillsTheZeroPage) {
    const TestGuest guest(128 * mib, 64 * mib);
    const std::vector<std::byte> disk(0x1801, std::byte{0x5A});
    const ImageFile initrd = ImageFile::of_bytes(disk, "disk");
    auto image = make_bzimage();
    image.put<std::uint8_t>(0x1F0, 0x77);  // before the header: not copied
    image.put<std::uint8_t>(0x26C, 0x77);  // behind it
    image.put<std::uint32_t>(0x268, 0xAABB'CCDD);
    ASSERT_TRUE(load(image, guest, "a=b", &initrd).has_value());
    EXPECT_EQ(guest.byte_at(zero_page + 0x1F0), 0U);
    EXPECT_EQ(guest.byte_at(zero_page + 0x26C), 0U);
    EXPECT_EQ(guest.at<std::uint32_t>(zero_page + 0x268), 0xAABB'CCDDU);
    EXPECT_EQ(guest.byte_at(zero_page + 0x1F1), 4U);
    EXPECT_EQ(guest.byte_at(zero_page + 0x210), 0xFFU);
    EXPECT_EQ(guest.byte_at(zero_page + 0x211), 0x21U);
    EXPECT_EQ(guest.at<std::uint32_t>(zero_page + 0x214), 16 * mib);
    EXPECT_EQ(guest.at<std::uint64_t>(zero_page + 0x70), 0xF'2400U);
    EXPECT_EQ(guest.text_at(guest.at<std::uint32_t>(zero_page + 0x228)), "a=b");
    EXPECT_EQ(guest.at<std::uint32_t>(zero_page + 0x218), 128 * mib - 0x2000);
    EXPECT_EQ(guest.at<std::uint32_t>(zero_page + 0x21C), 0x1801U);
    EXPECT_EQ(guest.byte_at(128 * mib - 0x2000 + 0x1800), 0x5AU);
    EXPECT_EQ(guest.byte_at(zero_page + 0x1E8), 3U);
    EXPECT_EQ(guest.at<std::uint64_t>(zero_page + 0x2D0 + 20), mib);
    EXPECT_EQ(guest.at<std::uint64_t>(zero_page + 0x2D0 + 28), 127 * mib);
    EXPECT_EQ(guest.at<std::uint32_t>(zero_page + 0x2D0 + 36), 1U);
    EXPECT_EQ(guest.at<std::uint64_t>(zero_page + 0x2D0 + 40), four_gibibytes);
    EXPECT_EQ(guest.at<std::uint32_t>(zero_page + 0x1E0), 127U * 1024);
}

TEST(BzImageLoad, CopiesNoMoreHeaderThanTheZeroPageHasRoomFor) {
    auto image = make_bzimage();
    image.put<std::uint8_t>(0x201, 0xFF);
    for (std::uint64_t at = 0x26C; at < 0x301; ++at) {
        image.put<std::uint8_t>(at, 0x77);
    }
    const TestGuest guest;
    ASSERT_TRUE(load(image, guest).has_value());
    EXPECT_EQ(guest.byte_at(zero_page + 0x28F), 0x77U);
    EXPECT_EQ(guest.byte_at(zero_page + 0x290), 0U);
}

TEST(BzImageLoad, TakesACommandLineUpToTheKernelsLimit) {
    const TestGuest guest;
    EXPECT_TRUE(load(make_bzimage(), guest, std::string(2047, 'x')).has_value());
    EXPECT_EQ(guest.text_at(command_line_address).size(), 2047U);
    const auto longer = load(make_bzimage(), guest, std::string(2048, 'x'));
    ASSERT_FALSE(longer.has_value());
    EXPECT_THAT(longer.error().message, HasSubstr("2048 characters"));
    EXPECT_THAT(longer.error().message, HasSubstr("at most 2047"));
    EXPECT_TRUE(load(make_bzimage(0x205), guest, std::string(255, 'x')).has_value());
    EXPECT_FALSE(load(make_bzimage(0x205), guest, std::string(256, 'x')).has_value());
    auto boundless = make_bzimage();
    boundless.put<std::uint32_t>(0x238, 0xFFFF'FFFF);
    EXPECT_TRUE(load(boundless, guest, std::string(0x3FFF, 'x')).has_value());
    EXPECT_FALSE(load(boundless, guest, std::string(0x4000, 'x')).has_value());
}

TEST(BzImageLoad, KeepsTheInitrdBelowTheKernelsLimit) {
    const TestGuest guest;
    const std::vector<std::byte> disk(0x1000);
    const ImageFile initrd = ImageFile::of_bytes(disk, "disk");
    auto image = make_bzimage();
    image.put<std::uint32_t>(0x22C, 64 * mib - 1);
    ASSERT_TRUE(load(image, guest, "", &initrd).has_value());
    EXPECT_EQ(guest.at<std::uint32_t>(zero_page + 0x218), 64 * mib - 0x1000);
    image.put<std::uint32_t>(0x22C, 64 * mib - 2);
    ASSERT_TRUE(load(image, guest, "", &initrd).has_value());
    EXPECT_EQ(guest.at<std::uint32_t>(zero_page + 0x218), 64 * mib - 0x2000);
}

TEST(BzImageLoad, KeepsTheInitrdOutOfInitSize) {
    const TestGuest guest(32 * mib);
    const std::vector<std::byte> disk(2 * mib);
    const ImageFile initrd = ImageFile::of_bytes(disk, "disk");
    auto image = make_bzimage();
    image.put<std::uint32_t>(0x260, 15 * mib);  // 16 to 31 MiB
    ASSERT_TRUE(load(image, guest, "", &initrd).has_value());
    EXPECT_EQ(guest.at<std::uint32_t>(zero_page + 0x218), 14 * mib);
}

TEST(BzImageLoad, SaysThatAnInitrdDoesNotFit) {
    const TestGuest guest(32 * mib);
    const std::vector<std::byte> disk(40 * mib);
    const ImageFile initrd = ImageFile::of_bytes(disk, "disk");
    const auto loaded = load(make_bzimage(), guest, "", &initrd);
    ASSERT_FALSE(loaded.has_value());
    EXPECT_THAT(loaded.error().message, HasSubstr("'disk' of 41943040 bytes does not fit"));
}

TEST(BzImageLoad, PutsAnInitrdAbove4GibOnlyWhereTheKernelAllowsIt) {
    const TestGuest guest(32 * mib, 64 * mib);
    const std::vector<std::byte> disk(40 * mib);
    const ImageFile initrd = ImageFile::of_bytes(disk, "disk");
    ASSERT_TRUE(load(make_bzimage(), guest, "", &initrd).has_value());
    EXPECT_EQ(guest.at<std::uint32_t>(zero_page + 0x218), 24 * mib);
    EXPECT_EQ(guest.at<std::uint32_t>(zero_page + 0xC0), 1U);
    auto only_below = make_bzimage();
    only_below.put<std::uint16_t>(0x236, 1);
    EXPECT_FALSE(load(only_below, guest, "", &initrd).has_value());
}

TEST(BzImageLoad, SaysThatTheKernelDoesNotFit) {
    const TestGuest guest(32 * mib);
    auto image = make_bzimage();
    image.put<std::uint32_t>(0x260, 16 * mib);
    EXPECT_TRUE(load(image, guest).has_value());
    image.put<std::uint32_t>(0x260, 16 * mib + 1);
    const auto loaded = load(image, guest);
    ASSERT_FALSE(loaded.has_value());
    EXPECT_THAT(loaded.error().message, HasSubstr("needs 16777217 bytes (init_size)"));
    image.put<std::uint8_t>(0x234, 0);  // not relocatable
    EXPECT_FALSE(load(image, guest).has_value());
}

TEST(BzImageLoad, LoadsANonRelocatableKernelAt1MibAndKeepsPrefAddressFree) {
    const TestGuest guest(32 * mib);
    const std::vector<std::byte> disk(8 * mib);
    const ImageFile initrd = ImageFile::of_bytes(disk, "disk");
    auto image = make_bzimage(0x20A);
    image.put<std::uint8_t>(0x234, 0);
    const auto loaded = load(image, guest, "", &initrd);
    ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
    EXPECT_EQ(loaded->boot_state.rip, mib);
    image.put<std::uint32_t>(0x260, 9 * mib);
    EXPECT_FALSE(load(image, guest, "", &initrd).has_value());
}

TEST(BzImageLoad, MovesARelocatableKernelPastWhatIsNotRam) {
    TestGuest guest;
    ASSERT_TRUE(guest.e820.carve({16 * mib, 1, E820Type::reserved}).has_value());
    const auto loaded = load(make_bzimage(), guest);
    ASSERT_TRUE(loaded.has_value());
    EXPECT_EQ(loaded->boot_state.rip, 18 * mib + 0x200);
}

TEST(BzImageLoad, RefusesAMemoryMapThatTheZeroPageCannotHold) {
    TestGuest guest;
    for (std::uint64_t i = 0; i < 126; ++i) {
        ASSERT_TRUE(guest.e820.add({four_gibibytes + i * 0x2000, 0x1000, E820Type::reserved}));
    }
    EXPECT_TRUE(load(make_bzimage(), guest).has_value());
    ASSERT_TRUE(guest.e820.add({2 * four_gibibytes, 0x1000, E820Type::reserved}));
    const auto loaded = load(make_bzimage(), guest);
    ASSERT_FALSE(loaded.has_value());
    EXPECT_THAT(loaded.error().message, HasSubstr("129 entries"));
}

}  // namespace
}  // namespace cupule::boot
