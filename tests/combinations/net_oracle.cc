#include <gtest/gtest.h>

#include "backend/net_options.h"
#include "device/network/virtio_net.h"
#include "device/network/virtio_net_registers.h"
#include "oracle.h"
#include "steering_model.h"
#include "testing/fake_net_port.h"

namespace cupule::testing {
namespace {

using backend::NetHeader;
using Frame = FakeNetPort::Frame;
namespace feature = device::net::feature;
namespace control = device::net::control;

constexpr std::size_t frame_bytes_min = 14;
constexpr std::size_t frame_bytes_max = 1400;

/// Frames of random length and contents both ways, on every pair that the driver has chosen, or by
/// the rules it gave; the card's other end are ports of the test.
class NetOracle : public Oracle {
  public:
    NetOracle() {
        for (FakeNetPort& port : ports_) {
            port.can = {.checksum = true, .tso4 = true, .tso6 = true};
            port.steers = true;
        }
    }

    std::unique_ptr<virtio::Device> make(unsigned units, VirtioPciBench& /*bench*/) override {
        std::vector<device::NetPairPowers> pairs;
        for (unsigned i = 0; i < units; ++i) {
            on_port(i, [](FakeNetPort& port) {
                port.sent.clear();
                port.incoming.clear();
                port.attached = true;
            });
            pairs.push_back({.port = ports_[i], .worker = worker_of(i)});
        }
        return std::make_unique<device::VirtioNet>(device::VirtioNetSpec{.mac = card_mac}, pairs);
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
                 .queues = 7},
                {.units = 3, .features = usual | feature::rss, .queues = 7},
                {.units = 4,
                 .features = usual | feature::rss | feature::mq | feature::mrg_rxbuf,
                 .queues = 9},
                {.units = pairs_max,
                 .features = usual | feature::mq | feature::mrg_rxbuf,
                 .queues = 2 * pairs_max + 1}};
    }

    void introduce(Guest& guest, const Meeting& meeting) override {
        if (guest.agreed(feature::mac)) {
            for (std::size_t i = 0; i < card_mac.size(); ++i) {
                EXPECT_EQ(guest.read_config(i, 1), card_mac[i]);
            }
        }
        if (guest.agreed(feature::mq | feature::rss)) {
            EXPECT_EQ(guest.read_config(device::net::config::max_virtqueue_pairs, 2),
                      meeting.units);
        }
    }

    void exchange(Guest& guest, const Meeting& meeting) override {
        if (guest.agreed(feature::ctrl_rx)) {
            command<std::uint8_t>(guest, meeting, control::rx_allmulti,
                                  static_cast<std::uint8_t>(guest.random(2)));
        }
        for (unsigned round = 0; round < (meeting.units > 4 ? 1 : 3); ++round) {
            const unsigned pairs = choose_pairs(guest, meeting, round == 0);
            for (unsigned pair = 0; pair < pairs && !::testing::Test::HasFailure(); ++pair) {
                send(guest, pair);
                receive(guest, pair);
            }
            if (guest.agreed(feature::rss)) {
                steer(guest, meeting);
            }
        }
    }

  private:
    static constexpr std::uint16_t pairs_max = backend::net_queues_max;

    event::Worker& worker_of(std::size_t pair) { return *workers_[pair % workers_.size()]; }
    template <class Work>
    std::invoke_result_t<Work&, FakeNetPort&> on_port(std::size_t pair, Work work) {
        return worker_of(pair).call([&] { return work(ports_[pair]); });
    }

    template <class Data>
    void command(Guest& guest, const Meeting& meeting, std::uint16_t which, const Data& data) {
        std::vector<std::byte> out{static_cast<std::byte>(which >> 8),
                                   static_cast<std::byte>(which)};
        if constexpr (std::is_same_v<Data, std::vector<std::byte>>) {
            append(out, data);
        } else {
            append(out, bytes_of(data));
        }
        const auto queue = static_cast<std::uint16_t>(meeting.queues - 1);
        EXPECT_EQ(guest.request(queue, out, 1), std::vector{std::byte{control::ok}});
    }

    /// So many pairs, from the first one on, have frames now.
    void expect_attached(Guest& guest, const Meeting& meeting, unsigned pairs) {
        for (unsigned pair = 0; pair < meeting.units; ++pair) {
            const auto right = [&] {
                return on_port(pair, [](const FakeNetPort& port) { return port.attached; }) ==
                       (pair < pairs);
            };
            // A back end elsewhere hears of it after the driver.
            EXPECT_TRUE(guest.await(right)) << "pair " << pair << " of " << pairs;
        }
    }

    /// How many pairs the driver uses, which it tells the device.
    unsigned choose_pairs(Guest& guest, const Meeting& meeting, bool all) {
        if (!guest.agreed(feature::mq)) {
            return guest.agreed(feature::rss) ? 1 : meeting.units;
        }
        const unsigned pairs = all ? meeting.units : 1 + guest.random(meeting.units);
        command(guest, meeting, control::mq_pairs_set, static_cast<std::uint16_t>(pairs));
        expect_attached(guest, meeting, pairs);
        EXPECT_FALSE(rules_at_port()) << "the count ends what the hash decided";
        return pairs;
    }

    std::optional<backend::ReceiveSteering> rules_at_port() {
        return on_port(0, [](const FakeNetPort& port) { return port.rules; });
    }

