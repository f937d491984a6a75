#include "device/network/virtio_net.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "device/network/virtio_net_registers.h"
#include "testing/fake_net_port.h"
#include "testing/virtio_fixture.h"

namespace cupule::device {
namespace {

using backend::NetHeader;
using testing::FakeNetPort;
using testing::VirtioDriver;
using virtio::feature::ring_packed;
using virtio::feature::version_1;
using Frame = FakeNetPort::Frame;
namespace feature = net::feature;

constexpr MacAddress mac{0x00, 0x16, 0x3E, 1, 2, 3};
constexpr std::uint64_t buffers_at = 4 << 20;
constexpr std::uint64_t control_at = 3 << 20;
constexpr std::uint64_t offload_features =
    feature::csum | feature::guest_csum | feature::host_tso4 | feature::guest_tso4;

Frame frame_of(std::size_t bytes, std::uint8_t fill = 0x5A, const MacAddress& to = mac) {
    Frame frame(sizeof(NetHeader) + bytes, fill);
    std::fill_n(frame.begin(), sizeof(NetHeader), std::uint8_t{0});
    std::ranges::copy(to, frame.begin() + sizeof(NetHeader));
    return frame;
}

/// A card with one to three pairs, each with a fake port; control commands by name.
class VirtioNetTest : public testing::VirtioFixture<std::uint64_t> {
  protected:
    void create(unsigned pairs = 1, const VirtioNetSpec& spec = {.mac = mac}) {
        std::vector<NetPairPowers> powers;
        for (unsigned i = 0; i < pairs; ++i) {
            powers.push_back({.port = ports_[i], .worker = *worker_});
        }
        bench_ =
            std::make_unique<testing::VirtioPciBench>(std::make_unique<VirtioNet>(spec, powers));
    }
    void start(std::uint64_t extra = 0, unsigned pairs = 1) {
        if (!bench_) {
            create(pairs);
        }
        const bool mq = (extra & feature::mq) != 0;
        control_ = static_cast<std::uint16_t>(mq ? 2 * pairs : 2);
        const bool controls = (extra & feature::ctrl_vq) != 0;
        drive(GetParam() | extra, static_cast<std::uint16_t>(control_ + (controls ? 1 : 0)));
    }

