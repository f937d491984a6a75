#pragma once

#include <unistd.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/bits.h"
#include "testing/virtio_workload.h"
#include "virtio/device.h"
#include "virtio/features.h"

namespace cupule::testing {

/// Serves its queues when the test says so, on the test's thread.
class EchoDevice : public virtio::Device {
  public:
    virtio::DeviceId id() const override {
        return {.name = "echo", .type = 42, .pci_class = 0xFF0000};
    }
    std::uint64_t features() const override { return virtio::feature::ring_engine | base::bit(3); }
    std::span<const virtio::QueueLimits> queues() const override { return limits_; }
    std::uint64_t read_config(std::uint64_t offset, unsigned size) override {
        return base::read_lane(config_, offset, size);
    }
    void write_config(std::uint64_t offset, unsigned size, std::uint64_t value) override {
        config_ = base::write_lane(config_, offset, size, value);
    }
    base::Result<void> activate(std::uint64_t /*negotiated*/,
                                std::vector<virtio::RunningQueue> queues,
                                virtio::DeviceEvents& host) override {
        if (fail_next) {
            return base::fail("no");
        }
        for (virtio::RunningQueue& queue : queues) {
            CUPULE_TRY(start_queue(std::move(queue)));
        }
        events = &host;
        return {};
    }
    std::vector<virtio::RunningQueue> deactivate() override {
        for (virtio::Chain& chain : held) {
            chain.abandon();
        }
        held.clear();
        std::vector<virtio::RunningQueue> back;
        for (auto& [index, queue] : running) {
            back.push_back(std::move(queue));
        }
        running.clear();
        return back;
    }
    std::optional<virtio::RunningQueue> stop_queue(std::uint16_t index) override {
        auto node = running.extract(index);
        return node ? std::optional(std::move(node.mapped())) : std::nullopt;
    }
    base::Result<void> start_queue(virtio::RunningQueue queue) override {
        running.emplace(queue.index, std::move(queue));
        return {};
    }
    void reset() override { config_ = initial_config; }
    void visit(snapshot::Visitor& visitor) override { visitor.field("config", config_); }

    /// True when the queue had been kicked.
    bool serve(std::uint16_t index) {
        virtio::RunningQueue& queue = running.at(index);
        std::uint64_t count = 0;
        const bool kicked = ::read(queue.kick_fd, &count, sizeof count) == sizeof count;
        while (virtio::Chain chain = queue.queue.pop()) {
            const std::uint32_t written = answer_request(chain);
            queue.queue.push_used(std::move(chain), written);
        }
        queue.publish();
        if (queue.queue.broken()) {
            events->queue_broken(index, queue.queue.fault());
        }
        return kicked;
    }

    bool fail_next = false;
    virtio::DeviceEvents* events = nullptr;
    std::map<std::uint16_t, virtio::RunningQueue> running;
    std::vector<virtio::Chain> held;

  private:
    static constexpr std::uint64_t initial_config = 0x1122'3344'5566'7788;
    std::array<virtio::QueueLimits, 2> limits_{virtio::QueueLimits{.size_max = 64},
                                               virtio::QueueLimits{.size_max = 16}};
    std::uint64_t config_ = initial_config;
};

}  // namespace cupule::testing
