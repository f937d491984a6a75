#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "device/network/virtio_net.h"
#include "device/network/virtio_net_registers.h"
#include "testing/fake_net_port.h"
#include "testing/virtio_fixture.h"

namespace cupule::device {
namespace {

using backend::NetHeader;
using testing::FakeNetPort;
using testing::VirtioDriver;
using virtio::PciTransportModel;
using Bytes = std::vector<std::uint8_t>;
namespace feature = net::feature;
namespace registers = virtio::pci_layout::legacy;

constexpr MacAddress mac{0x00, 0x16, 0x3E, 1, 2, 3};
constexpr MacAddress other{2, 0, 0, 0, 0, 9};
constexpr std::uint64_t buffers_at = 7 << 20;
constexpr std::uint64_t control_at = 6 << 20;

/// A card as a driver of the legacy interface has it, through the I/O BAR.
class VirtioNetLegacyTest : public testing::VirtioFixture<PciTransportModel> {
  protected:
    void start(std::uint64_t features) {
        if (!bench_) {
            const NetPairPowers powers{.port = port_, .worker = *worker_};
            bench_ = std::make_unique<testing::VirtioPciBench>(
                std::make_unique<VirtioNet>(VirtioNetSpec{.mac = mac}, std::span(&powers, 1)),
                nullptr, false, GetParam());
        }
        bench_->write_legacy(registers::device_status, 1, 3);
        EXPECT_EQ(features & ~bench_->read_legacy(registers::device_features, 4), 0U);
        bench_->write_legacy(registers::driver_features, 4, features);
        const unsigned queues = (features & feature::ctrl_vq) != 0 ? 3 : 2;
        for (std::uint16_t queue = 0; queue < queues; ++queue) {
            bench_->write_legacy(registers::queue_select, 2, queue);
            const auto size =
                static_cast<std::uint16_t>(bench_->read_legacy(registers::queue_size, 2));
            const VirtioDriver::Options options{.features = 0,
                                                .size = size,
                                                .base = {0x1'0000U + 0x10'0000U * queue},
                                                .legacy = true};
            drivers_[queue] = std::make_unique<VirtioDriver>(*bench_->memory, options);
            bench_->write_legacy(registers::queue_address, 4, options.base.value / registers::page);
        }
        bench_->write_legacy(registers::device_status, 1, 7);
        ASSERT_EQ(bench_->read_legacy(registers::device_status, 1), 7U);
    }

    void notify(std::uint16_t queue) override {
        bench_->write_legacy(registers::queue_notify, 2, queue);
    }

    /// `bytes` at buffers_at in pieces: the first as long as it says, the others at random.
    std::vector<VirtioDriver::Buffer> pieces(std::size_t bytes, std::size_t first, bool writable) {
        std::vector<VirtioDriver::Buffer> result;
        std::uint64_t at = buffers_at;
        std::size_t left = bytes;
        for (std::size_t length = first; left != 0; length = 1 + random_() % 2000) {
            length = std::min(length, left);
            result.push_back({.address = {at},
                              .length = static_cast<std::uint32_t>(length),
                              .writable = writable});
            at += length;
            left -= length;
        }
        return result;
    }
    Bytes random_bytes(std::size_t count) {
        Bytes bytes(count);
        std::ranges::generate(bytes, [this] { return static_cast<std::uint8_t>(random_()); });
        return bytes;
    }