    /// Frames come to the ports that the rules which the device gave them say, and to the driver by
    /// the pairs that its own rules say.
    void steer(Guest& guest, const Meeting& meeting) {
        const backend::ReceiveSteering wanted = random_rules(guest, meeting.units);
        command(guest, meeting, control::mq_rss_config, rules_command(wanted, meeting.units));
        unsigned last = wanted.unclassified;
        for (const unsigned pair : wanted.table) {
            last = std::max(last, pair);
        }
        expect_attached(guest, meeting, last + 1);
        const auto given = rules_at_port();
        ASSERT_TRUE(given);
        for (unsigned pair = 0; pair < meeting.units; ++pair) {
            give_room(guest, static_cast<std::uint16_t>(2 * pair));
        }
        for (unsigned i = 0; i < 8 && !::testing::Test::HasFailure(); ++i) {
            Frame frame(sizeof(NetHeader));
            const auto contents = random_packet(guest, card_mac);
            frame.insert(frame.end(), contents.begin(), contents.end());
            const std::size_t at = pair_by_tables(*given, contents);
            ASSERT_LT(at, meeting.units);
            on_port(at, [&](FakeNetPort& port) { port.come(frame); });
            const auto queue = static_cast<std::uint16_t>(2 * pair_by_definition(wanted, contents));
            expect_frame(guest, queue, frame);
            give_room(guest, queue);
        }
    }

    /// What a driver of the legacy interface leaves away at a header's end (5.1.6.1).
    static std::size_t header_bytes(const Guest& guest) {
        return guest.legacy() && !guest.agreed(feature::mrg_rxbuf)
                   ? device::net::header::legacy_bytes
                   : sizeof(NetHeader);
    }
    /// A frame as the driver has it in its memory.
    static std::vector<std::byte> as_driver_has_it(const Guest& guest, const Frame& frame) {
        const auto bytes = std::as_bytes(std::span(frame));
        std::vector<std::byte> result;
        append(result, bytes.first(header_bytes(guest)));
        append(result, bytes.subspan(sizeof(NetHeader)));
        return result;
    }

    static Frame make_frame(Guest& guest) {
        const std::size_t bytes = frame_bytes_min + guest.random(frame_bytes_max - frame_bytes_min);
        Frame frame(sizeof(NetHeader) + bytes, 0);
        for (std::size_t i = sizeof(NetHeader); i < frame.size(); ++i) {
            frame[i] = static_cast<std::uint8_t>(guest.random(256));
        }
        std::ranges::copy(card_mac, frame.begin() + sizeof(NetHeader));
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
            if (guest.ask(queue, as_driver_has_it(guest, frame), 0)) {
                frames.push_back(std::move(frame));
            }
        }
        EXPECT_FALSE(frames.empty());
        guest.kick(queue);
        while (guest.outstanding(queue) != 0 && !::testing::Test::HasFailure()) {
            guest.wait(queue);
        }
        on_port(pair, [&](FakeNetPort& port) {
            EXPECT_EQ(port.sent, frames);
            port.sent.clear();
        });
    }

    static void give_room(Guest& guest, std::uint16_t queue) {
        const bool merge = guest.agreed(feature::mrg_rxbuf);
        const auto room = [&] { return merge ? 800 + guest.random(1200) : std::uint32_t{2048}; };
        while (guest.ask(queue, {}, room())) {
        }
        guest.kick(queue);
    }

    /// The next frame that the driver has on a queue.
    static void expect_frame(Guest& guest, std::uint16_t queue, const Frame& frame) {
        std::vector<std::byte> got = guest.wait(queue).bytes;
        if (header_bytes(guest) == sizeof(NetHeader)) {
            const auto header = structure_in<NetHeader>(got);
            EXPECT_GE(header.buffers, 1);
            for (unsigned more = 1; more < header.buffers && !::testing::Test::HasFailure();
                 ++more) {
                append(got, guest.wait(queue).bytes);
            }
        }
        const std::size_t head = header_bytes(guest);
        const auto contents = std::as_bytes(std::span(frame)).subspan(sizeof(NetHeader));
        EXPECT_EQ(got.size(), head + contents.size());
        EXPECT_TRUE(got.size() >= head &&
                    std::ranges::equal(std::span(got).subspan(head), contents));
    }

    void receive(Guest& guest, unsigned pair) {
        const auto queue = static_cast<std::uint16_t>(2 * pair);
        // Over vhost-user a ring stops with its pair, and gives back unused what it had taken.
        while (const auto given_back = guest.look_for_answer(queue)) {
            EXPECT_TRUE(guest.agreed(feature::mq) && given_back->bytes.empty());
        }
        give_room(guest, queue);
        // Two buffers of the smallest size hold the longest frame; a ring of indirect tables or
        // short chains holds more.
        std::vector<Frame> frames;
        const std::uint32_t fit =
            guest.outstanding(queue) / (guest.agreed(feature::mrg_rxbuf) ? 2 : 1);
        for (unsigned i = 0; i < std::min<std::uint32_t>(fit, 4); ++i) {
            frames.push_back(make_frame(guest));
        }
        on_port(pair, [&](FakeNetPort& port) {
            for (const Frame& frame : frames) {
                port.come(frame);
            }
        });
        for (const Frame& frame : frames) {
            expect_frame(guest, queue, frame);
            if (::testing::Test::HasFailure()) {
                return;
            }
        }
    }

    std::array<std::unique_ptr<event::Worker>, 2> workers_{*event::Worker::create("net0"),
                                                           *event::Worker::create("net1")};
    std::array<FakeNetPort, pairs_max> ports_;
};

}  // namespace

std::unique_ptr<Oracle> make_net_oracle() {
    return std::make_unique<NetOracle>();
}

}  // namespace cupule::testing
