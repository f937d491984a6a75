// Any accesses of the legacy register window of a disk, transitional or legacy only, with any bytes
// in its rings. Afterwards a driver that behaves finds a disk that works.

#include <array>
#include <memory>
#include <vector>

#include "device/storage/virtio_blk.h"
#include "event/worker.h"
#include "input.h"
#include "testing/memory_disk.h"
#include "testing/virtio_driver.h"
#include "testing/virtio_pci_bench.h"

namespace {

using namespace cupule;
using testing::VirtioDriver;
using testing::VirtioPciBench;

constexpr std::uint64_t ring_at = 0x1'0000;
constexpr std::uint64_t ring_bytes = 0x4000;
constexpr std::uint64_t header_at = 0x10'0000;
constexpr std::uint64_t data_at = 0x11'0000;
constexpr std::uint64_t status_at = 0x12'0000;
constexpr int turns_max = 100'000;

class LegacyDisk {
  public:
    explicit LegacyDisk(virtio::PciTransportModel model)
        : bench_(std::make_unique<device::VirtioBlk>(device::VirtioBlkSpec{.queues = 2}, &disk_,
                                                     workers_),
                 nullptr, false, model) {}

    void run(fuzz::Input& input) {
        while (!input.empty()) {
            step(input);
        }
        set_msix(false);
        // Bus mastering and the window, whatever became of them.
        bench_.write_config(4, 2, 7);
        CUPULE_ASSERT(works());
    }

  private:
    void step(fuzz::Input& input) {
        const auto action = input.take<std::uint8_t>();
        switch (action % 8) {
            case 0:
                return set_msix((action & 8) != 0);
            case 1:
                return touch_ring(input);
            case 2:
                worker_->call([] {});
                bench_.loop->run_once(0);
                return;
            case 3: {  // What drivers do, in any order.
                static constexpr std::array<std::uint8_t, 5> statuses{0, 1, 3, 7, 0x80};
                return bench_.write_legacy(0x12, 1, statuses.at(action / 8 % statuses.size()));
            }
            case 4:
                bench_.write_legacy(0x0E, 2, action / 8 % 3);
                return bench_.write_legacy(8, 4, (ring_at >> 12) + action / 32);
            case 5:
                return bench_.write_legacy(0x10, 2, action / 8 % 3);
            default:
                break;
        }
        const auto offset = input.take<std::uint8_t>();
        const unsigned size = 1U << (action / 8 % 3);
        if ((action & 0x80) != 0) {
            bench_.write_legacy(offset, size, input.take<std::uint32_t>() & base::ones(size));
        }
        CUPULE_ASSERT(std::uint64_t{offset} + size > 0x100 ||
                      (bench_.read_legacy(offset, size) & ~base::ones(size)) == 0);
    }

    void touch_ring(fuzz::Input& input) {
        const auto place = input.take<std::uint16_t>();
        const auto bytes = input.bytes(16);
        CUPULE_ASSERT(bench_.memory->write({ring_at + place % (ring_bytes - 16)}, bytes));
    }

    void set_msix(bool enabled) {
        const std::uint64_t capability = bench_.read_config(0x34, 1);
        CUPULE_ASSERT(bench_.read_config(capability, 1) == 0x11);
        bench_.write_config(capability + 2, 2, enabled ? 0x8000 : 0);
    }

    bool works() {
        bench_.write_legacy(0x12, 1, 0);
        CUPULE_ASSERT(bench_.read_legacy(0x12, 1) == 0);
        CUPULE_ASSERT(!bench_.transport->active());
        bench_.write_legacy(0x12, 1, 3);
        bench_.write_legacy(4, 4, 0);
        bench_.write_legacy(0x0E, 2, 0);
        const auto size = static_cast<std::uint16_t>(bench_.read_legacy(0x0C, 2));
        VirtioDriver driver(*bench_.memory,
                            {.features = 0, .size = size, .base = {ring_at}, .legacy = true});
        bench_.write_legacy(8, 4, ring_at >> 12);
        bench_.write_legacy(0x12, 1, 7);
        CUPULE_ASSERT(bench_.read_legacy(0x12, 1) == 7);
        const std::array<std::uint64_t, 2> header{0, 0};  // a read of sector 0
        CUPULE_ASSERT(bench_.memory->write({header_at}, std::as_bytes(std::span(header))));
        CUPULE_ASSERT(bench_.memory->store<std::uint8_t>({status_at}, 0xEE));
        const std::array<VirtioDriver::Buffer, 3> buffers{
            {{{header_at}, 16, false}, {{data_at}, 512, true}, {{status_at}, 1, true}}};
        CUPULE_ASSERT(driver.submit(buffers, 1));
        driver.publish();
        bench_.write_legacy(0x10, 2, 0);
        for (int i = 0; i < turns_max; ++i) {
            worker_->call([] {});
            if (driver.collect()) {
                return bench_.memory->load<std::uint8_t>({status_at}) == 0;
            }
        }
        return false;
    }

    testing::MemoryDisk disk_;
    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("fuzz");
    std::vector<event::Worker*> workers_{worker_.get()};
    VirtioPciBench bench_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static LegacyDisk transitional(virtio::PciTransportModel::transitional);
    static LegacyDisk legacy(virtio::PciTransportModel::legacy);
    fuzz::Input input(data, size);
    (input.take<std::uint8_t>() % 2 == 0 ? transitional : legacy).run(input);
    return 0;
}
