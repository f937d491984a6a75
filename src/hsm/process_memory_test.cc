#include "hsm/process_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "hsm/client_process.h"

namespace cupule::hsm {
namespace {

constexpr std::string_view maps =
    "1000-3000 rw-s 00000000 00:01 7 /memfd:ram (deleted)\n"
    "3000-4000 rw-s 00005000 00:01 7 /memfd:ram (deleted)\n"
    "5000-6000 rw-p 00000000 00:00 0 \n"
    "6000-7000 r--s 00000000 00:01 8 /x\n"
    "7fff00000000-7fff00001000 rw-s 00000000 00:01 9 /y\n";

TEST(ProcessMemory, AMapsLineHasItsFields) {
    const auto line =
        parse_maps_line("7f1200000000-7f1240000000 rw-s 001ff000 00:0f 20 /memfd:a b");
    ASSERT_TRUE(line);
    EXPECT_EQ(line->begin, 0x7F12'0000'0000U);
    EXPECT_EQ(line->end, 0x7F12'4000'0000U);
    EXPECT_EQ(line->file_offset, 0x1FF000U);
    EXPECT_TRUE(line->is_shared && line->is_writable);
    EXPECT_EQ(line->name, "7f1200000000-7f1240000000");
}

TEST(ProcessMemory, LinesOfAnotherFormAreNone) {
    for (const std::string_view text :
         {"", "1000", "1000-", "1000-2000", "2000-1000 rw-s 0 00:00 0", "1000-2000 rw", "x-y z",
          "1000-2000 rw-s zz 00:00 0", "1000-2000 rw-s 00000000"}) {
        EXPECT_FALSE(parse_maps_line(text)) << text;
    }
}

TEST(ProcessMemory, SharedMappingsAreFoundAcrossTheirBorders) {
    EXPECT_EQ(find_shared_mappings(maps, 0x1000, 0x3000).size(), 1U);
    const auto two = find_shared_mappings(maps, 0x2000, 0x4000);
    ASSERT_EQ(two.size(), 2U);
    EXPECT_EQ(two[1].file_offset, 0x5000U);
    EXPECT_EQ(find_shared_mappings(maps, 0x7FFF'0000'0000, 0x7FFF'0000'1000).size(), 1U);
}

TEST(ProcessMemory, GapsAndPrivateOrReadOnlyMemoryCannotBeShared) {
    EXPECT_TRUE(find_shared_mappings(maps, 0x0, 0x2000).empty());
    EXPECT_TRUE(find_shared_mappings(maps, 0x3000, 0x5000).empty());
    EXPECT_TRUE(find_shared_mappings(maps, 0x5000, 0x6000).empty());
    EXPECT_TRUE(find_shared_mappings(maps, 0x6000, 0x7000).empty());
    EXPECT_TRUE(find_shared_mappings(maps, 0x8000, 0x9000).empty());
    EXPECT_TRUE(find_shared_mappings("", 0x1000, 0x2000).empty());
}

TEST(LinuxProcess, ReadsAndWritesByTheIdOfAThread) {
    pid_t id = 0;
    bool done = false;
    std::thread([&] {
        id = gettid();
        const LinuxProcess process(id);
        std::uint64_t value = 41;
        const auto address = reinterpret_cast<std::uint64_t>(&value);
        const auto seen = process.load<std::uint64_t>(address);
        done = seen == 41U && process.store(address, std::uint64_t{42}) && value == 42;
    }).join();
    EXPECT_TRUE(done);
    EXPECT_FALSE(LinuxProcess(getpid()).load<std::uint64_t>(8));
    EXPECT_FALSE(LinuxProcess(getpid()).store(8, std::uint64_t{1}));
}

TEST(LinuxProcess, TakesADescriptorFromAnyOfItsThreads) {
    base::Result<base::FileDescriptor> taken = base::fail("nothing yet");
    base::Result<base::FileDescriptor> missing = base::fail("nothing yet");
    const auto eventfd = base::make_eventfd();
    ASSERT_TRUE(eventfd);
    std::thread([&] {
        taken = LinuxProcess(gettid()).take_descriptor(eventfd->get());
        missing = LinuxProcess(gettid()).take_descriptor(0x7000);
    }).join();
    ASSERT_TRUE(taken) << taken.error().message;
    base::signal_eventfd(taken->get());
    std::uint64_t count = 0;
    EXPECT_EQ(::read(eventfd->get(), &count, sizeof count), ssize_t{8});
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, EBADF);
}

TEST(LinuxProcess, MapsSharedMemoryAndKnowsWhenItCanShrink) {
    const base::FileDescriptor file(memfd_create("shared", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_TRUE(file && ftruncate(file.get(), 0x4000) == 0);
    void* const bytes = mmap(nullptr, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    ASSERT_NE(bytes, MAP_FAILED);
    const auto address = reinterpret_cast<std::uint64_t>(bytes);
    const LinuxProcess process(getpid());
    const auto shared = process.share(address + 0x1000, 0x2000, ClientProcess::Need::any);
    if (!shared && shared.error().code == EPERM) {
        GTEST_SKIP() << "map_files is for root";
    }
    ASSERT_TRUE(shared) << shared.error().message;
    std::memcpy((*shared)->data(), "here", 5);
    EXPECT_STREQ(static_cast<char*>(bytes) + 0x1000, "here");
    const auto lasting = process.share(address, 0x1000, ClientProcess::Need::lasting);
    ASSERT_FALSE(lasting);
    EXPECT_EQ(lasting.error().code, EPERM);
    fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK);
    EXPECT_TRUE(process.share(address, 0x1000, ClientProcess::Need::lasting));
    munmap(bytes, 0x4000);
}

TEST(LinuxProcess, CannotMapPrivateMemory) {
    alignas(4096) static std::byte page[4096];
    const auto shared = LinuxProcess(getpid()).share(reinterpret_cast<std::uint64_t>(page), 4096,
                                                     ClientProcess::Need::any);
    ASSERT_FALSE(shared);
    EXPECT_EQ(shared.error().code, EFAULT);
}

}  // namespace
}  // namespace cupule::hsm