    /// What the port is given of a frame whose header has `header_bytes`.
    Bytes sent(std::size_t header_bytes, const Bytes& frame, std::size_t first) {
        Bytes out(header_bytes);
        out.insert(out.end(), frame.begin(), frame.end());
        EXPECT_TRUE(bench_->memory->write({buffers_at}, std::as_bytes(std::span(out))));
        submit(1, pieces(out.size(), first, false));
        used(1);
        return on_worker([&] {
            Bytes got;
            if (!port_.sent.empty()) {
                got.assign(port_.sent.back().begin() + sizeof(NetHeader), port_.sent.back().end());
                port_.sent.clear();
            }
            return got;
        });
    }
    /// What the driver finds in its buffer when a frame comes; empty: nothing came.
    Bytes received(const Bytes& frame, std::size_t room, std::size_t first) {
        submit(0, pieces(room, first, true));
        settle();
        return arrived(frame);
    }
    Bytes arrived(const Bytes& frame) {
        FakeNetPort::Frame in(sizeof(NetHeader));
        in.insert(in.end(), frame.begin(), frame.end());
        on_worker([&] { port_.come(in); });
        settle();
        const auto got = drivers_[0]->collect();
        Bytes bytes(got ? got->written : 0);
        EXPECT_TRUE(bench_->memory->read({buffers_at}, std::as_writable_bytes(std::span(bytes))));
        return bytes;
    }
    Bytes frame_to(const MacAddress& to) {
        Bytes frame = random_bytes(60);
        std::ranges::copy(to, frame.begin());
        frame[12] = 0;
        return frame;
    }
    /// Class and command, data, and answer in a descriptor each.
    unsigned command(std::uint16_t which, const Bytes& data) {
        Bytes out{static_cast<std::uint8_t>(which >> 8), static_cast<std::uint8_t>(which)};
        out.insert(out.end(), data.begin(), data.end());
        EXPECT_TRUE(bench_->memory->write({control_at}, std::as_bytes(std::span(out))));
        const std::array buffers{
            VirtioDriver::Buffer{.address = {control_at}, .length = 2},
            VirtioDriver::Buffer{.address = {control_at + 2},
                                 .length = static_cast<std::uint32_t>(data.size())},
            VirtioDriver::Buffer{.address = {control_at + 0x1000}, .length = 1, .writable = true}};
        submit(2, buffers);
        EXPECT_EQ(used(2).written, 1U);
        return *bench_->memory->load<std::uint8_t>({control_at + 0x1000});
    }
    std::uint64_t shown_mac() {
        return bench_->read_legacy(registers::device, 4) |
               bench_->read_legacy(registers::device + 4, 2) << 32;
    }
    void write_mac(const MacAddress& address) {
        for (std::size_t i = 0; i < address.size(); ++i) {
            bench_->write_legacy(registers::device + i, 1, address[i]);
        }
    }

