#include "device/serial/virtio_console.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "testing/fake_byte_channel.h"
#include "testing/virtio_fixture.h"
#include "virtio/features.h"

namespace cupule::device {
namespace {

using testing::FakeByteChannel;
using virtio::feature::ring_packed;
using virtio::feature::version_1;

constexpr std::uint64_t multiport = base::bit(1);
constexpr std::uint64_t size_feature = base::bit(0);
constexpr std::uint64_t data_at = 4 << 20;

struct Control {
    std::uint32_t id = 0;
    unsigned event = 0;
    unsigned value = 0;
    std::string tail{};
    bool operator==(const Control&) const = default;
};

/// A console with two ports, the first one an hvc; the driver's queues by number.
class VirtioConsoleTest : public testing::VirtioFixture<std::uint64_t> {
  protected:
    VirtioConsoleTest() {
        std::vector<ConsolePortPowers> ports;
        ports.push_back({.spec = {.name = "first", .console = true}, .channel = channels_[0]});
        ports.push_back({.spec = {.name = "second"}, .channel = channels_[1]});
        auto device = std::make_unique<VirtioConsole>(ports, *worker_);
        console_ = device.get();
        bench_ = std::make_unique<testing::VirtioPciBench>(std::move(device));
    }
    void start(std::uint64_t extra) { drive(GetParam() | extra, (extra & multiport) != 0 ? 6 : 2); }
    std::uint64_t place(std::uint16_t queue, std::uint64_t token) const {
        return data_at + queue * 0x8'0000ULL + token * 0x2000;
    }
    void give(std::uint16_t queue, std::uint64_t token, std::uint32_t bytes) {
        submit(queue, {.address = {place(queue, token)}, .length = bytes, .writable = true}, token);
    }
    void put(std::uint16_t queue, std::string_view bytes) {
        ASSERT_TRUE(bench_->memory->write({place(queue, 0)}, std::as_bytes(std::span(bytes))));
        submit(queue,
               {.address = {place(queue, 0)}, .length = static_cast<std::uint32_t>(bytes.size())});
    }
    std::string text(std::uint16_t queue) {
        const auto got = used(queue);
        std::string bytes(got.written, 0);
        EXPECT_TRUE(bench_->memory->read({place(queue, got.token)},
                                         std::as_writable_bytes(std::span(bytes))));
        return bytes;
    }

    void control(std::uint32_t id, unsigned event, unsigned value) {
        std::string message(8, 0);
        std::memcpy(message.data(), &id, 4);
        message[4] = static_cast<char>(event);
        message[6] = static_cast<char>(value);
        put(3, message);
        used(3);
    }
    Control told() {
        const std::string bytes = text(2);
        Control message;
        if (bytes.size() >= 8) {
            std::memcpy(&message.id, bytes.data(), 4);
            message.event = static_cast<std::uint8_t>(bytes[4]);
            message.value = static_cast<std::uint8_t>(bytes[6]);
            message.tail = bytes.substr(8);
        }
        return message;
    }
    /// What Linux does: both ports ready, all messages taken.
    void introduce() {
        for (std::uint64_t token = 0; token < 32; ++token) {
            give(2, token, 128);
        }
        control(0, 0, 1);
        EXPECT_EQ(told(), (Control{0, 1, 1}));
        EXPECT_EQ(told(), (Control{1, 1, 1}));
        control(0, 3, 1);
        EXPECT_EQ(told(), (Control{0, 4, 1}));
        EXPECT_EQ(told(), (Control{0, 7, 1, "first"}));
        EXPECT_EQ(told(), (Control{0, 6, 1}));
        control(1, 3, 1);
        EXPECT_EQ(told(), (Control{1, 7, 1, "second"}));
        EXPECT_EQ(told(), (Control{1, 6, 1}));
    }

