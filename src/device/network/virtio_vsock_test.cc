#include "device/network/virtio_vsock.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "testing/fake_stream_host.h"
#include "testing/virtio_fixture.h"
#include "virtio/features.h"

namespace cupule::device {
namespace {

using testing::FakeStreamEnd;
using testing::FakeStreamHost;
using testing::VirtioDriver;
using virtio::feature::ring_packed;
using virtio::feature::version_1;
using vsock::Header;
namespace operation = vsock::operation;
namespace will_not = vsock::will_not;

constexpr std::uint32_t guest_cid = 5;
constexpr std::uint64_t data_at = 1 << 20;
constexpr std::uint64_t place_bytes = 0x2'0000;
constexpr std::uint32_t buffer_bytes = 4096 + sizeof(Header);
constexpr std::uint32_t guest_buffer = 64 * 1024;
constexpr std::uint16_t receive = 0;
constexpr std::uint16_t transmit = 1;

struct Packet {
    Header header{};
    std::string data{};
};

/// A guest with one end of each connection; the test plays the programs of the host as well.
class VirtioVsockTest : public testing::VirtioFixture<std::uint64_t> {
  protected:
    VirtioVsockTest() {
        host_.served = {80};
        ring_size_ = 32;
        bench_ = std::make_unique<testing::VirtioPciBench>(
            std::make_unique<VirtioVsock>(guest_cid, host_, *worker_));
    }
    void start() { drive(GetParam(), 3); }
    void give(std::uint32_t buffers = 1, std::uint32_t bytes = buffer_bytes) {
        for (std::uint32_t i = 0; i < buffers; ++i) {
            const std::uint64_t token = next_++ % 16;
            submit(receive,
                   {.address = {data_at + place_bytes * token}, .length = bytes, .writable = true},
                   token);
        }
    }
    /// What the device says in the next buffer.
    Packet heard() {
        const auto got = used(receive);
        std::string bytes(got.written, 0);
        EXPECT_TRUE(bench_->memory->read({data_at + place_bytes * got.token},
                                         std::as_writable_bytes(std::span(bytes))));
        Packet packet;
        EXPECT_GE(bytes.size(), sizeof packet.header);
        std::memcpy(&packet.header, bytes.data(), std::min(bytes.size(), sizeof packet.header));
        packet.data = bytes.substr(std::min(bytes.size(), sizeof packet.header));
        EXPECT_EQ(packet.header.source_cid, vsock::host_cid);
        EXPECT_EQ(packet.header.target_cid, guest_cid);
        EXPECT_EQ(packet.header.length, packet.data.size());
        return packet;
    }
    Packet ask() {
        give();
        return heard();
    }

    void say(std::uint16_t what, std::string_view data = {}, std::uint32_t flags = 0) {
        say_all({.source_cid = guest_cid,
                 .target_cid = vsock::host_cid,
                 .source_port = port_,
                 .target_port = peer_,
                 .length = static_cast<std::uint32_t>(data.size()),
                 .type = vsock::type_stream,
                 .operation = what,
                 .flags = flags,
                 .buffer_bytes = guest_buffer_,
                 .forwarded_bytes = forwarded_},
                data);
    }
    void say_all(const Header& header, std::string_view data = {}) {
        std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
        bytes += data;
        const memory::GuestAddress at{data_at + place_bytes * 20};
        ASSERT_TRUE(bench_->memory->write(at, std::as_bytes(std::span(bytes))));
        submit(transmit, {.address = at, .length = static_cast<std::uint32_t>(bytes.size())});
        used(transmit);
    }
    /// From the guest to port 80; the program's end.
    FakeStreamEnd& connect() {
        say(operation::request);
        EXPECT_EQ(ask().header.operation, operation::response);
        return *host_.ends.back();
    }

