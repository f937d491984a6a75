// Any bytes as control messages and data of a console with three ports, and as what its channels
// do. The chains themselves are sound: fuzz_virtqueue has the others.

#include <array>
#include <vector>

#include "device/serial/virtio_console.h"
#include "request_fuzzer.h"
#include "testing/fake_byte_channel.h"

namespace {

using namespace cupule;

struct Console {
    std::array<testing::FakeByteChannel, 3> channels;
    std::unique_ptr<event::Worker> worker = *event::Worker::create("fuzz");
    device::VirtioConsole* device = nullptr;
    std::unique_ptr<fuzz::RequestFuzzer> fuzzer;

    Console() {
        std::vector<device::ConsolePortPowers> ports;
        for (testing::FakeByteChannel& channel : channels) {
            ports.push_back(
                {.spec = {.name = "port", .console = ports.empty()}, .channel = channel});
        }
        auto made = std::make_unique<device::VirtioConsole>(ports, *worker);
        device = made.get();
        fuzzer = std::make_unique<fuzz::RequestFuzzer>(std::move(made), *worker, std::uint16_t{8});
    }

    void outside(fuzz::Input& input) {
        const auto choice = input.take<std::uint8_t>();
        testing::FakeByteChannel& channel = channels[choice % channels.size()];
        const auto count = input.take<std::uint16_t>();
        switch (choice >> 6) {
            case 0:
                return device->resize(count, choice);
            case 1:
                channel.room = 0;
                channel.written.clear();
                return channel.make_room(count);
            default:
                break;
        }
        if (channel.incoming.size() < 65'536) {
            channel.send(std::string(count, 'x'));
        }
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Console console;
    fuzz::Input input(data, size);
    for (testing::FakeByteChannel& channel : console.channels) {
        channel.incoming.clear();
        channel.written.clear();
        channel.room = 1 << 20;
    }
    console.fuzzer->run(input, [](fuzz::Input& rest) { console.outside(rest); });
    return 0;
}
