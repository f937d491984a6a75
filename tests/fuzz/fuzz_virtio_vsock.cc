// Any bytes as packets of a guest with sockets, and as what programs of the host do. The chains
// themselves are sound: fuzz_virtqueue has the others.

#include <algorithm>

#include "device/network/virtio_vsock.h"
#include "request_fuzzer.h"
#include "testing/fake_stream_host.h"

namespace {

using namespace cupule;

/// Ports 0 to 3 are served, so that any header soon meets one.
struct Sockets {
    testing::FakeStreamHost host;
    std::unique_ptr<event::Worker> worker = *event::Worker::create("fuzz");
    std::unique_ptr<fuzz::RequestFuzzer> fuzzer;

    Sockets() {
        host.served = {0, 1, 2, 3};
        fuzzer = std::make_unique<fuzz::RequestFuzzer>(
            std::make_unique<device::VirtioVsock>(0, host, *worker), *worker, std::uint16_t{3});
    }

    void outside(fuzz::Input& input) {
        const auto choice = input.take<std::uint8_t>();
        const auto count = input.take<std::uint16_t>();
        std::erase_if(host.ends, [](const auto& end) { return end->destroyed; });
        if (choice % 8 == 0 || host.ends.empty()) {
            host.call(choice >> 3 & 3);
            return;
        }
        const auto end = host.ends[(choice >> 3) % host.ends.size()];
        switch (choice % 8) {
            case 1:
                return end->end();
            case 2:
                return end->close();
            case 3:
                end->room = 0;
                end->written.clear();
                return;
            case 4:
                return end->make_room(count);
            default:
                break;
        }
        if (end->incoming.size() < 65'536) {
            end->send(std::string(count, 'x'));
        }
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Sockets sockets;
    fuzz::Input input(data, size);
    sockets.fuzzer->run(input, [](fuzz::Input& rest) { sockets.outside(rest); });
    CUPULE_ASSERT(
        std::ranges::all_of(sockets.host.ends, [](const auto& end) { return end->destroyed; }));
    sockets.host.ends.clear();
    return 0;
}
