// Any bytes as headers, frames and control commands (steering rules among them) of a network card
// with two pairs of queues, modern or legacy, and as frames that come from outside. The chains
// themselves are sound: fuzz_virtqueue has the others.

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "device/network/virtio_net.h"
#include "request_fuzzer.h"
#include "testing/fake_net_port.h"

namespace {

using namespace cupule;

/// Checks what the card promises a port.
class CheckingPort : public testing::FakeNetPort {
  public:
    Sent send(std::span<const iovec> frame) override {
        CUPULE_ASSERT(frame.front().iov_len == sizeof(backend::NetHeader));
        const Sent result = FakeNetPort::send(frame);
        if (!sent.empty()) {
            const auto bytes = sent.back().size();
            CUPULE_ASSERT(bytes >= sizeof(backend::NetHeader) + 14 &&
                          bytes <= backend::net_frame_bytes_max);
            sent.clear();
        }
        return result;
    }
    bool steer(const backend::ReceiveSteering* now) override {
        if (now != nullptr) {
            const auto known = [](std::uint16_t pair) { return pair < 2; };
            CUPULE_ASSERT(std::has_single_bit(now->table.size()) && now->table.size() <= 128);
            CUPULE_ASSERT(std::ranges::all_of(now->table, known) && known(now->unclassified));
            CUPULE_ASSERT((now->hash_types & ~backend::hash_type::all) == 0);
        }
        return FakeNetPort::steer(now);
    }
};

struct Card {
    std::array<CheckingPort, 2> ports;
    std::unique_ptr<event::Worker> worker = *event::Worker::create("fuzz");
    std::unique_ptr<fuzz::RequestFuzzer> fuzzer;

    Card() {
        std::vector<device::NetPairPowers> pairs;
        for (CheckingPort& port : ports) {
            port.can = {.checksum = true, .tso4 = true, .tso6 = true, .tso_ecn = true, .uso = true};
            port.steers = true;
            pairs.push_back({.port = port, .worker = *worker});
        }
        const device::VirtioNetSpec spec{.mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500};
        fuzzer = std::make_unique<fuzz::RequestFuzzer>(
            std::make_unique<device::VirtioNet>(spec, pairs), *worker, std::uint16_t{5},
            virtio::PciTransportModel::transitional);
    }

    void outside(fuzz::Input& input) {
        const auto choice = input.take<std::uint8_t>();
        CheckingPort& port = ports[choice & 1];
        switch (choice >> 1 & 3) {
            case 0:
                return port.make_room(choice >> 3);
            case 1:
                return port.set_link((choice & 8) != 0);
            default:
                break;
        }
        const auto bytes = input.take<std::uint16_t>();
        std::vector<std::uint8_t> frame(sizeof(backend::NetHeader) + 14 + bytes);
        const auto head = input.bytes(18);
        std::memcpy(frame.data() + sizeof(backend::NetHeader), head.data(),
                    std::min(head.size(), std::size_t{14}));
        if (port.incoming.size() < 64) {
            port.come(std::move(frame));
        }
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Card card;
    fuzz::Input input(data, size);
    for (CheckingPort& port : card.ports) {
        port.incoming.clear();
        port.room = ~0U;
    }
    card.fuzzer->run(input, [](fuzz::Input& rest) { card.outside(rest); });
    return 0;
}
