// Any buffers as requests to the entropy device. The chains themselves are sound: fuzz_virtqueue
// has the others.

#include <algorithm>
#include <memory>

#include "backend/entropy_source.h"
#include "device/platform/virtio_rnd.h"
#include "request_fuzzer.h"

namespace {

using namespace cupule;

/// Checks what the device asks for; sometimes has nothing.
class CheckingSource : public backend::EntropySource {
  public:
    base::Result<void> fill(std::span<std::byte> bytes) override {
        CUPULE_ASSERT(bytes.size() <= device::VirtioRnd::request_bytes_max);
        if (empty) {
            return base::fail("nothing");
        }
        std::ranges::fill(bytes, std::byte{0x5A});
        return {};
    }
    bool empty = false;
};

struct Entropy {
    CheckingSource source;
    std::unique_ptr<event::Worker> worker = *event::Worker::create("fuzz");
    fuzz::RequestFuzzer fuzzer{std::make_unique<device::VirtioRnd>(source, *worker), *worker,
                               std::uint16_t{1}, virtio::PciTransportModel::transitional};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Entropy entropy;
    fuzz::Input input(data, size);
    entropy.fuzzer.run(input, [](fuzz::Input& rest) {
        entropy.source.empty = rest.take<std::uint8_t>() % 2 != 0;
    });
    return 0;
}
