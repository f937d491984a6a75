// Any bytes as what a guest gives a balloon: page numbers, pages in buffers, statistics. Whatever
// it says, only whole pages of its RAM go back to the host. The chains themselves are sound:
// fuzz_virtqueue has the others.

#include <memory>

#include "device/platform/virtio_balloon.h"
#include "request_fuzzer.h"

namespace {

using namespace cupule;

struct Balloon {
    std::unique_ptr<event::Worker> worker = *event::Worker::create("fuzz");
    /// The fuzzer's own memory is made with it: this is of the same shape.
    std::unique_ptr<memory::GuestMemory> memory =
        *memory::GuestMemory::create({.pieces = {{{0}, testing::VirtioPciBench::ram_size}},
                                      .huge_pages = memory::HugePages::never});
    device::VirtioBalloon* device = nullptr;
    std::unique_ptr<fuzz::RequestFuzzer> fuzzer;

    Balloon() {
        const device::VirtioBalloonSpec spec{.statistics_period_ns = 1'000'000};
        auto made = std::make_unique<device::VirtioBalloon>(spec, *memory, *worker);
        device = made.get();
        fuzzer = std::make_unique<fuzz::RequestFuzzer>(std::move(made), *worker, std::uint16_t{5});
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Balloon balloon;
    fuzz::Input input(data, size);
    balloon.fuzzer->run(input, [](fuzz::Input& rest) {
        rest.take<std::uint8_t>();
        CUPULE_ASSERT(balloon.device->statistics_text().size() < 1000);
    });
    return 0;
}