    FakeStreamHost host_;
    std::uint64_t next_ = 0;
    // The guest's end.
    std::uint32_t port_ = 1000;
    std::uint32_t peer_ = 80;
    std::uint32_t guest_buffer_ = guest_buffer;
    std::uint32_t forwarded_ = 0;
};

TEST_P(VirtioVsockTest, ShowsTheGuestsAddress) {
    EXPECT_EQ(bench_->read(0x2000, 8), guest_cid);
    EXPECT_EQ(bench_->read(0x2000, 4), guest_cid);
    EXPECT_EQ(bench_->read(0x2004, 4), 0U);
}

TEST_P(VirtioVsockTest, AGuestReachesAProgramAndBytesGoBothWays) {
    start();
    say(operation::request);
    const Packet answer = ask();
    EXPECT_EQ(answer.header.operation, operation::response);
    EXPECT_EQ(answer.header.source_port, 80U);
    EXPECT_EQ(answer.header.target_port, 1000U);
    EXPECT_EQ(answer.header.type, vsock::type_stream);
    EXPECT_EQ(answer.header.buffer_bytes, VsockConnection::buffer_bytes);
    say(operation::data, "to the host");
    give();
    on_worker([&] {
        EXPECT_EQ(host_.ends[0]->written, "to the host");
        host_.ends[0]->send("to the guest");
    });
    const Packet data = heard();
    EXPECT_EQ(data.header.operation, operation::data);
    EXPECT_EQ(data.header.forwarded_bytes, 11U);
    EXPECT_EQ(data.data, "to the guest");
}

TEST_P(VirtioVsockTest, APortThatNobodyServesIsReset) {
    start();
    peer_ = 81;
    say(operation::request);
    const Packet answer = ask();
    EXPECT_EQ(answer.header.operation, operation::reset);
    EXPECT_EQ(answer.header.source_port, 81U);
    EXPECT_EQ(answer.header.target_port, 1000U);
}

TEST_P(VirtioVsockTest, AProgramOfTheHostReachesTheGuest) {
    start();
    on_worker([&] { EXPECT_TRUE(host_.call(7003)); });
    const Packet request = ask();
    EXPECT_EQ(request.header.operation, operation::request);
    EXPECT_EQ(request.header.target_port, 7003U);
    port_ = 7003;
    peer_ = request.header.source_port;
    on_worker([&] {
        host_.ends[0]->send("early");
        EXPECT_EQ(host_.ends[0]->accepted_at, 0U);
    });
    give();
    EXPECT_TRUE(silent(receive));
    say(operation::response);
    on_worker([&] {
        EXPECT_EQ(host_.ends[0]->accepted_at, peer_);
        host_.ends[0]->tell();
    });
    EXPECT_EQ(heard().data, "early");
}

TEST_P(VirtioVsockTest, AGuestThatRefusesEndsTheCall) {
    start();
    on_worker([&] { host_.call(7003); });
    port_ = 7003;
    peer_ = ask().header.source_port;
    say(operation::reset);
    on_worker([&] {
        EXPECT_TRUE(host_.ends[0]->destroyed);
        EXPECT_EQ(host_.ends[0]->accepted_at, 0U);
    });
    give();
    EXPECT_TRUE(silent(receive));
}

TEST_P(VirtioVsockTest, CallsAreRefusedWhereNoDriverRuns) {
    on_worker([&] { EXPECT_FALSE(host_.call(7003)); });
    start();
    on_worker([&] { EXPECT_TRUE(host_.call(7003)); });
    bench_->set_status(0);
    on_worker([&] {
        EXPECT_TRUE(host_.ends[0]->destroyed);
        EXPECT_FALSE(host_.call(7003));
    });
}

TEST_P(VirtioVsockTest, TheHostGetsNoMoreThanTheGuestCanHold) {
    start();
    guest_buffer_ = 10;
    FakeStreamEnd& end = connect();
    on_worker([&] { end.send("0123456789abcdef"); });
    EXPECT_EQ(ask().data, "0123456789");
    EXPECT_EQ(ask().header.operation, operation::credit_request);
    give();
    on_worker([&] { end.tell(); });
    EXPECT_TRUE(silent(receive));
    forwarded_ = 4;
    say(operation::credit_update);
    on_worker([&] { end.tell(); });
    EXPECT_EQ(heard().data, "abcd");
    // A guest that says it took more than there was has no room.
    forwarded_ = 100;
    say(operation::credit_update);
    give();
    on_worker([&] { end.tell(); });
    EXPECT_EQ(heard().header.operation, operation::credit_request);
    give();
    EXPECT_TRUE(silent(receive));
}

TEST_P(VirtioVsockTest, WhatAProgramDoesNotTakeWaitsAndTheGuestHearsWhenItWent) {
    start();
    FakeStreamEnd& end = connect();
    on_worker([&] { end.room = 10; });
    const std::string piece(60'000, 'a');
    say(operation::data, piece);
    say(operation::data, piece);
    give();
    EXPECT_TRUE(silent(receive));
    on_worker([&] {
        EXPECT_EQ(end.written.size(), 10U);
        end.make_room(100'000);
    });
    const Packet update = heard();
    EXPECT_EQ(update.header.operation, operation::credit_update);
    EXPECT_EQ(update.header.forwarded_bytes, 100'010U);
    on_worker([&] {
        end.make_room(100'000);
        EXPECT_EQ(end.written, piece + piece);
    });
}

TEST_P(VirtioVsockTest, AGuestThatSendsMoreThanThereIsRoomForIsReset) {
    start();
    FakeStreamEnd& end = connect();
    on_worker([&] { end.room = 0; });
    const std::string piece(60'000, 'a');
    say(operation::data, piece);
    say(operation::data, piece);
    say(operation::data, piece);
    EXPECT_EQ(ask().header.operation, operation::reset);
    on_worker([&] { EXPECT_TRUE(end.destroyed); });
}

TEST_P(VirtioVsockTest, EachSideClosesItsHalf) {
    start();
    FakeStreamEnd& end = connect();
    say(operation::shutdown, {}, will_not::send);
    give();
    on_worker([&] {
        EXPECT_TRUE(end.writing_ended);
        EXPECT_FALSE(end.reading_ended);
        end.send("still here");
    });
    EXPECT_EQ(heard().data, "still here");
    give();
    on_worker([&] { end.end(); });
    const Packet last = heard();
    EXPECT_EQ(last.header.operation, operation::shutdown);
    EXPECT_EQ(last.header.flags, will_not::send);
    say(operation::shutdown, {}, will_not::both);
    EXPECT_EQ(ask().header.operation, operation::reset);
    on_worker([&] { EXPECT_TRUE(end.destroyed); });
}

TEST_P(VirtioVsockTest, AProgramThatClosesSaysBothHalves) {
    start();
    FakeStreamEnd& end = connect();
    give();
    on_worker([&] {
        end.incoming = "last words";
        end.close();
    });
    EXPECT_EQ(heard().data, "last words");
    const Packet last = ask();
    EXPECT_EQ(last.header.operation, operation::shutdown);
    EXPECT_EQ(last.header.flags, will_not::both);
    say(operation::data, "too late");
    say(operation::reset);
    give();
    EXPECT_TRUE(silent(receive));
    on_worker([&] { EXPECT_TRUE(end.destroyed); });
}

TEST_P(VirtioVsockTest, WhatAGuestSentBeforeItClosedStillArrives) {
    start();
    FakeStreamEnd& end = connect();
    on_worker([&] { end.room = 4; });
    say(operation::data, "slowly read");
    say(operation::shutdown, {}, will_not::both);
    EXPECT_EQ(ask().header.operation, operation::reset);
    // The guest may use the port again at once.
    connect();
    on_worker([&] {
        EXPECT_FALSE(end.destroyed);
        end.make_room(100);
        EXPECT_EQ(end.written, "slowly read");
        EXPECT_TRUE(end.writing_ended);
        EXPECT_TRUE(end.destroyed);
    });
}

TEST_P(VirtioVsockTest, AResetOfTheGuestDropsAllAndGetsNoAnswer) {
    start();
    FakeStreamEnd& end = connect();
    on_worker([&] { end.room = 0; });
    say(operation::data, "never");
    say(operation::reset);
    give();
    EXPECT_TRUE(silent(receive));
    on_worker([&] { EXPECT_TRUE(end.destroyed); });
}

TEST_P(VirtioVsockTest, CreditIsToldToWhoAsks) {
    start();
    connect();
    say(operation::data, "12345");
    say(operation::credit_request);
    const Packet answer = ask();
    EXPECT_EQ(answer.header.operation, operation::credit_update);
    EXPECT_EQ(answer.header.forwarded_bytes, 5U);
}

TEST_P(VirtioVsockTest, WhatBelongsToNoConnectionIsReset) {
    start();
    for (const std::uint16_t what :
         {operation::response, operation::shutdown, operation::data, operation::credit_update,
          operation::credit_request, std::uint16_t{0}, std::uint16_t{77}}) {
        say(what);
        EXPECT_EQ(ask().header.operation, operation::reset) << what;
    }
    say(operation::reset);
    give();
    EXPECT_TRUE(silent(receive));
}

TEST_P(VirtioVsockTest, WhatMakesNoSenseEndsTheConnection) {
    for (const std::uint16_t what : {operation::request, operation::response, std::uint16_t{0}}) {
        bench_->set_status(0);
        next_ = 0;
        start();
        FakeStreamEnd& end = connect();
        say(what);
        EXPECT_EQ(ask().header.operation, operation::reset);
        on_worker([&] { EXPECT_TRUE(end.destroyed); });
    }
}

TEST_P(VirtioVsockTest, DataAfterItsEndEndsTheConnection) {
    start();
    FakeStreamEnd& end = connect();
    say(operation::shutdown, {}, will_not::send);
    say(operation::data, "more");
    EXPECT_EQ(ask().header.operation, operation::reset);
    on_worker([&] { EXPECT_EQ(end.written, ""); });
}

TEST_P(VirtioVsockTest, PacketsOfOthersAreDroppedAndThoseToOthersReset) {
    start();
    Header header{.source_cid = 6,
                  .target_cid = vsock::host_cid,
                  .source_port = 1,
                  .target_port = 80,
                  .type = vsock::type_stream,
                  .operation = operation::request};
    say_all(header);
    header = {.source_cid = guest_cid | 1ULL << 32,
              .target_cid = vsock::host_cid,
              .target_port = 80,
              .type = vsock::type_stream,
              .operation = operation::request};
    say_all(header);
    give();
    EXPECT_TRUE(silent(receive));
    header.source_cid = guest_cid;
    header.target_cid = 9;
    say_all(header);
    EXPECT_EQ(heard().header.operation, operation::reset);
    header.target_cid = vsock::host_cid;
    header.type = 2;  // SEQPACKET, which was not offered
    say_all(header);
    EXPECT_EQ(ask().header.operation, operation::reset);
}

TEST_P(VirtioVsockTest, ALengthBeyondThePacketIsDropped) {
    start();
    FakeStreamEnd& end = connect();
    Header header{.source_cid = guest_cid,
                  .target_cid = vsock::host_cid,
                  .source_port = port_,
                  .target_port = peer_,
                  .length = 5,
                  .type = vsock::type_stream,
                  .operation = operation::data,
                  .buffer_bytes = guest_buffer};
    say_all(header, "1234");
    header.length = ~0U;
    say_all(header, "1234");
    on_worker([&] { EXPECT_EQ(end.written, ""); });
    EXPECT_EQ(bench_->status(), 0x0F);
}

TEST_P(VirtioVsockTest, BuffersWithoutRoomComeBackEmpty) {
    start();
    say(operation::request);
    give(1, sizeof(Header));
    EXPECT_EQ(used(receive).written, 0U);
    EXPECT_EQ(ask().header.operation, operation::response);
}

TEST_P(VirtioVsockTest, ResetsWithoutBuffersAreBoundedAndTheGuestIsServed) {
    start();
    peer_ = 81;
    for (port_ = 1; port_ <= 1100; ++port_) {
        say(operation::request);
    }
    for (int i = 0; i < 1024; ++i) {
        ASSERT_EQ(ask().header.operation, operation::reset);
    }
    give();
    EXPECT_TRUE(silent(receive));
    peer_ = 80;
    say(operation::request);
    EXPECT_EQ(heard().header.operation, operation::response);
}

TEST_P(VirtioVsockTest, ConnectionsAreBounded) {
    start();
    for (std::size_t i = 0; i < VirtioVsock::connections_max; ++i) {
        ++port_;
        ASSERT_FALSE(connect().destroyed);
    }
    ++port_;
    say(operation::request);
    EXPECT_EQ(ask().header.operation, operation::reset);
    on_worker([&] {
        host_.call(9);
        EXPECT_TRUE(host_.ends.back()->destroyed);
    });
    --port_;
    say(operation::reset);
    connect();
}

TEST_P(VirtioVsockTest, ConnectionsTakeTurns) {
    start();
    FakeStreamEnd& first = connect();
    ++port_;
    FakeStreamEnd& second = connect();
    on_worker([&] {
        first.send(std::string(3 * 4096, '1'));
        second.send(std::string(2 * 4096, '2'));
    });
    std::string turns;
    for (int i = 0; i < 5; ++i) {
        turns += ask().data.substr(0, 1);
    }
    EXPECT_EQ(turns, "12121");
}

TEST_P(VirtioVsockTest, ConnectionsOutliveAPause) {
    start();
    FakeStreamEnd& end = connect();
    give();
    settle();
    bench_->write_config(pci::config::command, 2, 2);  // no bus mastering
    on_worker([&] { end.send("meanwhile"); });
    bench_->write_config(pci::config::command, 2, 6);
    Packet packet;
    // Buffers that came back without use may be in front.
    for (int i = 0; i < 3 && packet.data.empty(); ++i) {
        give();
        const auto got = used(receive);
        if (got.written != 0) {
            std::string bytes(got.written, 0);
            EXPECT_TRUE(bench_->memory->read({data_at + place_bytes * got.token},
                                             std::as_writable_bytes(std::span(bytes))));
            packet.data = bytes.substr(sizeof(Header));
        }
    }
    EXPECT_EQ(packet.data, "meanwhile");
}

TEST_P(VirtioVsockTest, AResetOfTheDeviceEndsAllConnections) {
    start();
    FakeStreamEnd& end = connect();
    bench_->set_status(0);
    on_worker([&] { EXPECT_TRUE(end.destroyed); });
    next_ = 0;
    start();
    connect();
}

INSTANTIATE_TEST_SUITE_P(Rings, VirtioVsockTest,
                         ::testing::Values(version_1, version_1 | ring_packed),
                         [](const auto& param_info) {
                             return (param_info.param & ring_packed) != 0 ? "Packed" : "Split";
                         });

}  // namespace
}  // namespace cupule::device