    std::mt19937 random_{7};
    FakeNetPort port_;
};

TEST_P(VirtioNetLegacyTest, HasTheIdsThatAcrnHas) {
    start(0);
    EXPECT_EQ(bench_->read_config(0, 4), 0x1000'1AF4U);
    EXPECT_EQ(bench_->read_config(0x2C, 4), 0x0001'1AF4U);
    EXPECT_EQ(bench_->read_config(8, 1), 0U);
    EXPECT_EQ(shown_mac(), 0x0302'013E'1600U);
}

TEST_P(VirtioNetLegacyTest, FramesGoOutBehindAHeaderOfTenBytesHoweverTheyAreCut) {
    start(0);
    for (const std::size_t first : {10U, 9U, 1U, 11U, 12U, 40U}) {
        for (const std::size_t bytes : {14U, 60U, 1514U}) {
            const Bytes frame = random_bytes(bytes);
            EXPECT_EQ(sent(10, frame, first), frame) << first << ' ' << bytes;
        }
    }
}

TEST_P(VirtioNetLegacyTest, FramesComeInBehindAHeaderOfTenBytesHoweverBuffersAreCut) {
    start(0);
    for (const std::size_t first : {10U, 9U, 1U, 11U, 12U, 40U}) {
        // Less than the longest frame, which waits in the device first; just that; and more.
        for (const std::size_t room : {10U + 1514U, 10U + 1518U, 4096U}) {
            for (const std::size_t bytes : {14U, 60U, 1514U}) {
                const Bytes frame = random_bytes(bytes);
                const Bytes got = received(frame, room, first);
                ASSERT_EQ(got.size(), 10 + bytes) << first << ' ' << room;
                EXPECT_TRUE(std::equal(frame.begin(), frame.end(), got.begin() + 10));
                EXPECT_TRUE(std::all_of(got.begin(), got.begin() + 10,
                                        [](std::uint8_t byte) { return byte == 0; }));
            }
        }
    }
}

TEST_P(VirtioNetLegacyTest, MergedBuffersHaveTheirCount) {
    start(feature::mrg_rxbuf);
    const Bytes frame = random_bytes(600);
    EXPECT_EQ(sent(12, frame, 12), frame);
    const Bytes got = received(frame, 2048, 12);
    ASSERT_EQ(got.size(), 12U + 600);
    EXPECT_EQ(got[net::header::buffers_at], 1);
    EXPECT_TRUE(std::equal(frame.begin(), frame.end(), got.begin() + 12));
}

TEST_P(VirtioNetLegacyTest, OffloadsAreInTheShortHeader) {
    port_.can = {.checksum = true, .tso4 = true};
    start(feature::csum | feature::host_tso4 | feature::guest_csum | feature::guest_tso4);
    Bytes out(10 + 2000);
    const NetHeader header{.flags = 1,
                           .gso_type = 1,
                           .header_length = 54,
                           .gso_size = 500,
                           .checksum_start = 34,
                           .checksum_offset = 16};
    std::memcpy(out.data(), &header, 10);
    ASSERT_TRUE(bench_->memory->write({buffers_at}, std::as_bytes(std::span(out))));
    submit(1, pieces(out.size(), 10, false));
    used(1);
    on_worker([&] {
        ASSERT_EQ(port_.sent.size(), 1U);
        NetHeader seen;
        std::memcpy(&seen, port_.sent[0].data(), sizeof seen);
        EXPECT_EQ(seen, header);
    });
    const std::size_t longest = backend::net_frame_bytes_max - sizeof(NetHeader);
    const Bytes frame = random_bytes(longest);
    const Bytes got = received(frame, 10 + longest, 10);
    ASSERT_EQ(got.size(), 10 + longest);
    EXPECT_TRUE(std::equal(frame.begin(), frame.end(), got.begin() + 10));
}

TEST_P(VirtioNetLegacyTest, TheControlQueueAnswersInADescriptorOfItsOwn) {
    start(feature::ctrl_vq | feature::ctrl_rx);
    EXPECT_EQ(received(frame_to(other), 2048, 10).size(), 70U);
    EXPECT_EQ(command(net::control::rx_promisc, {0}), 0U);
    EXPECT_EQ(received(frame_to(other), 2048, 10).size(), 0U);
    EXPECT_EQ(arrived(frame_to(mac)).size(), 70U);
    EXPECT_EQ(command(0x7777, {0}), 1U);
}

TEST_P(VirtioNetLegacyTest, TheAddressMayBeWrittenUntilReset) {
    start(feature::ctrl_vq | feature::ctrl_rx);
    EXPECT_EQ(command(net::control::rx_promisc, {0}), 0U);
    write_mac(other);
    EXPECT_EQ(shown_mac(), 0x0900'0000'0002U);
    bench_->write_legacy(registers::device + 6, 2, 0xFFFF);  // the status is not for writing
    EXPECT_EQ(bench_->read_legacy(registers::device + 6, 2), 1U);
    EXPECT_EQ(received(frame_to(mac), 2048, 10).size(), 0U);
    EXPECT_EQ(arrived(frame_to(other)).size(), 70U);
    bench_->write_legacy(registers::device_status, 1, 0);
    EXPECT_EQ(shown_mac(), 0x0302'013E'1600U);
    write_mac(other);
    EXPECT_EQ(shown_mac(), 0x0302'013E'1600U);
    start(feature::ctrl_vq | feature::ctrl_mac_addr);  // there is a command: no writes
    write_mac(other);
    EXPECT_EQ(shown_mac(), 0x0302'013E'1600U);
}

TEST_P(VirtioNetLegacyTest, Class4_BuffersWithoutRoomForAHeaderComeBack) {
    start(0);
    submit(0, pieces(9, 9, true));
    EXPECT_EQ(used(0).written, 0U);
    EXPECT_EQ(sent(10, random_bytes(13), 10), Bytes{});
    Bytes out(9);
    submit(1, pieces(9, 9, false));
    used(1);
    const Bytes frame = random_bytes(60);
    EXPECT_EQ(sent(10, frame, 10), frame);
    submit(0, pieces(10 + 59, 10, true));  // a byte short: the frame is lost, the buffer is not
    settle();
    EXPECT_EQ(arrived(frame), Bytes{});
    EXPECT_EQ(arrived(random_bytes(59)).size(), 69U);
    EXPECT_EQ(bench_->read_legacy(registers::device_status, 1), 7U);
}

TEST(VirtioNetModernTest, ADriverOfTheModernInterfaceCannotWriteTheAddress) {
    FakeNetPort port;
    const auto worker = *event::Worker::create("test");
    const NetPairPowers powers{.port = port, .worker = *worker};
    testing::VirtioPciBench bench(
        std::make_unique<VirtioNet>(VirtioNetSpec{.mac = mac}, std::span(&powers, 1)), nullptr,
        false, PciTransportModel::transitional);
    ASSERT_TRUE(bench.negotiate(virtio::feature::version_1));
    for (int round = 0; round < 2; ++round) {
        bench.write(0x2000, 1, 2);
        EXPECT_EQ(bench.read(0x2000, 4), 0x013E'1600U);
        bench.drive();
    }
}

INSTANTIATE_TEST_SUITE_P(Models, VirtioNetLegacyTest,
                         ::testing::Values(PciTransportModel::transitional,
                                           PciTransportModel::legacy));

}  // namespace
}  // namespace cupule::device
