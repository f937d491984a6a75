// The devices of one request after another: entropy and the balloon.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "base/bits.h"
#include "device/platform/virtio_balloon.h"
#include "device/platform/virtio_rnd.h"
#include "oracle.h"

namespace cupule::testing {
namespace {

/// Bytes that follow from how many were given before.
class CountedEntropy : public backend::EntropySource {
  public:
    static std::byte at(std::uint64_t number) { return static_cast<std::byte>(number * 167 >> 3); }
    base::Result<void> fill(std::span<std::byte> to) override {
        for (std::byte& byte : to) {
            byte = at(given++);
        }
        return {};
    }
    std::atomic<std::uint64_t> given{0};
};

class RandomOracle : public Oracle {
  public:
    std::unique_ptr<virtio::Device> make(unsigned /*units*/, VirtioPciBench& /*bench*/) override {
        taken_ = source_.given;
        return std::make_unique<device::VirtioRnd>(source_, *worker_);
    }
    std::vector<Meeting> meetings() const override { return {{}}; }

    void exchange(Guest& guest, const Meeting& /*meeting*/) override {
        for (int round = 0; round < 4; ++round) {
            // One worker serves them in their order, and they come back in it.
            for (int i = 0; i < 5; ++i) {
                guest.ask(0, {}, 1 + guest.random(600));
            }
            guest.kick(0);
            while (guest.outstanding(0) != 0 && !::testing::Test::HasFailure()) {
                const Guest::Answer answer = guest.wait(0);
                EXPECT_FALSE(answer.bytes.empty());
                for (const std::byte byte : answer.bytes) {
                    EXPECT_EQ(byte, CountedEntropy::at(taken_++));
                }
            }
        }
    }

  private:
    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("rnd");
    CountedEntropy source_;
    std::uint64_t taken_ = 0;
};

constexpr std::uint64_t statistics_feature = base::bit(1);  // VIRTIO_BALLOON_F_STATS_VQ
constexpr std::uint64_t reporting_feature = base::bit(5);   // VIRTIO_BALLOON_F_PAGE_REPORTING
constexpr std::uint64_t page_bytes = 4096;
constexpr std::uint32_t first_page = 0x700;
constexpr std::uint32_t pages_max = 64;

/// Pages that the guest gives up or reports read as zeroes; those beside them keep what they have.
class BalloonOracle : public Oracle {
  public:
    std::unique_ptr<virtio::Device> make(unsigned /*units*/, VirtioPciBench& bench) override {
        const device::VirtioBalloonSpec spec{.statistics_period_ns = ~std::uint64_t{0} >> 2};
        auto device = std::make_unique<device::VirtioBalloon>(spec, *bench.memory, *worker_);
        balloon_ = device.get();
        return device;
    }

    std::vector<Meeting> meetings() const override {
        return {{.features = 0, .queues = 2},
                {.features = reporting_feature, .queues = 3},
                {.features = statistics_feature, .queues = 3},
                {.features = statistics_feature | reporting_feature, .queues = 4}};
    }

    void exchange(Guest& guest, const Meeting& meeting) override {
        for (int round = 0; round < 3; ++round) {
            give_up(guest);
            if (guest.agreed(reporting_feature)) {
                report(guest, static_cast<std::uint16_t>(meeting.queues - 1));
            }
        }
        if (guest.agreed(statistics_feature)) {
            tell_statistics(guest);
        }
    }

  private:
    static constexpr std::uint16_t inflate = 0;
    static constexpr std::uint16_t deflate = 1;
    static constexpr std::uint16_t statistics = 2;
    static constexpr std::byte used{7};

    static void use_pages(Guest& guest) {
        EXPECT_TRUE(guest.memory().fill({first_page * page_bytes}, used, pages_max * page_bytes));
    }
    static bool reads(Guest& guest, std::uint32_t page, std::byte value) {
        std::vector<std::byte> bytes(page_bytes);
        EXPECT_TRUE(guest.memory().read({page * page_bytes}, bytes));
        return std::ranges::all_of(bytes, [&](std::byte byte) { return byte == value; });
    }

    static void give_up(Guest& guest) {
        use_pages(guest);
        std::vector<std::uint32_t> given;
        for (std::uint32_t page = first_page; page < first_page + pages_max; ++page) {
            if (guest.random(3) == 0) {
                given.push_back(page);
            }
        }
        given.push_back(first_page);
        const auto numbers = std::as_bytes(std::span(given));
        EXPECT_TRUE(guest.request(inflate, numbers, 0).empty());
        for (std::uint32_t page = first_page; page < first_page + pages_max; ++page) {
            const bool gone = std::ranges::find(given, page) != given.end();
            EXPECT_TRUE(reads(guest, page, gone ? std::byte{0} : used)) << page;
        }
        EXPECT_TRUE(guest.request(deflate, numbers, 0).empty());
    }

    static void report(Guest& guest, std::uint16_t queue) {
        use_pages(guest);
        const std::uint32_t first = first_page + 1 + guest.random(8);
        const std::uint32_t second = first + 10;
        const std::array<VirtioDriver::Buffer, 2> free{
            {{.address = {first * page_bytes}, .length = 2 * page_bytes, .writable = true},
             {.address = {second * page_bytes}, .length = page_bytes, .writable = true}}};
        EXPECT_TRUE(guest.ask_with(queue, free));
        guest.kick(queue);
        guest.wait(queue);
        for (std::uint32_t page = first_page; page < first_page + pages_max; ++page) {
            const bool gone = page == first || page == first + 1 || page == second;
            EXPECT_TRUE(reads(guest, page, gone ? std::byte{0} : used)) << page;
        }
    }

    /// The device keeps the buffer until it asks again, which it does not in this test's time.
    void tell_statistics(Guest& guest) {
        struct __attribute__((packed)) Figure {
            std::uint16_t tag;
            std::uint64_t value;
        };
        const std::uint64_t mebibytes = 1 + guest.random(1000);
        const Figure available{.tag = 4, .value = mebibytes << 20};  // VIRTIO_BALLOON_S_MEMFREE
        EXPECT_TRUE(guest.ask(statistics, bytes_of(available), 0));
        guest.kick(statistics);
        const std::string wanted = "the guest's memory: free " + std::to_string(mebibytes) + " MiB";
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (balloon_->statistics_text() != wanted && std::chrono::steady_clock::now() < end) {
            std::this_thread::yield();
        }
        EXPECT_EQ(balloon_->statistics_text(), wanted);
        EXPECT_EQ(guest.outstanding(statistics), 1U);
    }

    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("balloon");
    device::VirtioBalloon* balloon_ = nullptr;
};

}  // namespace

std::unique_ptr<Oracle> make_random_oracle() {
    return std::make_unique<RandomOracle>();
}

std::unique_ptr<Oracle> make_balloon_oracle() {
    return std::make_unique<BalloonOracle>();
}

}  // namespace cupule::testing
