#pragma once

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "event/worker.h"
#include "input.h"
#include "testing/virtio_driver.h"
#include "testing/virtio_pci_bench.h"

namespace cupule::fuzz {

/// A device behind its PCI transport and a driver whose chains are sound but whose requests are any
/// bytes: what is left for the device to check. Made once; each input starts the device anew.
class RequestFuzzer {
  public:
    /// `queues`: how many the driver enables, from 0. All outlives the fuzzer.
    /// A transitional device is also driven without VERSION_1, as the input chooses.
    RequestFuzzer(std::unique_ptr<virtio::Device> device, event::Worker& worker,
                  std::uint16_t queues,
                  virtio::PciTransportModel model = virtio::PciTransportModel::modern)
        : bench_(std::move(device), nullptr, false, model),
          worker_(worker),
          queues_(queues),
          may_be_legacy_(model == virtio::PciTransportModel::transitional),
          offered_(bench_.offered()) {}

    /// `outside` lets something happen at the host, on the worker.
    void run(Input& input, const std::function<void(Input&)>& outside) {
        start(input.take<std::uint64_t>());
        while (!input.empty()) {
            const auto action = input.take<std::uint8_t>();
            if (action % 8 < 5) {
                submit(input, static_cast<std::uint16_t>(action / 8 % queues_));
            } else if (action % 8 < 7) {
                worker_.call([&] { outside(input); });
            } else {
                touch(input);
            }
            collect();
        }
        settle();
        bench_.set_status(0);
        CUPULE_ASSERT(bench_.status() == 0);
    }

  private:
    static constexpr std::uint16_t ring_size = 16;
    static constexpr std::uint64_t rings_at = 0x1'0000;
    static constexpr std::uint64_t ring_stride = 0x8000;
    static constexpr std::uint64_t buffers_at = 4 << 20;
    static constexpr std::uint64_t buffers_bytes = 2 << 20;

    /// The device's own features are the input's choice, as far as they go together.
    void start(std::uint64_t choice) {
        using namespace virtio;
        const std::uint64_t own = base::mask(24) | ~base::mask(50);
        const std::uint64_t rings = (choice & feature::ring_packed) | (choice & feature::in_order);
        std::uint64_t features = (offered_ & own & choice) | feature::version_1 | rings;
        if (may_be_legacy_ && (choice & feature::version_1) == 0) {
            features = offered_ & base::mask(24) & choice;
        }
        if (!bench_.negotiate(features)) {
            features = (offered_ & own) | feature::version_1;
            CUPULE_ASSERT(bench_.negotiate(features));
        }
        for (std::uint16_t i = 0; i < queues_; ++i) {
            drivers_[i] = std::make_unique<testing::VirtioDriver>(
                *bench_.memory,
                testing::VirtioDriver::Options{
                    .features = features, .size = ring_size, .base = {rings_at + ring_stride * i}});
            bench_.set_queue(i, drivers_[i]->geometry());
        }
        bench_.drive();
        CUPULE_ASSERT(bench_.status() == 0x0F);
    }

    void submit(Input& input, std::uint16_t queue) {
        const unsigned count = 1 + input.take<std::uint8_t>() % 4;
        std::vector<testing::VirtioDriver::Buffer> buffers;
        bool writable = false;
        for (unsigned i = 0; i < count; ++i) {
            const auto length = input.take<std::uint16_t>();
            writable = writable || (length & 1) != 0;
            next_ = (next_ + 0x1'0000) % (buffers_bytes - 0x1'0000);
            const memory::GuestAddress at{buffers_at + next_};
            const auto content = input.bytes(writable ? 0 : std::min(64U, length / 2U));
            CUPULE_ASSERT(bench_.memory->write(at, content));
            buffers.push_back({.address = at, .length = 1U + length / 2, .writable = writable});
        }
        if (drivers_[queue]->submit(buffers, 0) && drivers_[queue]->publish()) {
            bench_.notify(queue);
        }
    }

    /// The configuration area and the registers of a running device.
    void touch(Input& input) {
        const auto offset = input.take<std::uint16_t>();
        const auto size = 1U << (input.take<std::uint8_t>() % 4);
        bench_.write(0x2000 + offset % 0x1000, size, input.take<std::uint64_t>());
        bench_.read(0x2000 + offset % 0x1000, size);
    }

    void settle() {
        for (int i = 0; i < 4; ++i) {
            worker_.call([] {});
        }
    }

    void collect() {
        settle();
        for (auto& [index, driver] : drivers_) {
            while (driver->collect()) {
            }
            CUPULE_ASSERT(driver->violation().empty());
        }
        CUPULE_ASSERT(bench_.status() == 0x0F);
    }

    testing::VirtioPciBench bench_;
    event::Worker& worker_;
    const std::uint16_t queues_;
    const bool may_be_legacy_;
    const std::uint64_t offered_;
    std::uint64_t next_ = 0;
    std::map<std::uint16_t, std::unique_ptr<testing::VirtioDriver>> drivers_;
};

}  // namespace cupule::fuzz
