// Each fault of a driver's ring: DEVICE_NEEDS_RESET, one line in the log that names it, and a
// device that works after a reset.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "base/log.h"
#include "testing/echo_device.h"
#include "testing/recording_log.h"
#include "testing/virtio_pci_bench.h"
#include "virtio/features.h"
#include "virtio/ring_layout.h"

namespace cupule::virtio {
namespace {

using namespace pci_layout;
using testing::EchoDevice;
using testing::VirtioDriver;
using testing::VirtioPciBench;

constexpr std::uint64_t table_at = 0x20'0000;
constexpr std::uint64_t buffer_at = 0x40'0000;
constexpr std::uint16_t ring_size = 16;

/// A driver that breaks its first ring.
class Breaker {
  public:
    explicit Breaker(std::uint64_t features) : features_(feature::version_1 | features) { renew(); }

    void renew() {
        driver_ = std::make_unique<VirtioDriver>(
            *bench_.memory,
            VirtioDriver::Options{.features = features_, .size = ring_size, .base = {0x1'0000}});
        geometry = driver_->geometry();
    }
    void start() {
        bench_.set_status(0);
        ASSERT_TRUE(bench_.negotiate(features_));
        bench_.set_queue(0, geometry);
        bench_.drive();
    }
    /// As often as a driver likes.
    void notify() {
        for (int i = 0; i < 3; ++i) {
            if (device_->running.contains(0)) {
                device_->serve(0);
            }
            bench_.loop->run_once(0);
        }
    }
    std::uint8_t status() { return bench_.status(); }
    bool works_after_a_reset() {
        renew();
        start();
        const VirtioDriver::Buffer buffer{.address = {buffer_at}, .length = 8};
        const bool submitted = driver_->submit(std::span(&buffer, 1), 5);
        driver_->publish();
        notify();
        const auto used = driver_->collect();
        return submitted && used && used->token == 5 && status() == 0x0F;
    }

    void descriptor(std::uint64_t at, const SplitDescriptor& what) {
        ASSERT_TRUE(bench_.memory->store(memory::GuestAddress{at}, words_of(what)));
    }
    /// Descriptors of the ring from the first on, which is the head of the chain made available.
    void offer(const std::vector<SplitDescriptor>& chain) {
        for (std::size_t i = 0; i < chain.size(); ++i) {
            descriptor(geometry.descriptor_area.value + i * descriptor_size, chain[i]);
        }
        make_available(0, 1);
    }
    void make_available(std::uint16_t head, std::uint16_t index) {
        const memory::GuestAddress ring = geometry.driver_area;
        ASSERT_TRUE(bench_.memory->store(ring + available_ring::entry(0), head));
        ASSERT_TRUE(bench_.memory->store(ring + available_ring::index, index));
    }
    /// A table of `count` buffers, and the descriptor that names it.
    SplitDescriptor table(std::uint32_t count, const SplitDescriptor& each) {
        for (std::uint32_t i = 0; i < count; ++i) {
            SplitDescriptor entry = each;
            entry.next = static_cast<std::uint16_t>(i + 1);
            entry.flags |= i + 1 == count ? std::uint16_t{0} : descriptor_flag::next;
            descriptor(table_at + std::uint64_t{i} * descriptor_size, entry);
        }
        return {.address = table_at,
                .length = count * static_cast<std::uint32_t>(descriptor_size),
                .flags = descriptor_flag::indirect};
    }
    /// Packed: as many descriptors of one chain as the ring has, behind a whole one.
    void overrun() {
        for (std::uint16_t i = 0; i < ring_size; ++i) {
            const auto next = i == 0 ? std::uint16_t{0} : descriptor_flag::next;
            const PackedDescriptor each{
                .address = buffer_at,
                .length = 8,
                .id = 0,
                .flags = static_cast<std::uint16_t>(descriptor_flag::avail | next)};
            ASSERT_TRUE(bench_.memory->store(geometry.descriptor_area + i * descriptor_size,
                                             words_of(each)));
        }
        // The first one is still under way when the second is looked at.
        device_->held.push_back(device_->running.at(0).queue.pop());
    }

    QueueGeometry geometry{};

  private:
    const std::uint64_t features_;
    std::unique_ptr<EchoDevice> made_ = std::make_unique<EchoDevice>();
    EchoDevice* device_ = made_.get();
    VirtioPciBench bench_{std::move(made_)};
    std::unique_ptr<VirtioDriver> driver_;
};

struct Case {
    QueueFault fault;
    /// Before DRIVER_OK, and after it.
    std::function<void(Breaker&)> prepare{};
    std::function<void(Breaker&)> breaks{};
    std::uint64_t features = feature::indirect_desc;
};

constexpr SplitDescriptor good{.address = buffer_at, .length = 16};

SplitDescriptor with(SplitDescriptor descriptor, std::uint16_t flags, std::uint16_t next = 0) {
    descriptor.flags |= flags;
    descriptor.next = next;
    return descriptor;
}

std::function<void(Breaker&)> chain_of(std::vector<SplitDescriptor> chain) {
    return [chain = std::move(chain)](Breaker& breaker) { breaker.offer(chain); };
}

std::vector<Case> cases() {
    using namespace descriptor_flag;
    const SplitDescriptor nowhere{.address = VirtioPciBench::ram_size - 8, .length = 16};
    const SplitDescriptor whole_ram{.address = 0, .length = VirtioPciBench::ram_size};
    return {
        {.fault = QueueFault::size_not_allowed,
         .prepare = [](Breaker& breaker) { breaker.geometry.size = 12; }},
        {.fault = QueueFault::area_misaligned,
         .prepare = [](Breaker& breaker) { breaker.geometry.descriptor_area.value += 8; }},
        {.fault = QueueFault::area_outside_ram,
         .prepare =
             [](Breaker& breaker) { breaker.geometry.device_area = {VirtioPciBench::ram_size}; }},
        {.fault = QueueFault::available_index_jumped,
         .breaks = [](Breaker& breaker) { breaker.make_available(0, ring_size + 1); }},
        {.fault = QueueFault::ring_overrun,
         .breaks = [](Breaker& breaker) { breaker.overrun(); },
         .features = feature::ring_packed},
        {.fault = QueueFault::head_out_of_range,
         .breaks = [](Breaker& breaker) { breaker.make_available(ring_size, 1); }},
        {.fault = QueueFault::next_out_of_range, .breaks = chain_of({with(good, next, ring_size)})},
        {.fault = QueueFault::chain_loops, .breaks = chain_of({with(good, next, 0)})},
        {.fault = QueueFault::too_many_segments,
         .breaks = [](Breaker& breaker) { breaker.offer({breaker.table(1025, good)}); }},
        {.fault = QueueFault::too_many_bytes,
         .breaks =
             [whole_ram](Breaker& breaker) { breaker.offer({breaker.table(513, whole_ram)}); }},
        {.fault = QueueFault::zero_length, .breaks = chain_of({{.address = buffer_at}})},
        {.fault = QueueFault::buffer_outside_ram, .breaks = chain_of({nowhere})},
        {.fault = QueueFault::readable_after_writable,
         .breaks = chain_of({with(good, next | write, 1), good})},
        {.fault = QueueFault::indirect_not_negotiated,
         .breaks = [](Breaker& breaker) { breaker.offer({breaker.table(1, good)}); },
         .features = 0},
        {.fault = QueueFault::indirect_and_next,
         .breaks =
             [](Breaker& breaker) {
                 breaker.offer({with(breaker.table(1, good), next, 1), good});
             }},
        {.fault = QueueFault::indirect_nested,
         .breaks =
             [](Breaker& breaker) { breaker.offer({breaker.table(1, with(good, indirect))}); }},
        {.fault = QueueFault::indirect_bad_size,
         .breaks = chain_of({{.address = table_at, .length = 8, .flags = indirect}})},
        {.fault = QueueFault::indirect_outside_ram,
         .breaks =
             chain_of({{.address = VirtioPciBench::ram_size, .length = 16, .flags = indirect}})},
    };
}

TEST(QueueFaultLog, EachFaultAsksForAResetAndIsOneLineThatNamesIt) {
    for (const Case& each : cases()) {
        SCOPED_TRACE(to_text(each.fault));
        testing::RecordingLog log;
        Breaker breaker(each.features);
        if (each.prepare) {
            each.prepare(breaker);
        }
        breaker.start();
        if (each.breaks) {
            EXPECT_EQ(breaker.status(), 0x0F);
            each.breaks(breaker);
        }
        breaker.notify();
        EXPECT_EQ(breaker.status(), 0x4F);
        ASSERT_EQ(log.lines().size(), 1U) << log.text();
        EXPECT_NE(log.lines()[0].find(to_text(each.fault)), std::string::npos) << log.text();
        EXPECT_NE(log.lines()[0].find("echo"), std::string::npos) << log.text();
        EXPECT_TRUE(breaker.works_after_a_reset());
        EXPECT_EQ(log.lines().size(), 1U) << log.text();
    }
}

TEST(QueueFaultLog, EveryFaultOfADriverHasItsCase) {
    const std::vector<Case> all = cases();
    for (auto i = static_cast<unsigned>(QueueFault::size_not_allowed);
         i < static_cast<unsigned>(QueueFault::broken_elsewhere); ++i) {
        const auto fault = static_cast<QueueFault>(i);
        // A position is only restored, never written.
        EXPECT_TRUE(fault == QueueFault::position_not_allowed ||
                    std::ranges::find(all, fault, &Case::fault) != all.end())
            << to_text(fault);
    }
}

TEST(QueueFaultLog, ADriverThatBreaksItsRingsForEverFillsNoLog) {
    testing::RecordingLog log;
    Breaker breaker(feature::indirect_desc);
    for (int life = 0; life < 1000; ++life) {
        breaker.renew();
        breaker.start();
        breaker.offer({{.address = buffer_at}});
        breaker.notify();
        ASSERT_EQ(breaker.status(), 0x4F);
        ASSERT_TRUE(breaker.works_after_a_reset());
    }
    EXPECT_EQ(log.lines().size(), 1U) << log.text();
}

}  // namespace
}  // namespace cupule::virtio
