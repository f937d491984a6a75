#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "virtio/device.h"
#include "virtio/features.h"

namespace cupule::testing {

/// No queues, no features: what a bench has until the device is there for which it has the memory.
class NoDevice : public virtio::Device {
  public:
    virtio::DeviceId id() const override { return {.name = "none", .type = 42}; }
    std::uint64_t features() const override { return virtio::feature::version_1; }
    std::span<const virtio::QueueLimits> queues() const override { return {}; }
    std::uint64_t read_config(std::uint64_t, unsigned) override { return 0; }
    void write_config(std::uint64_t, unsigned, std::uint64_t) override {}
    base::Result<void> activate(std::uint64_t, std::vector<virtio::RunningQueue>,
                                virtio::DeviceEvents&) override {
        return {};
    }
    std::vector<virtio::RunningQueue> deactivate() override { return {}; }
    std::optional<virtio::RunningQueue> stop_queue(std::uint16_t) override { return std::nullopt; }
    base::Result<void> start_queue(virtio::RunningQueue) override { return {}; }
    void reset() override {}
    void visit(snapshot::Visitor&) override {}
};

}  // namespace cupule::testing
