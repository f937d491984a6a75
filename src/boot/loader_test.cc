#include "boot/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "boot/boot_layout.h"
#include "boot/testing/image_builder.h"
#include "boot/testing/temporary_file.h"

namespace cupule::boot {
namespace {

using testing::Elf32Builder;
using testing::Elf64Builder;
using ::testing::HasSubstr;
using testing::make_bzimage;
using testing::make_pvh_elf;
using testing::TemporaryFile;
using testing::TestGuest;

constexpr std::uint64_t mib = 1 << 20;

LoadFault fault_of(const LoadRequest& request) {
    auto loader = GuestLoader::open(request);
    EXPECT_FALSE(loader.has_value());
    return loader ? LoadFault::other : loader.error().fault;
}

std::string message_of(const LoadRequest& request) {
    auto loader = GuestLoader::open(request);
    return loader ? "no error" : loader.error().error.message;
}

TEST(GuestLoader, TellsKernelRamdiskAndOtherFaultsApart) {
    const TemporaryFile kernel(make_bzimage().bytes());
    const TemporaryFile empty("");
    const TemporaryFile corrupt("not a kernel");
    EXPECT_EQ(fault_of({.kernel = "/missing"}), LoadFault::kernel_file);
    EXPECT_EQ(fault_of({.kernel = empty.path()}), LoadFault::kernel_file);
    EXPECT_EQ(fault_of({.kernel = corrupt.path()}), LoadFault::other);
    EXPECT_EQ(fault_of({.elf = "/missing"}), LoadFault::other);
    EXPECT_EQ(fault_of({.kernel = kernel.path(), .initrd = "/missing"}), LoadFault::ramdisk_file);
    EXPECT_EQ(fault_of({.kernel = kernel.path(), .initrd = empty.path()}), LoadFault::ramdisk_file);
    EXPECT_EQ(fault_of({.kernel = corrupt.path(), .initrd = empty.path()}),
              LoadFault::ramdisk_file);
    EXPECT_EQ(fault_of({}), LoadFault::other);
}

TEST(GuestLoader, NamesFileAndReason) {
    const TemporaryFile corrupt("not a kernel");
    EXPECT_THAT(message_of({.kernel = "/missing"}), HasSubstr("'/missing': No such file"));
    EXPECT_THAT(message_of({.kernel = corrupt.path()}),
                HasSubstr("'" + corrupt.path() + "': neither a Linux bzImage, nor ELF"));
    Elf64Builder plain;
    plain.add_segment({0x100'0000, 0x10, 0x10});
    const TemporaryFile elf(plain.build().bytes());
    EXPECT_THAT(message_of({.elf = elf.path()}), HasSubstr("CONFIG_PVH=y"));
    Elf32Builder lost;
    lost.header.e_entry = 0x10;
    lost.add_segment({0x100'0000, 0x10, 0x10});
    const TemporaryFile narrow(lost.build().bytes());
    EXPECT_THAT(message_of({.elf = narrow.path()}), HasSubstr("entry 0x10 lies in no loaded"));
}

TEST(GuestLoader, TellsTheKindByTheContentWhateverTheOption) {
    const TestGuest guest;
    const TemporaryFile bzimage(make_bzimage().bytes());
    const TemporaryFile pvh(make_pvh_elf().build().bytes());
    const auto description = [&guest](const LoadRequest& request) {
        auto loader = GuestLoader::open(request);
        const auto loaded = loader ? loader->load(guest.target()) : LoadedGuest{};
        return loaded ? loaded->description : loaded.error().error.message;
    };
    EXPECT_THAT(description({.kernel = bzimage.path()}), HasSubstr("bzImage"));
    EXPECT_THAT(description({.elf = bzimage.path()}), HasSubstr("bzImage"));
    EXPECT_THAT(description({.kernel = pvh.path()}), HasSubstr("PVH entry 0x1000010"));
    EXPECT_THAT(description({.elf = pvh.path()}), HasSubstr("PVH"));
    EXPECT_THAT(description({.kernel = bzimage.path(), .elf = pvh.path()}), HasSubstr("bzImage"));
}

TEST(GuestLoader, StartsAPlainElf32AtItsEntry) {
    const TestGuest guest;
    Elf32Builder elf;
    elf.header.e_entry = 0x8004;
    elf.add_segment({0x8000, 0x1000, 0x4000});
    const TemporaryFile file(elf.build().bytes());
    auto loader = GuestLoader::open({.elf = file.path()});
    ASSERT_TRUE(loader.has_value()) << loader.error().error.message;
    const auto loaded = loader->load(guest.target());
    ASSERT_TRUE(loaded.has_value()) << loaded.error().error.message;
    EXPECT_EQ(loaded->boot_state.rip, 0x8004U);
    EXPECT_EQ(loaded->boot_state.cr0, 0x11U);
    EXPECT_EQ(guest.byte_at(0x8004), 0xC5U);
}

TEST(GuestLoader, GivesAPvhKernelWhatTheAbiSays) {
    const TestGuest guest(128 * mib, 64 * mib);
    const TemporaryFile kernel(make_pvh_elf().build().bytes());
    const TemporaryFile initrd(std::string(0x1234, 'i'));
    auto loader = GuestLoader::open(
        {.kernel = kernel.path(), .initrd = initrd.path(), .command_line = "quiet"});
    ASSERT_TRUE(loader.has_value()) << loader.error().error.message;
    const auto loaded = loader->load(guest.target());
    ASSERT_TRUE(loaded.has_value()) << loaded.error().error.message;
    const hypervisor::VcpuState& state = loaded->boot_state;
    EXPECT_EQ(state.rip, 0x100'0010U);
    EXPECT_EQ(state.cr0, 0x11U);
    EXPECT_EQ(state.cr4, 0U);
    EXPECT_EQ(state.rflags, 2U);
    EXPECT_EQ(state.cs.access_rights, 0xC09BU);
    EXPECT_EQ(state.ds.access_rights, 0xC093U);
    EXPECT_EQ(state.tr.base, 0U);
    EXPECT_EQ(state.tr.limit, 0x67U);
    EXPECT_EQ(state.tr.access_rights, 0x8BU);
    const std::uint64_t info = state.rbx;
    EXPECT_EQ(guest.at<std::uint32_t>(info), 0x336E'C578U);
    EXPECT_EQ(guest.at<std::uint32_t>(info + 4), 1U);
    EXPECT_EQ(guest.at<std::uint32_t>(info + 12), 1U);
    const auto module = guest.at<std::uint64_t>(info + 16);
    EXPECT_EQ(guest.at<std::uint64_t>(module), 128 * mib - 0x2000);
    EXPECT_EQ(guest.at<std::uint64_t>(module + 8), 0x1234U);
    EXPECT_EQ(guest.byte_at(128 * mib - 0x2000 + 0x1233), std::uint64_t{'i'});
    EXPECT_EQ(guest.text_at(guest.at<std::uint64_t>(info + 24)), "quiet");
    EXPECT_EQ(guest.at<std::uint64_t>(info + 32), 0xF'2400U);
    const auto map = guest.at<std::uint64_t>(info + 40);
    EXPECT_EQ(guest.at<std::uint32_t>(info + 48), 3U);
    EXPECT_EQ(guest.at<std::uint64_t>(map + 48), four_gibibytes);
    EXPECT_EQ(guest.at<std::uint64_t>(map + 56), 64 * mib);
    EXPECT_EQ(guest.at<std::uint32_t>(map + 64), 1U);
}

TEST(GuestLoader, LoadsTheSameBytesAgainAfterAResetThoughTheNameMeansAnotherFile) {
    const TestGuest guest;
    const TemporaryFile kernel(make_bzimage().bytes());
    const TemporaryFile initrd(std::string(0x1000, 'i'));
    auto loader = GuestLoader::open({.kernel = kernel.path(), .initrd = initrd.path()});
    ASSERT_TRUE(loader.has_value());
    const auto first = loader->load(guest.target());
    ASSERT_TRUE(first.has_value());
    std::filesystem::rename(initrd.path(), kernel.path());
    ASSERT_TRUE(guest.memory->fill({mib}, std::byte{0xEE}, 100 * mib));
    ASSERT_TRUE(guest.memory->discard_all().has_value());
    const auto second = loader->load(guest.target());
    ASSERT_TRUE(second.has_value()) << second.error().error.message;
    EXPECT_EQ(second->boot_state.rip, first->boot_state.rip);
    EXPECT_EQ(guest.byte_at(16 * mib), 0xC5U);
    EXPECT_EQ(guest.byte_at(16 * mib + 0x4000), 0U);
    EXPECT_EQ(guest.byte_at(128 * mib - 0x1000), std::uint64_t{'i'});
}

TEST(GuestLoader, RefusesAFileThatWasRewrittenInPlace) {
    const TestGuest guest;
    const TemporaryFile kernel(make_bzimage().bytes());
    auto loader = GuestLoader::open({.kernel = kernel.path()});
    ASSERT_TRUE(loader.has_value());
    ASSERT_EQ(truncate(kernel.path().c_str(), 0x800), 0);
    const auto loaded = loader->load(guest.target());
    ASSERT_FALSE(loaded.has_value());
    EXPECT_EQ(loaded.error().fault, LoadFault::other);
    EXPECT_THAT(loaded.error().error.message, HasSubstr("rewritten in place"));
}

/// The kernels the lab keeps, where there are any.
class RealKernel : public ::testing::TestWithParam<const char*> {
  protected:
    static std::filesystem::path kernels() {
        const char* cache = std::getenv("CUPULE_CACHE");
        const char* home = std::getenv("HOME");
        return cache != nullptr
                   ? std::filesystem::path(cache) / "kernels"
                   : std::filesystem::path(home != nullptr ? home : "/") / ".cache/cupule/kernels";
    }
};

TEST_P(RealKernel, LoadsInto256MibWithARamdisk) {
    const std::string path = kernels() / GetParam();
    if (!std::filesystem::exists(path)) {
        GTEST_SKIP() << "no kernel at " << path << " (tools/lab fetches it)";
    }
    const TestGuest guest(256 * mib);
    const TemporaryFile initrd(std::string(0x1234, 'i'));
    auto loader = GuestLoader::open(
        {.kernel = path, .initrd = initrd.path(), .command_line = "console=ttyS0"});
    ASSERT_TRUE(loader.has_value()) << loader.error().error.message;
    const auto loaded = loader->load(guest.target());
    ASSERT_TRUE(loaded.has_value()) << loaded.error().error.message;
    const bool long_mode = (loaded->boot_state.efer & 0x400) != 0;
    EXPECT_EQ(long_mode, path.ends_with("bzImage"));
    // The entry has code.
    EXPECT_NE(guest.at<std::uint64_t>(loaded->boot_state.rip), 0U);
    std::printf("%s: %s\n", path.c_str(), loaded->description.c_str());
}

INSTANTIATE_TEST_SUITE_P(Debian, RealKernel,
                         ::testing::Values("cloud/bzImage", "cloud/vmlinux", "generic/bzImage",
                                           "generic/vmlinux"));

}  // namespace
}  // namespace cupule::boot
