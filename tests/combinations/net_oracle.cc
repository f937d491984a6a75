#include <gtest/gtest.h>

#include "device/network/virtio_net.h"
#include "device/network/virtio_net_registers.h"
#include "oracle.h"
#include "testing/fake_net_port.h"

namespace cupule::testing {
namespace {

using backend::NetHeader;
using Frame = FakeNetPort::Frame;
namespace feature = device::net::feature;
namespace control = device::net::control;

constexpr device::MacAddress mac{0x00, 0x16, 0x3E, 9, 8, 7};
constexpr std::size_t frame_bytes_min = 14;
constexpr std::size_t frame_bytes_max = 1400;

/// Frames of random length and contents both ways, on every pair; the card's other end is a port of
/// the test.
class NetOracle : public Oracle {
  public:
    NetOracle() {
        for (FakeNetPort& port : ports_) {
            port.can = {.checksum = true, .tso4 = true, .tso6 = true};
        }
    }

    std::unique_ptr<virtio::Device> make(unsigned units, memory::GuestMemory& /*memory*/) override {
        std::vector<device::NetPairPowers> pairs;
        for (unsigned i = 0; i < units; ++i) {
            worker_->call([&] {
                ports_[i].sent.clear();
                ports_[i].incoming.clear();
            });
            pairs.push_back({.port = ports_[i], .worker = *worker_});
        }
        return std::make_unique<device::VirtioNet>(device::VirtioNetSpec{.mac = mac}, pairs);
    }

    std::vector<Meeting> meetings() const override {
        const std::uint64_t offloads =
            feature::csum | feature::guest_csum | feature::host_tso4 | feature::guest_tso4;
        const std::uint64_t usual = feature::mac | feature::status | feature::ctrl_vq |
                                    feature::ctrl_rx | feature::ctrl_mac_addr;
        return {{.units = 1, .features = 0, .queues = 2},
                {.units = 1, .features = feature::mrg_rxbuf | feature::csum, .queues = 2},
                {.units = 1, .features = usual | feature::mrg_rxbuf | offloads, .queues = 3},
                {.units = 3, .features = usual | feature::mq, .queues = 7},
                {.units = 3,
                 .features = usual | feature::mq | feature::mrg_rxbuf | offloads,
                 .queues = 7}};
    }

    void introduce(Guest& guest, const Meeting& meeting) override {
        if (guest.agreed(feature::mq)) {
            command(guest, meeting, control::mq_pairs_set,
                    {static_cast<std::uint8_t>(meeting.units), 0});
        }
    }

    void exchange(Guest& guest, const Meeting& meeting) override {
        if (guest.agreed(feature::ctrl_rx)) {
            command(guest, meeting, control::rx_allmulti,
                    {static_cast<std::uint8_t>(guest.random(2))});
        }
        for (unsigned round = 0; round < 3; ++round) {
            for (unsigned pair = 0; pair < meeting.units; ++pair) {
                send(guest, pair);
                receive(guest, pair);
            }
        }
    }

  private:
    void command(Guest& guest, const Meeting& meeting, std::uint16_t which,
                 std::initializer_list<std::uint8_t> data) {
        std::vector<std::byte> out{static_cast<std::byte>(which >> 8),
                                   static_cast<std::byte>(which)};
        for (const std::uint8_t byte : data) {
            out.push_back(std::byte{byte});
        }
        const auto queue = static_cast<std::uint16_t>(meeting.queues - 1);
        EXPECT_EQ(guest.request(queue, out, 1), std::vector{std::byte{control::ok}});
    }

    static Frame make_frame(Guest& guest) {
        const std::size_t bytes = frame_bytes_min + guest.random(frame_bytes_max - frame_bytes_min);
        Frame frame(sizeof(NetHeader) + bytes, 0);
        for (std::size_t i = sizeof(NetHeader); i < frame.size(); ++i) {
            frame[i] = static_cast<std::uint8_t>(guest.random(256));
        }
        std::ranges::copy(mac, frame.begin() + sizeof(NetHeader));
        return frame;
    }

    void send(Guest& guest, unsigned pair) {
        const auto queue = static_cast<std::uint16_t>(2 * pair + 1);
        std::vector<Frame> frames;
        for (unsigned i = 0; i < 5; ++i) {
            Frame frame = make_frame(guest);
            if (guest.agreed(feature::csum) && frame.size() > 100 && guest.random(2) == 0) {
                NetHeader header{.flags = device::net::header::needs_csum,
                                 .checksum_start = 34,
                                 .checksum_offset = 16};
                std::memcpy(frame.data(), &header, sizeof header);
            }
            if (guest.ask(queue, std::as_bytes(std::span(frame)), 0)) {
                frames.push_back(std::move(frame));
            }
        }
        EXPECT_FALSE(frames.empty());
        guest.kick(queue);
        while (guest.outstanding(queue) != 0 && !::testing::Test::HasFailure()) {
            guest.wait(queue);
        }
        worker_->call([&] {
            EXPECT_EQ(ports_[pair].sent, frames);
            ports_[pair].sent.clear();
        });
    }

    void receive(Guest& guest, unsigned pair) {
        const auto queue = static_cast<std::uint16_t>(2 * pair);
        const bool merge = guest.agreed(feature::mrg_rxbuf);
        const auto room = [&] { return merge ? 800 + guest.random(1200) : std::uint32_t{2048}; };
        while (guest.ask(queue, {}, room())) {
        }
        guest.kick(queue);
        // Two buffers of the smallest size hold the longest frame; a ring of indirect tables or
        // short chains holds more.
        std::vector<Frame> frames;
        const std::uint32_t fit = guest.outstanding(queue) / (merge ? 2 : 1);
        for (unsigned i = 0; i < std::min<std::uint32_t>(fit, 4); ++i) {
            frames.push_back(make_frame(guest));
        }
        worker_->call([&] {
            for (const Frame& frame : frames) {
                ports_[pair].come(frame);
            }
        });
        for (const Frame& frame : frames) {
            std::vector<std::byte> got = guest.wait(queue).bytes;
            const auto header = structure_in<NetHeader>(got);
            EXPECT_GE(header.buffers, 1);
            for (unsigned more = 1; more < header.buffers && !::testing::Test::HasFailure();
                 ++more) {
                append(got, guest.wait(queue).bytes);
            }
            EXPECT_EQ(got.size(), frame.size());
            const auto contents = std::as_bytes(std::span(frame)).subspan(sizeof(NetHeader));
            EXPECT_TRUE(got.size() == frame.size() &&
                        std::ranges::equal(std::span(got).subspan(sizeof(NetHeader)), contents));
            if (::testing::Test::HasFailure()) {
                return;
            }
        }
    }

    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("net");
    std::array<FakeNetPort, 3> ports_;
};

}  // namespace

std::unique_ptr<Oracle> make_net_oracle() {
    return std::make_unique<NetOracle>();
}

}  // namespace cupule::testing