    void give_buffer(std::uint64_t token, std::uint32_t bytes, std::uint16_t queue = 0) {
        submit(queue,
               {.address = {buffers_at + token * 0x1'0000}, .length = bytes, .writable = true},
               token);
    }
    Frame received(const VirtioDriver::Used& from) {
        Frame bytes(from.written);
        EXPECT_TRUE(bench_->memory->read({buffers_at + from.token * 0x1'0000},
                                         std::as_writable_bytes(std::span(bytes))));
        return bytes;
    }
    void transmit(const Frame& frame, std::uint32_t bytes, std::uint16_t queue = 1) {
        ASSERT_TRUE(bench_->memory->write({buffers_at}, std::as_bytes(std::span(frame))));
        submit(queue, {.address = {buffers_at}, .length = bytes}, 7);
    }
    std::size_t sent() {
        return on_worker([&] { return ports_[0].sent.size(); });
    }
    /// Sends a frame and says whether it reached the port.
    bool passes_out(const Frame& frame) {
        const std::size_t before = sent();
        transmit(frame, static_cast<std::uint32_t>(frame.size()));
        used(1);
        return sent() == before + 1;
    }
    /// Lets a frame come in and says whether the guest got it.
    bool passes_in(const MacAddress& to, std::uint16_t vlan = 0) {
        Frame frame = frame_of(60, 0x11, to);
        if (vlan != 0) {
            const std::array<std::uint8_t, 4> tag{0x81, 0x00, static_cast<std::uint8_t>(vlan >> 8),
                                                  static_cast<std::uint8_t>(vlan)};
            std::ranges::copy(tag, frame.begin() + sizeof(NetHeader) + 12);
        }
        if (drivers_[0]->outstanding() == 0) {
            give_buffer(1, 2048);
        }
        settle();
        on_worker([&] { ports_[0].come(frame); });
        settle();
        return drivers_[0]->collect().has_value();
    }
    unsigned command(std::uint16_t which, std::span<const std::uint8_t> data) {
        std::vector<std::uint8_t> out{static_cast<std::uint8_t>(which >> 8),
                                      static_cast<std::uint8_t>(which)};
        out.insert(out.end(), data.begin(), data.end());
        EXPECT_TRUE(bench_->memory->write({control_at}, std::as_bytes(std::span(out))));
        const std::array buffers{
            VirtioDriver::Buffer{.address = {control_at},
                                 .length = static_cast<std::uint32_t>(out.size())},
            VirtioDriver::Buffer{.address = {control_at + 0x1000}, .length = 1, .writable = true}};
        submit(control_, buffers);
        EXPECT_EQ(used(control_).written, 1U);
        return *bench_->memory->load<std::uint8_t>({control_at + 0x1000});
    }
    unsigned command(std::uint16_t which, std::initializer_list<std::uint8_t> data) {
        return command(which, std::span(data.begin(), data.size()));
    }

    std::uint16_t control_ = 2;
    std::array<FakeNetPort, 3> ports_;
};

TEST_P(VirtioNetTest, ShowsAddressLinkPairsAndMtu) {
    create(2, {.mac = mac, .mtu = 9000});
    EXPECT_EQ(bench_->read(0x2000, 4), 0x013E'1600U);
    EXPECT_EQ(bench_->read(0x2004, 2), 0x0302U);
    EXPECT_EQ(bench_->read(0x2006, 2), 1U);
    EXPECT_EQ(bench_->read(0x2008, 2), 2U);
    EXPECT_EQ(bench_->read(0x200A, 2), 9000U);
    EXPECT_EQ(bench_->offered() & feature::mtu, feature::mtu);
    EXPECT_EQ(bench_->offered() & feature::csum, 0U);
}

TEST_P(VirtioNetTest, FramesGoOutByteForByte) {
    start();
    std::mt19937 random(7);
    for (const std::size_t bytes : {14U, 60U, 1514U, 9000U}) {
        Frame frame = frame_of(bytes);
        std::generate(frame.begin() + sizeof(NetHeader), frame.end(),
                      [&] { return static_cast<std::uint8_t>(random()); });
        ASSERT_TRUE(passes_out(frame));
        on_worker([&] { EXPECT_EQ(ports_[0].sent.back(), frame); });
    }
    on_worker([&] { EXPECT_GT(ports_[0].flushes, 0U); });
}

TEST_P(VirtioNetTest, FramesComeInWithABufferCountOfOne) {
    start();
    give_buffer(1, 2048);
    const Frame frame = frame_of(1514);
    settle();
    on_worker([&] { ports_[0].come(frame); });
    const auto got = used(0);
    EXPECT_EQ(got.written, frame.size());
    Frame expected = frame;
    expected[net::header::buffers_at] = 1;
    EXPECT_EQ(received(got), expected);
}

TEST_P(VirtioNetTest, ALongFrameTakesSeveralBuffersWhereTheDriverMerges) {
    ports_[0].can = {.checksum = true, .tso4 = true};
    start(feature::mrg_rxbuf | offload_features);
    std::mt19937 random(7);
    Frame frame = frame_of(5000);
    std::generate(frame.begin() + sizeof(NetHeader), frame.end(),
                  [&] { return static_cast<std::uint8_t>(random()); });
    // Too few for the longest frame, so it waits here; and then many, straight into them.
    for (const std::uint64_t buffers : {4U, 50U}) {
        for (std::uint64_t i = 0; i < buffers; ++i) {
            give_buffer(i, 1500);
        }
        settle();
        on_worker([&] { ports_[0].come(frame); });
        Frame got;
        for (int i = 0; i < 4; ++i) {
            const Frame part = received(used(0));
            got.insert(got.end(), part.begin(), part.end());
        }
        EXPECT_EQ(got[net::header::buffers_at], 4U);
        got[net::header::buffers_at] = 0;
        EXPECT_EQ(got, frame);
    }
}

TEST_P(VirtioNetTest, FramesWaitForBuffersAndNoneIsLost) {
    start(feature::mrg_rxbuf);
    settle();
    on_worker([&] {
        EXPECT_FALSE(ports_[0].wanted);
        for (std::uint8_t i = 0; i < 100; ++i) {
            ports_[0].come(frame_of(60, i));
        }
    });
    for (std::uint8_t i = 0; i < 100; ++i) {
        give_buffer(i % 4, 1600);
        const Frame got = received(used(0));
        ASSERT_EQ(got.size(), sizeof(NetHeader) + 60);
        EXPECT_EQ(got.back(), i);
    }
}

TEST_P(VirtioNetTest, AFrameTooLongForAnyBufferIsDroppedAndTheNextArrives) {
    start();
    give_buffer(1, 100);
    settle();
    on_worker([&] {
        ports_[0].come(frame_of(1000));
        ports_[0].come(frame_of(60, 9));
    });
    const Frame got = received(used(0));
    EXPECT_EQ(got.size(), sizeof(NetHeader) + 60);
    EXPECT_EQ(got.back(), 9);
}

TEST_P(VirtioNetTest, BuffersWithoutRoomForAHeaderComeBackEmpty) {
    start();
    give_buffer(1, 11);
    EXPECT_EQ(used(0).written, 0U);
    EXPECT_EQ(bench_->status(), 0x0F);
}

TEST_P(VirtioNetTest, ADriverThatGivesNothingButSuchBuffersLeavesTheWorkerItsTurns) {
    ring_size_ = 256;
    start();
    settle();
    constexpr std::uint64_t count = 200;
    for (std::uint64_t i = 0; i < count; ++i) {
        const VirtioDriver::Buffer buffer{.address = {buffers_at}, .length = 11, .writable = true};
        ASSERT_TRUE(drivers_[0]->submit(std::span(&buffer, 1), i));
    }
    static_cast<void>(drivers_[0]->publish());
    bench_->notify(0);
    for (std::uint64_t i = 0; i < count; ++i) {
        used(0);
    }
    settle();
    const auto report = bench_->transport->device().report()[0];
    EXPECT_GE(report.interrupts + report.suppressed, count / 64 + 1);
    EXPECT_EQ(bench_->status(), 0x0F);
}

TEST_P(VirtioNetTest, ABusyPortHoldsFramesBack) {
    start();
    on_worker([&] { ports_[0].room = 1; });
    EXPECT_TRUE(passes_out(frame_of(60)));
    transmit(frame_of(61), sizeof(NetHeader) + 61);
    EXPECT_TRUE(silent(1));
    on_worker([&] { ports_[0].make_room(1); });
    used(1);
    EXPECT_EQ(sent(), 2U);
}

TEST_P(VirtioNetTest, APortThatIsBusyTimeAndAgainGetsEveryFrameInOrder) {
    start();
    on_worker([&] { ports_[0].room = 0; });
    constexpr std::uint32_t frames = 50;
    for (std::uint32_t i = 0; i < frames; ++i) {
        transmit(frame_of(60 + i), sizeof(NetHeader) + 60 + i);
    }
    while (sent() < frames) {
        const std::size_t before = sent();
        settle();
        on_worker([&] { ports_[0].make_room(7); });
        settle();
        ASSERT_EQ(sent(), std::min<std::size_t>(before + 7, frames));
    }
    for (std::uint32_t i = 0; i < frames; ++i) {
        used(1);
    }
    on_worker([&] {
        for (std::uint32_t i = 0; i < frames; ++i) {
            EXPECT_EQ(ports_[0].sent[i].size(), sizeof(NetHeader) + 60 + i);
        }
    });
}

TEST_P(VirtioNetTest, WhatABusyPortHeldBackComesBackOnAPauseAndTheRestIsSentAfterIt) {
    start();
    on_worker([&] { ports_[0].room = 0; });
    constexpr std::size_t frames = 50;
    for (std::size_t i = 0; i < frames; ++i) {
        transmit(frame_of(60), sizeof(NetHeader) + 60);
    }
    settle();
    bench_->write_config(pci::config::command, 2, 2);  // no bus mastering
    std::size_t lost = 0;
    while (drivers_[1]->collect()) {
        ++lost;
    }
    EXPECT_GE(lost, 1U);
    EXPECT_LT(lost, frames);
    on_worker([&] { ports_[0].room = ~0U; });
    bench_->write_config(pci::config::command, 2, 6);
    for (std::size_t i = lost; i < frames; ++i) {
        used(1);
    }
    EXPECT_EQ(sent(), frames - lost);
}

TEST_P(VirtioNetTest, Class4_HeadersThatLieAreDropped) {
    ports_[0].can = {.checksum = true, .tso4 = true};
    start(offload_features);
    const auto with = [](std::uint8_t flags, std::uint8_t type, std::uint16_t size,
                         std::uint16_t at, std::uint16_t offset, std::uint16_t length = 54) {
        Frame frame = frame_of(100);
        const NetHeader header{.flags = flags,
                               .gso_type = type,
                               .header_length = length,
                               .gso_size = size,
                               .checksum_start = at,
                               .checksum_offset = offset};
        std::memcpy(frame.data(), &header, sizeof header);
        return frame;
    };
    EXPECT_TRUE(passes_out(with(0, 0, 0, 0, 0)));
    EXPECT_TRUE(passes_out(with(1, 0, 0, 34, 16)));
    EXPECT_TRUE(passes_out(with(1, 1, 50, 34, 16)));
    EXPECT_TRUE(passes_out(with(1, 0, 0, 82, 16)));
    EXPECT_FALSE(passes_out(with(1, 0, 0, 83, 16)));  // the checksum past the end
    EXPECT_FALSE(passes_out(with(1, 0, 0, 0xFFFF, 0xFFFF)));
    EXPECT_FALSE(passes_out(with(1, 1, 0, 34, 16)));        // segments of no size
    EXPECT_FALSE(passes_out(with(0, 1, 50, 34, 16)));       // segments without a checksum
    EXPECT_FALSE(passes_out(with(1, 1, 50, 34, 16, 101)));  // headers longer than the frame
    EXPECT_FALSE(passes_out(with(1, 4, 50, 34, 16)));       // TSO6 was not negotiated
    EXPECT_FALSE(passes_out(with(1, 0x81, 50, 34, 16)));    // nor ECN
    EXPECT_FALSE(passes_out(with(1, 3, 50, 34, 16)));       // UFO does not exist
    EXPECT_FALSE(passes_out(with(1, 0x80, 50, 34, 16)));
    EXPECT_FALSE(passes_out(frame_of(13)));
    EXPECT_EQ(bench_->status(), 0x0F);
}

TEST_P(VirtioNetTest, WithoutOffloadsAHeaderMayAskForNothing) {
    start();
    Frame frame = frame_of(100);
    frame[0] = 1;
    EXPECT_FALSE(passes_out(frame));
    frame[0] = 2;  // DATA_VALID means nothing here
    EXPECT_TRUE(passes_out(frame));
    on_worker([&] { EXPECT_EQ(ports_[0].sent.back()[0], 0); });
}

TEST_P(VirtioNetTest, ReceiveModesAndTablesFilter) {
    constexpr MacAddress other{2, 0, 0, 0, 0, 9};
    constexpr MacAddress group{1, 0, 0x5E, 0, 0, 1};
    constexpr MacAddress all{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    start(feature::ctrl_vq | feature::ctrl_rx | feature::ctrl_rx_extra);
    EXPECT_TRUE(passes_in(other));
    EXPECT_EQ(command(net::control::rx_promisc, {0}), 0U);
    EXPECT_FALSE(passes_in(other));
    EXPECT_FALSE(passes_in(group));
    EXPECT_TRUE(passes_in(mac));
    EXPECT_TRUE(passes_in(all));
    EXPECT_EQ(command(net::control::rx_allmulti, {1}), 0U);
    EXPECT_TRUE(passes_in(group));
    EXPECT_EQ(command(net::control::rx_allmulti, {0}), 0U);
    EXPECT_EQ(command(net::control::mac_table_set,
                      {1, 0, 0, 0, 2, 0, 0, 0, 0, 9, 1, 0, 0, 0, 1, 0, 0x5E, 0, 0, 1}),
              0U);
    EXPECT_TRUE(passes_in(other));
    EXPECT_TRUE(passes_in(group));
    EXPECT_EQ(command(net::control::rx_nobcast, {1}), 0U);
    EXPECT_FALSE(passes_in(all));
    EXPECT_EQ(command(net::control::rx_nouni, {1}), 0U);
    EXPECT_FALSE(passes_in(mac));
}

TEST_P(VirtioNetTest, TablesThatAreCutShortAreErrorsAndLongOnesLetAllIn) {
    start(feature::ctrl_vq | feature::ctrl_rx);
    EXPECT_EQ(command(net::control::rx_promisc, {0}), 0U);
    EXPECT_EQ(command(net::control::mac_table_set, {1, 0, 0, 0}), 1U);
    EXPECT_EQ(command(net::control::mac_table_set, {0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0}), 1U);
    EXPECT_EQ(command(net::control::mac_table_set, {0, 0, 0, 0}), 1U);
    EXPECT_EQ(command(net::control::rx_promisc, {}), 1U);
    EXPECT_EQ(command(net::control::rx_nouni, {1}), 1U);  // not negotiated
    EXPECT_EQ(command(0x7777, {1}), 1U);
    std::vector<std::uint8_t> table{65, 0, 0, 0};
    table.resize(4 + 65 * 6 + 4);
    EXPECT_FALSE(passes_in({2, 0, 0, 0, 0, 9}));
    EXPECT_EQ(command(net::control::mac_table_set, table), 0U);
    EXPECT_TRUE(passes_in({2, 0, 0, 0, 0, 9}));
}

TEST_P(VirtioNetTest, OnlyTheVlansAskedForPass) {
    start(feature::ctrl_vq | feature::ctrl_vlan);
    EXPECT_TRUE(passes_in(mac));
    EXPECT_FALSE(passes_in(mac, 5));
    EXPECT_EQ(command(net::control::vlan_add, {5, 0}), 0U);
    EXPECT_TRUE(passes_in(mac, 5));
    EXPECT_FALSE(passes_in(mac, 6));
    EXPECT_EQ(command(net::control::vlan_del, {5, 0}), 0U);
    EXPECT_FALSE(passes_in(mac, 5));
    EXPECT_EQ(command(net::control::vlan_add, {0, 0x10}), 1U);
    EXPECT_EQ(command(net::control::vlan_add, {0}), 1U);
}

TEST_P(VirtioNetTest, TheAddressCanBeChangedUntilReset) {
    start(feature::ctrl_vq | feature::ctrl_rx | feature::ctrl_mac_addr);
    EXPECT_EQ(command(net::control::rx_promisc, {0}), 0U);
    EXPECT_EQ(command(net::control::mac_addr_set, {2, 3, 4, 5, 6, 7}), 0U);
    EXPECT_EQ(bench_->read(0x2000, 4), 0x0504'0302U);
    EXPECT_FALSE(passes_in(mac));
    EXPECT_TRUE(passes_in({2, 3, 4, 5, 6, 7}));
    EXPECT_EQ(command(net::control::mac_addr_set, {2, 3, 4, 5, 6}), 1U);
    bench_->set_status(0);
    EXPECT_EQ(bench_->read(0x2000, 4), 0x013E'1600U);
}

TEST_P(VirtioNetTest, GuestOffloadsReachThePort) {
    ports_[0].can = {.checksum = true, .tso4 = true};
    start(feature::ctrl_vq | feature::ctrl_guest_offloads | offload_features);
    on_worker([&] {
        EXPECT_EQ(ports_[0].gives, (backend::NetOffloads{.checksum = true, .tso4 = true}));
    });
    EXPECT_EQ(command(net::control::guest_offloads_set, {2, 0, 0, 0, 0, 0, 0, 0}), 0U);
    on_worker([&] { EXPECT_EQ(ports_[0].gives, (backend::NetOffloads{.checksum = true})); });
    EXPECT_EQ(command(net::control::guest_offloads_set, {0, 1, 0, 0, 0, 0, 0, 0}), 1U);
    bench_->set_status(0);
    on_worker([&] { EXPECT_EQ(ports_[0].gives, backend::NetOffloads{}); });
}

TEST_P(VirtioNetTest, GuestOffloadsWithoutWhatTheyNeedAreRefused) {
    ports_[0].can = {.checksum = true, .tso4 = true, .tso_ecn = true};
    start(feature::ctrl_vq | feature::ctrl_guest_offloads | offload_features | feature::guest_ecn);
    const backend::NetOffloads all{.checksum = true, .tso4 = true, .tso_ecn = true};
    // TSO4 without CSUM, ECN without TSO.
    EXPECT_EQ(command(net::control::guest_offloads_set, {0x80, 0, 0, 0, 0, 0, 0, 0}), 1U);
    EXPECT_EQ(command(net::control::guest_offloads_set, {0x02, 2, 0, 0, 0, 0, 0, 0}), 1U);
    on_worker([&] { EXPECT_EQ(ports_[0].gives, all); });
    EXPECT_EQ(command(net::control::guest_offloads_set, {0x82, 0, 0, 0, 0, 0, 0, 0}), 0U);
    EXPECT_EQ(command(net::control::guest_offloads_set, {0x82, 2, 0, 0, 0, 0, 0, 0}), 0U);
    on_worker([&] { EXPECT_EQ(ports_[0].gives, all); });
}

TEST_P(VirtioNetTest, CongestionNotificationNeedsOneKindOfSegmentation) {
    ports_[0].can = {.checksum = true, .tso4 = true, .tso6 = true, .tso_ecn = true};
    create();
    for (const auto& [ecn, checksum, segments] :
         {std::array{feature::guest_ecn, feature::guest_csum, feature::guest_tso6},
          std::array{feature::host_ecn, feature::csum, feature::host_tso4}}) {
        EXPECT_FALSE(bench_->negotiate(GetParam() | checksum | ecn));
        bench_->set_status(0);
        EXPECT_TRUE(bench_->negotiate(GetParam() | checksum | ecn | segments));
        bench_->set_status(0);
    }
}

TEST_P(VirtioNetTest, PairsAreAttachedAsTheDriverAsksAndEachHasItsPort) {
    start(feature::ctrl_vq | feature::mq, 3);
    on_worker([&] {
        EXPECT_TRUE(ports_[0].attached);
        EXPECT_FALSE(ports_[1].attached);
    });
    EXPECT_EQ(command(net::control::mq_pairs_set, {2, 0}), 0U);
    on_worker([&] {
        EXPECT_TRUE(ports_[1].attached);
        EXPECT_FALSE(ports_[2].attached);
    });
    transmit(frame_of(60), sizeof(NetHeader) + 60, 3);
    used(3);
    on_worker([&] { EXPECT_EQ(ports_[1].sent.size(), 1U); });
    give_buffer(1, 2048, 2);
    settle();
    on_worker([&] { ports_[1].come(frame_of(60)); });
    EXPECT_EQ(used(2).written, sizeof(NetHeader) + 60);
    EXPECT_EQ(command(net::control::mq_pairs_set, {0, 0}), 1U);
    EXPECT_EQ(command(net::control::mq_pairs_set, {4, 0}), 1U);
}

/// struct virtio_net_rss_config with the rest of the key's bytes.
std::vector<std::uint8_t> rss_config(std::uint32_t types, std::uint16_t mask,
                                     std::uint16_t unclassified,
                                     const std::vector<std::uint16_t>& table,
                                     std::uint16_t transmit_queues, std::uint8_t key_bytes) {
    std::vector<std::uint8_t> bytes;
    const auto put = [&bytes](std::uint64_t value, unsigned size) {
        for (unsigned i = 0; i < size; ++i) {
            bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
        }
    };
    put(types, 4);
    put(mask, 2);
    put(unclassified, 2);
    for (const std::uint16_t pair : table) {
        put(pair, 2);
    }
    put(transmit_queues, 2);
    put(key_bytes, 1);
    for (unsigned i = 0; i < key_bytes; ++i) {
        put(i + 1, 1);
    }
    return bytes;
}

TEST_P(VirtioNetTest, SteeringIsOfferedWhereThePortCan) {
    create(2);
    EXPECT_EQ(bench_->offered() & feature::rss, 0U);
    EXPECT_EQ(bench_->read(0x2011, 1), 0U);
    ports_[0].steers = true;
    create(1);
    EXPECT_EQ(bench_->offered() & feature::rss, 0U);
    create(2);
    EXPECT_EQ(bench_->offered() & feature::rss, feature::rss);
    EXPECT_EQ(bench_->read(0x2011, 1), 40U);
    EXPECT_EQ(bench_->read(0x2012, 2), 128U);
    EXPECT_EQ(bench_->read(0x2014, 4), 0x3FU);
}

TEST_P(VirtioNetTest, SteeringRulesReachThePortUntilPairsAreSetOrReset) {
    ports_[0].steers = true;
    start(feature::ctrl_vq | feature::mq | feature::rss, 3);
    const auto config = rss_config(0x3F, 3, 1, {0, 2, 1, 2}, 3, 40);
    EXPECT_EQ(command(net::control::mq_rss_config, config), 0U);
    on_worker([&] {
        ASSERT_TRUE(ports_[0].rules.has_value());
        EXPECT_EQ(ports_[0].rules->hash_types, 0x3FU);
        EXPECT_EQ(ports_[0].rules->unclassified, 1);
        EXPECT_EQ(ports_[0].rules->table, (std::vector<std::uint16_t>{0, 2, 1, 2}));
        EXPECT_EQ(ports_[0].rules->key.front(), 1);
        EXPECT_EQ(ports_[0].rules->key.back(), 40);
        EXPECT_TRUE(ports_[2].attached);
    });
    EXPECT_EQ(command(net::control::mq_rss_config, rss_config(1, 0, 0, {1}, 1, 4)), 0U);
    on_worker([&] {
        EXPECT_EQ(ports_[0].rules->key[3], 4);
        EXPECT_EQ(ports_[0].rules->key[4], 0);
        EXPECT_TRUE(ports_[1].attached);
        EXPECT_FALSE(ports_[2].attached);
    });
    bench_->write_config(pci::config::command, 2, 2);  // a pause: the rules come back with it
    on_worker([&] { EXPECT_FALSE(ports_[0].rules.has_value()); });
    bench_->write_config(pci::config::command, 2, 6);
    on_worker([&] { EXPECT_TRUE(ports_[0].rules.has_value()); });
    EXPECT_EQ(command(net::control::mq_pairs_set, {2, 0}), 0U);
    on_worker([&] { EXPECT_FALSE(ports_[0].rules.has_value()); });
    EXPECT_EQ(command(net::control::mq_rss_config, config), 0U);
    bench_->set_status(0);
    on_worker([&] { EXPECT_FALSE(ports_[0].rules.has_value()); });
    bench_.reset();
    start(feature::ctrl_vq | feature::mq | feature::rss, 3);
    on_worker([&] { EXPECT_FALSE(ports_[0].rules.has_value()); });
}

TEST_P(VirtioNetTest, SteeringWithoutMultiqueueHasTheControlQueueBehindAllPairs) {
    ports_[0].steers = true;
    create(3);
    features_ = GetParam() | feature::ctrl_vq | feature::rss;
    ASSERT_TRUE(bench_->negotiate(features_));
    control_ = 6;
    for (std::uint16_t queue = 0; queue <= control_; ++queue) {
        add_queue(queue);
    }
    bench_->drive();
    EXPECT_EQ(command(net::control::mq_rss_config, rss_config(1, 0, 0, {1}, 1, 40)), 0U);
    EXPECT_EQ(command(net::control::mq_pairs_set, {2, 0}), 1U);
    give_buffer(1, 2048, 2);
    settle();
    on_worker([&] { ports_[1].come(frame_of(60)); });
    EXPECT_EQ(used(2).written, sizeof(NetHeader) + 60);
}

TEST_P(VirtioNetTest, Class4_SteeringRulesThatLieAreErrorsAndChangeNothing) {
    ports_[0].steers = true;
    start(feature::ctrl_vq | feature::mq | feature::rss, 3);
    const auto good = rss_config(0x3F, 1, 0, {0, 1}, 2, 40);
    EXPECT_EQ(command(net::control::mq_rss_config, good), 0U);
    const auto refused = [this](const std::vector<std::uint8_t>& config) {
        return command(net::control::mq_rss_config, config) == 1;
    };
    EXPECT_TRUE(refused(rss_config(0x40, 1, 0, {0, 1}, 2, 40)));  // no such hash
    EXPECT_TRUE(refused(rss_config(1, 2, 0, {0, 1, 0}, 2, 40)));  // no power of two
    EXPECT_TRUE(refused(rss_config(1, 0xFFFF, 0, {0, 1, 0}, 2, 40)));
    EXPECT_TRUE(refused(rss_config(1, 255, 0, std::vector<std::uint16_t>(256), 2, 40)));
    EXPECT_TRUE(refused(rss_config(1, 1, 3, {0, 1}, 2, 40)));  // no such pair
    EXPECT_TRUE(refused(rss_config(1, 1, 0, {0, 3}, 2, 40)));
    EXPECT_TRUE(refused(rss_config(1, 1, 0, {0, 0x8001}, 2, 40)));  // a reserved bit
    EXPECT_TRUE(refused(rss_config(1, 1, 0, {0, 1}, 0, 40)));
    EXPECT_TRUE(refused(rss_config(1, 1, 0, {0, 1}, 4, 40)));
    EXPECT_TRUE(refused(rss_config(1, 1, 0, {0, 1}, 2, 41)));
    EXPECT_TRUE(refused(rss_config(1, 1, 0, {0, 1}, 2, 0)));  // a hash without a key
    for (std::size_t bytes = 0; bytes < good.size(); ++bytes) {
        const auto end = good.begin() + static_cast<std::ptrdiff_t>(bytes);
        EXPECT_TRUE(refused({good.begin(), end})) << bytes;
    }
    on_worker([&] { ports_[0].refuses_rules = true; });
    EXPECT_TRUE(refused(good));
    on_worker([&] {
        EXPECT_EQ(ports_[0].rules->table, (std::vector<std::uint16_t>{0, 1}));
        ports_[0].refuses_rules = false;
    });
    EXPECT_EQ(command(net::control::mq_rss_config, rss_config(0, 0, 2, {0}, 1, 0)), 0U);
    const auto longest = rss_config(0x3F, 127, 0, std::vector<std::uint16_t>(128, 2), 3, 40);
    EXPECT_EQ(command(net::control::mq_rss_config, longest), 0U);
    on_worker([&] { EXPECT_EQ(ports_[0].rules->table.size(), 128U); });
}

TEST_P(VirtioNetTest, SteeringThatWasNotNegotiatedIsAnError) {
    ports_[0].steers = true;
    start(feature::ctrl_vq | feature::mq, 3);
    EXPECT_EQ(command(net::control::mq_rss_config, rss_config(1, 0, 0, {1}, 1, 40)), 1U);
}

TEST_P(VirtioNetTest, PollingSendsEveryFrameAndEndsWithAReset) {
    create(1, {.mac = mac, .poll_ns_max = 1'000'000});
    start();
    constexpr std::size_t frames = 300;
    for (std::size_t i = 0; i < frames; ++i) {
        ASSERT_TRUE(passes_out(frame_of(60, static_cast<std::uint8_t>(i))));
    }
    EXPECT_EQ(sent(), frames);
    bench_->set_status(0);
}

TEST_P(VirtioNetTest, CountsFramesBytesAndWhatWasLost) {
    start();
    EXPECT_TRUE(passes_out(frame_of(100)));
    EXPECT_FALSE(passes_out(frame_of(13)));
    EXPECT_TRUE(passes_in(mac));
    const auto reports = bench_->transport->device().report();
    ASSERT_EQ(reports.size(), 2U);
    EXPECT_EQ(reports[0].requests, 1U);
    EXPECT_EQ(reports[0].bytes, 60U);
    EXPECT_EQ(reports[1].requests, 2U);
    EXPECT_EQ(reports[1].bytes, 100U);
    EXPECT_EQ(reports[1].errors, 1U);
    EXPECT_GE(reports[1].kicks, 1U);
}

TEST_P(VirtioNetTest, TheControlQueueIsTheThirdWithoutMultiqueue) {
    start(feature::ctrl_vq | feature::ctrl_rx, 3);
    EXPECT_EQ(control_, 2);
    EXPECT_EQ(command(net::control::rx_promisc, {1}), 0U);
    settle();  // a batch is counted once it is shown
    const auto reports = bench_->transport->device().report();
    ASSERT_EQ(reports.size(), 3U);
    EXPECT_EQ(reports[2].index, 2U);
    EXPECT_EQ(reports[2].requests, 1U);
    EXPECT_EQ(reports[2].bytes, 4U);  // two of the command, one of its data, the answer
    EXPECT_GE(reports[2].kicks, 1U);
    EXPECT_EQ(reports[2].interrupts + reports[2].suppressed, 1U);
    EXPECT_EQ(reports[2].latency.total(), 1U);
}

TEST_P(VirtioNetTest, ALinkThatGoesIsAConfigurationChange) {
    start(feature::status);
    const std::uint64_t generation = bench_->read(virtio::pci_layout::common::config_generation, 1);
    on_worker([&] { ports_[0].set_link(false); });
    EXPECT_EQ(bench_->read(0x2006, 2), 0U);
    bench_->loop->run_once(failure_ms);
    EXPECT_NE(bench_->read(virtio::pci_layout::common::config_generation, 1), generation);
    on_worker([&] { ports_[0].set_link(true); });
    EXPECT_EQ(bench_->read(0x2006, 2), 1U);
}

TEST_P(VirtioNetTest, Class2_ResetsUnderTrafficLeaveNoWorkBehind) {
    for (int round = 0; round < 30; ++round) {
        start(feature::mrg_rxbuf | feature::ctrl_vq | feature::ctrl_rx);
        for (std::uint64_t i = 0; i < 8; ++i) {
            give_buffer(i, 1600);
        }
        on_worker([&] { ports_[0].room = round % 3 == 0 ? 2 : ~0U; });
        for (int i = 0; i < 6; ++i) {
            transmit(frame_of(60), sizeof(NetHeader) + 60);
        }
        worker_->loop().post([this] {
            event::MutexLock lock(worker_->monitor());
            for (int i = 0; i < 20; ++i) {
                ports_[0].come(frame_of(300));
            }
        });
        if (round % 2 == 0) {
            bench_->set_status(0);
        } else {
            event::MutexLock lock(bench_->monitor);
            bench_->transport->reset();
            bench_->place();
        }
        on_worker([&] {
            EXPECT_EQ(ports_[0].events, nullptr);
            ports_[0].incoming.clear();
        });
        ASSERT_TRUE(bench_->memory->discard_all());
    }
}

TEST_P(VirtioNetTest, WhatTheDriverChoseOutlivesAPause) {
    start(feature::ctrl_vq | feature::ctrl_rx);
    EXPECT_EQ(command(net::control::rx_promisc, {0}), 0U);
    give_buffer(1, 2048);
    settle();
    bench_->write_config(pci::config::command, 2, 2);  // no bus mastering
    on_worker([&] { EXPECT_EQ(ports_[0].events, nullptr); });
    used(0);  // the buffer that was held came back
    bench_->write_config(pci::config::command, 2, 6);
    EXPECT_FALSE(passes_in({2, 0, 0, 0, 0, 9}));
    EXPECT_TRUE(passes_in(mac));
}

TEST_P(VirtioNetTest, AQueueCanBeResetAndStartedAgain) {
    start(virtio::feature::ring_reset | feature::mrg_rxbuf);
    give_buffer(1, 2048);
    settle();
    using namespace virtio::pci_layout;
    bench_->write(common::queue_select, 2, 0);
    bench_->write(common::queue_reset, 2, 1);
    add_queue(0);
    give_buffer(2, 2048);
    settle();
    on_worker([&] { ports_[0].come(frame_of(60)); });
    EXPECT_EQ(used(0).token, 2U);
}

INSTANTIATE_TEST_SUITE_P(Rings, VirtioNetTest,
                         ::testing::Values(version_1, version_1 | ring_packed,
                                           version_1 | virtio::feature::event_idx |
                                               virtio::feature::in_order));

}  // namespace
}  // namespace cupule::device