    std::array<FakeByteChannel, 2> channels_;
    VirtioConsole* console_ = nullptr;
};

TEST_P(VirtioConsoleTest, ADriverWithoutMultiportHasTheFirstPort) {
    start(0);
    put(1, "hello");
    used(1);
    on_worker([&] { EXPECT_EQ(channels_[0].written, "hello"); });
    give(0, 1, 4);
    settle();
    on_worker([&] { channels_[0].send("typed"); });
    EXPECT_EQ(text(0), "type");
    give(0, 2, 4);
    EXPECT_EQ(text(0), "d");
    settle();
    const auto reports = console_->report();
    ASSERT_EQ(reports.size(), 6U);
    EXPECT_EQ(reports[0].requests, 2U);
    EXPECT_EQ(reports[0].bytes, 5U);
    EXPECT_EQ(reports[1].requests, 1U);
    EXPECT_EQ(reports[1].bytes, 5U);
    EXPECT_GE(reports[1].kicks, 1U);
    EXPECT_EQ(reports[1].interrupts + reports[1].suppressed, 1U);
    EXPECT_EQ(reports[5].requests, 0U);
}

TEST_P(VirtioConsoleTest, CountsControlMessagesBothWays) {
    start(multiport);
    introduce();
    const auto reports = console_->report();
    EXPECT_EQ(reports[2].requests, 7U);
    EXPECT_EQ(reports[3].requests, 3U);
    EXPECT_EQ(reports[3].bytes, 24U);
}

TEST_P(VirtioConsoleTest, PortsIntroduceThemselves) {
    start(multiport);
    EXPECT_EQ(bench_->read(0x2004, 4), 2U);
    introduce();
}

TEST_P(VirtioConsoleTest, EachPortHasItsOwnQueues) {
    start(multiport);
    introduce();
    control(1, 6, 1);
    put(5, "out");
    used(5);
    give(4, 3, 100);
    settle();
    on_worker([&] {
        EXPECT_EQ(channels_[1].written, "out");
        channels_[1].send("in");
    });
    EXPECT_EQ(text(4), "in");
}

TEST_P(VirtioConsoleTest, InputWaitsUntilTheGuestOpensThePort) {
    start(multiport);
    introduce();
    give(4, 3, 100);
    on_worker([&] { channels_[1].send("early"); });
    settle();
    on_worker([&] { EXPECT_EQ(channels_[1].incoming.size(), 5U); });
    EXPECT_FALSE(drivers_[4]->collect().has_value());
    control(1, 6, 1);
    EXPECT_EQ(text(4), "early");
}

TEST_P(VirtioConsoleTest, AnOpenPortStaysOpenOverAPause) {
    start(multiport);
    introduce();
    control(1, 6, 1);
    bench_->write_config(pci::config::command, 2, 2);  // no bus mastering
    bench_->write_config(pci::config::command, 2, 6);
    give(4, 3, 100);
    settle();
    on_worker([&] { channels_[1].send("in"); });
    EXPECT_EQ(text(4), "in");
}

TEST_P(VirtioConsoleTest, OutputWaitsForRoomAndNothingIsLost) {
    start(0);
    on_worker([&] { channels_[0].room = 3; });
    std::string long_text(7000, 'x');
    std::iota(long_text.begin(), long_text.end(), char{0});
    put(1, long_text);
    EXPECT_TRUE(silent(1));
    on_worker([&] { channels_[0].make_room(5000); });
    EXPECT_TRUE(silent(1));
    on_worker([&] { channels_[0].make_room(5000); });
    used(1);
    on_worker([&] { EXPECT_EQ(channels_[0].written, long_text); });
}

TEST_P(VirtioConsoleTest, AResizeReachesConsolesAndTheConfiguration) {
    start(multiport | size_feature);
    introduce();
    on_worker([&] { console_->resize(132, 43); });
    EXPECT_EQ(told(), (Control{0, 5, 1, std::string("\x84\0\x2B\0", 4)}));
    EXPECT_EQ(bench_->read(0x2000, 2), 132U);
    EXPECT_EQ(bench_->read(0x2002, 2), 43U);
}

TEST_P(VirtioConsoleTest, Class21_ADriverThatTakesNoAnswersCostsBoundedMemory) {
    start(multiport);
    for (int i = 0; i < 1000; ++i) {
        control(0, 3, 1);
        control(0, 0, 1);
    }
    // What was kept still comes, and the device works.
    for (std::uint64_t token = 0; token < 32; ++token) {
        give(2, token, 128);
    }
    EXPECT_EQ(told(), (Control{0, 4, 1}));
    EXPECT_EQ(bench_->status(), 0x0F);
}

TEST_P(VirtioConsoleTest, ControlMessagesThatMeanNothingAreIgnored) {
    start(multiport);
    introduce();
    control(2, 3, 1);
    control(0xFFFF'FFFF, 6, 1);
    control(0, 99, 1);
    put(3, "short");
    used(3);
    put(1, "still here");
    used(1);
    on_worker([&] { EXPECT_EQ(channels_[0].written, "still here"); });
}

TEST_P(VirtioConsoleTest, Class2_ResetsWithWorkInFlightLeaveNoneBehind) {
    for (int round = 0; round < 30; ++round) {
        start(multiport);
        on_worker([&] { channels_[0].room = 2; });
        put(1, "more than two");
        give(0, 1, 100);
        give(4, 1, 100);
        control(1, 6, 1);
        if (round % 2 == 0) {
            bench_->set_status(0);
        } else {
            event::MutexLock lock(bench_->monitor);
            bench_->transport->reset();
            bench_->place();
        }
        ASSERT_TRUE(bench_->memory->discard_all());
        on_worker([&] {
            channels_[0].make_room(100);
            channels_[1].send("nobody reads");
            EXPECT_FALSE(channels_[1].incoming.empty());
            channels_[1].incoming.clear();
        });
    }
}

INSTANTIATE_TEST_SUITE_P(Rings, VirtioConsoleTest,
                         ::testing::Values(version_1, version_1 | ring_packed));

}  // namespace
}  // namespace cupule::device
