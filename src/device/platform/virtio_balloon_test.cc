#include "device/platform/virtio_balloon.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>

#include "testing/virtio_fixture.h"

namespace cupule::device {
namespace {

using testing::VirtioDriver;

constexpr std::uint64_t numbers_at = 3 << 20;
constexpr std::uint64_t pages_at = 4 << 20;

class VirtioBalloonTest : public testing::VirtioFixture<std::uint64_t> {
  protected:
    void create(const VirtioBalloonSpec& spec) {
        // The bench makes the memory that the device is made from.
        memory_ =
            *memory::GuestMemory::create({.pieces = {{{0}, testing::VirtioPciBench::ram_size}},
                                          .huge_pages = memory::HugePages::never});
        auto device = std::make_unique<VirtioBalloon>(spec, *memory_, *worker_);
        balloon_ = device.get();
        bench_ = std::make_unique<testing::VirtioPciBench>(std::move(device));
    }
    void start(std::uint64_t extra = 0, std::uint16_t queues = 2) {
        ring_size_ = 16;
        drive(GetParam() | extra, queues);
    }
    void request(std::uint16_t queue, const VirtioDriver::Buffer& buffer) {
        submit(queue, buffer);
        EXPECT_EQ(used(queue).written, 0U);
    }
    void inflate(const std::vector<std::uint32_t>& pages) {
        ASSERT_TRUE(bench_->memory->write({numbers_at}, std::as_bytes(std::span(pages))));
        request(0,
                {.address = {numbers_at}, .length = static_cast<std::uint32_t>(4 * pages.size())});
    }
    /// Pages of the balloon's memory that the host has room for.
    std::int64_t resident() const {
        const memory::RamRegion& ram = memory_->regions()[0];
        std::vector<unsigned char> pages(ram.size / 4096);
        EXPECT_EQ(mincore(ram.host, ram.size, pages.data()), 0);
        return std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; });
    }

    std::unique_ptr<memory::GuestMemory> memory_;
    VirtioBalloon* balloon_ = nullptr;
};

TEST_P(VirtioBalloonTest, InflatedPagesGoBackToTheHostAndReadZero) {
    create({});
    start();
    ASSERT_TRUE(memory_->fill({pages_at}, std::byte{7}, 16 * 4096));
    const auto before = resident();
    inflate({1024, 1025, 1026, 1030});
    EXPECT_EQ(before - resident(), 4);
    EXPECT_EQ(memory_->load<std::uint8_t>({pages_at + 4096}), 0);
    EXPECT_EQ(memory_->load<std::uint8_t>({pages_at + 3 * 4096}), 7);
    request(1, {.address = {numbers_at}, .length = 4});
    const auto reports = balloon_->report();
    ASSERT_EQ(reports.size(), 2U);
    EXPECT_EQ(reports[0].index, 0U);
    EXPECT_EQ(reports[0].requests, 1U);
    EXPECT_EQ(reports[0].bytes, 16U);
    EXPECT_EQ(reports[1].index, 1U);
    EXPECT_EQ(reports[1].bytes, 4U);
}

TEST_P(VirtioBalloonTest, Class4_PagesOutsideRamAreIgnored) {
    create({});
    start();
    ASSERT_TRUE(memory_->fill({pages_at}, std::byte{7}, 4096));
    const auto before = resident();
    inflate({2048, 0xFFFF'FFFF, 0x8000'0000, 1024});
    EXPECT_EQ(before - resident(), 1);
    request(0, {.address = {numbers_at}, .length = 3});
    EXPECT_EQ(bench_->status(), 0x0F);
}

TEST_P(VirtioBalloonTest, TellsItsTargetAndHearsWhatWasGiven) {
    create({.target_pages = 77});
    start();
    EXPECT_EQ(bench_->read(0x2000, 4), 77U);
    bench_->write(0x2004, 4, 50);
    EXPECT_EQ(balloon_->actual_pages(), 50U);
    EXPECT_EQ(bench_->read(0x2004, 4), 50U);
    bench_->write(0x2000, 4, 1);
    EXPECT_EQ(bench_->read(0x2000, 4), 77U);
    {
        event::MutexLock lock(bench_->monitor);
        balloon_->set_target(99);
    }
    EXPECT_EQ(bench_->read(0x2000, 4), 99U);
    bench_->set_status(0);
    EXPECT_EQ(bench_->read(0x2004, 4), 0U);
}

