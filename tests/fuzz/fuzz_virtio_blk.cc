// Any bytes as the driver of a disk: registers of the transport, configuration space, rings and
// requests. What reaches the store must lie on the disk and in guest memory. After each input a
// well-behaved driver resets the device, and one good request must get through.

#include <algorithm>
#include <array>
#include <memory>

#include "base/assert.h"
#include "checked_store.h"
#include "device/storage/virtio_blk.h"
#include "event/worker.h"
#include "input.h"
#include "testing/virtio_driver.h"
#include "testing/virtio_pci_bench.h"

namespace {

using namespace cupule;
using fuzz::CheckedStore;
using fuzz::Input;
using testing::VirtioDriver;
using testing::VirtioPciBench;

constexpr std::uint64_t rings_at = 0x1'0000;
constexpr std::uint64_t header_at = 0x8'0000;
constexpr std::uint64_t status_at = 0x8'1000;
constexpr std::uint64_t data_at = 0x9'0000;
constexpr std::uint16_t ring_size = 16;

/// One device for all inputs: reset is part of what is tested.
class Machine {
  public:
    Machine() {
        auto device = std::make_unique<device::VirtioBlk>(
            device::VirtioBlkSpec{.discard = true, .serial = "fuzz", .queues = 2}, nullptr,
            workers_);
        blk_ = device.get();
        bench_ = std::make_unique<VirtioPciBench>(std::move(device));
        store_ = std::make_unique<CheckedStore>(bench_->memory.get());
        event::MutexLock lock(bench_->monitor);
        blk_->replace_store(store_.get());
    }

    void start(std::uint64_t features) {
        {
            event::MutexLock lock(bench_->monitor);
            bench_->transport->reset();
            bench_->place();
        }
        options_.features = features;
        driver_ = std::make_unique<VirtioDriver>(*bench_->memory, options_);
        CUPULE_ASSERT(bench_->negotiate(features));
        bench_->set_queue(0, driver_->geometry());
        bench_->drive();
        CUPULE_ASSERT(bench_->status() == 0x0F);
    }

    void step(Input& input) {
        switch (input.take<std::uint8_t>() % 8) {
            case 0:
                return write_register(input);
            case 1:
                bench_->read(input.take<std::uint16_t>() % 0x4000, size_of(input));
                return;
            case 2:
                return bench_->write_config(input.take<std::uint8_t>() & 0xFC, 4,
                                            input.take<std::uint32_t>());
            case 3:
                return write_memory(rings_at, input);
            case 4:
                return write_memory(header_at, input);
            case 5:
                return submit(input);
            case 6:
                bench_->loop->run_once(0);
                return;
            default:
                return worker_->call([] {});
        }
    }

    void one_good_request() {
        start(virtio::feature::version_1 | base::bit(9));
        put_header(0, 1);
        submit_buffers(512, true);
        driver_->publish();
        bench_->notify(0);
        for (int i = 0; i < 1000; ++i) {
            worker_->call([] {});
            if (driver_->collect()) {
                CUPULE_ASSERT(*bench_->memory->load<std::uint8_t>({status_at}) == 0);
                return;
            }
        }
        CUPULE_ASSERT(false);
    }

  private:
    static unsigned size_of(Input& input) { return 1U << (input.take<std::uint8_t>() % 4); }
    void write_register(Input& input) {
        // Most of the registers are in the first bytes of the four pages.
        const auto place = input.take<std::uint16_t>();
        const std::uint64_t offset = (place & 0x3000U) | (place & 0x7FU);
        const unsigned size = size_of(input);
        bench_->write(offset, size, input.take<std::uint64_t>() & base::ones(size));
    }
    void write_memory(std::uint64_t base_address, Input& input) {
        const auto offset = input.take<std::uint16_t>();
        const auto size = input.take<std::uint8_t>();
        static_cast<void>(
            bench_->memory->write({base_address + offset % 0x4000}, input.bytes(size % 33)));
    }
    void put_header(std::uint32_t type, std::uint64_t sector) {
        CUPULE_ASSERT(bench_->memory->store<std::uint64_t>({header_at}, type));
        CUPULE_ASSERT(bench_->memory->store<std::uint64_t>({header_at + 8}, sector));
    }
    void submit_buffers(std::uint32_t bytes, bool to_guest) {
        const std::array<VirtioDriver::Buffer, 3> buffers{
            {{.address = {header_at}, .length = 16},
             {.address = {data_at}, .length = std::max(bytes, 1U), .writable = to_guest},
             {.address = {status_at}, .length = 1, .writable = true}}};
        static_cast<void>(driver_->submit(buffers, 1));
    }
    void submit(Input& input) {
        put_header(input.take<std::uint8_t>() % 16, input.take<std::uint8_t>());
        const auto pages = input.take<std::uint8_t>();
        submit_buffers(pages * 256U, (pages & 0x80) != 0);
        driver_->publish();
        bench_->notify(0);
        while (driver_->violation().empty() && driver_->collect()) {
        }
    }

    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("fuzz");
    std::array<event::Worker*, 1> workers_{worker_.get()};
    VirtioDriver::Options options_{.features = 0, .size = ring_size, .base = {rings_at}};
    std::unique_ptr<CheckedStore> store_;
    device::VirtioBlk* blk_ = nullptr;
    std::unique_ptr<VirtioPciBench> bench_;
    std::unique_ptr<VirtioDriver> driver_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Machine machine;
    Input input(data, size);
    const auto choice = input.take<std::uint8_t>();
    std::uint64_t features = virtio::feature::version_1 | base::bit(13) | base::bit(14);
    features |= (choice & 1) != 0 ? virtio::feature::ring_packed : 0;
    features |= (choice & 2) != 0 ? virtio::feature::ring_reset : 0;
    features |= (choice & 4) != 0 ? base::bit(9) | base::bit(11) : 0;
    machine.start(features);
    while (!input.empty()) {
        machine.step(input);
    }
    machine.one_good_request();
    return 0;
}