TEST_P(VirtioBalloonTest, ReportedPagesGoBackFromEitherIndex) {
    create({});
    start(base::bit(5), 5);
    for (const std::uint16_t queue : std::array<std::uint16_t, 2>{2, 4}) {
        ASSERT_TRUE(bench_->memory->fill({pages_at}, std::byte{7}, 4 * 4096));
        // Only whole pages: a part of one is somebody's.
        request(queue, {.address = {pages_at + 100}, .length = 3 * 4096, .writable = true});
        EXPECT_EQ(bench_->memory->load<std::uint8_t>({pages_at + 4095}), 7);
        EXPECT_EQ(bench_->memory->load<std::uint8_t>({pages_at + 4096}), 0);
        EXPECT_EQ(bench_->memory->load<std::uint8_t>({pages_at + 2 * 4096}), 0);
        EXPECT_EQ(bench_->memory->load<std::uint8_t>({pages_at + 3 * 4096}), 7);
    }
}

TEST_P(VirtioBalloonTest, TheGuestSaysHowItIsWithItsMemoryEachPeriod) {
    create({.statistics_period_ns = 1'000'000});
    start(base::bit(1) | base::bit(5), 5);
    EXPECT_EQ(balloon_->statistics_text(), "");
    // Three figures, one nobody knows, and a piece of one.
    struct __attribute__((packed)) Figure {
        std::uint16_t tag;
        std::uint64_t value;
    };
    std::array<Figure, 5> figures{
        {{4, 100ULL << 20}, {5, 240ULL << 20}, {3, 77}, {0xFFFF, 1}, {0, 1ULL << 20}}};
    ASSERT_TRUE(bench_->memory->write({numbers_at}, std::as_bytes(std::span(figures))));
    request(2, {.address = {numbers_at}, .length = 4 * 10 + 5});
    EXPECT_EQ(balloon_->statistics_text(),
              "the guest's memory: total 240 MiB, free 100 MiB, minor faults 77");
    figures[0].value = 50ULL << 20;
    ASSERT_TRUE(bench_->memory->write({numbers_at}, std::as_bytes(std::span(figures))));
    request(2, {.address = {numbers_at}, .length = 20});
    EXPECT_EQ(balloon_->statistics_text(), "the guest's memory: total 240 MiB, free 50 MiB");
    // Reporting has the next queue.
    ASSERT_TRUE(bench_->memory->fill({pages_at}, std::byte{7}, 4096));
    request(3, {.address = {pages_at}, .length = 4096, .writable = true});
    EXPECT_EQ(bench_->memory->load<std::uint8_t>({pages_at}), 0);
    bench_->set_status(0);
    EXPECT_EQ(balloon_->statistics_text(), "");
}

TEST_P(VirtioBalloonTest, TheStatisticsBufferIsKeptForThePeriodAndComesBackAtAReset) {
    create({.statistics_period_ns = ~std::uint64_t{0} >> 2});
    start(base::bit(1), 3);
    const VirtioDriver::Buffer buffer{.address = {numbers_at}, .length = 10};
    ASSERT_TRUE(drivers_[2]->submit(std::span(&buffer, 1), 1));
    ASSERT_TRUE(drivers_[2]->publish());
    bench_->notify(2);
    const auto said = [&] { return !balloon_->statistics_text().empty(); };
    EXPECT_TRUE(until(said));
    EXPECT_FALSE(drivers_[2]->collect());
    ASSERT_EQ(balloon_->report().size(), 1U);
    EXPECT_EQ(balloon_->report()[0].index, 2U);
    EXPECT_EQ(balloon_->report()[0].bytes, 10U);
    bench_->set_status(0);
    EXPECT_EQ(bench_->status(), 0U);
}

TEST_P(VirtioBalloonTest, PagesThatTheHostKeepsStayTheGuests) {
    create({});
    start();
    ASSERT_TRUE(memory_->fill({pages_at}, std::byte{7}, 4 * 4096));
    {
        // As VFIO pins them: a device writes to the page that was there at that time.
        const auto kept = memory_->keep_pages();
        const auto before = resident();
        inflate({1024, 1025});
        EXPECT_EQ(resident(), before);
        EXPECT_EQ(memory_->load<std::uint8_t>({pages_at}), 7);
    }
    inflate({1024});
    EXPECT_EQ(memory_->load<std::uint8_t>({pages_at}), 0);
}

TEST_P(VirtioBalloonTest, OffersWhatItWasMadeFor) {
    create({.deflate_on_oom = false, .free_page_reporting = false});
    EXPECT_EQ(bench_->offered() & (base::bit(1) | base::bit(2) | base::bit(5)), 0U);
}

INSTANTIATE_TEST_SUITE_P(Rings, VirtioBalloonTest,
                         ::testing::Values(virtio::feature::version_1,
                                           virtio::feature::version_1 |
                                               virtio::feature::ring_packed));

}  // namespace
}  // namespace cupule::device
