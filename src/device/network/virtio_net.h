#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "backend/net_port.h"
#include "device/network/net_control.h"
#include "device/network/net_pair.h"
#include "event/worker.h"
#include "virtio/device.h"
#include "virtio/queue_server.h"

// virtio network device (Virtio 1.3, 5.1).
//
// Models: MAC, STATUS, MTU, MRG_RXBUF, MQ, RSS where the port steers; CTRL_VQ with receive modes,
// address tables, VLAN filter, address, pairs and guest offloads; CSUM, TSO4/6, ECN and USO both
// ways where the port has them. Each pair of queues has a port and a worker. Leaves out: hash
// reports, the hash types with extension headers' addresses, GUEST_ANNOUNCE, UFO and the legacy bit
// GSO, SPEED_DUPLEX, notification coalescing. Differs on purpose: from acrn-dm in a control queue,
// offloads and several queues, and in checking every header.
namespace cupule::device {

struct VirtioNetSpec {
    MacAddress mac{};
    /// 0: not told.
    std::uint16_t mtu = 0;
    /// The longest look for frames to send before a worker sleeps, in nanoseconds; 0: none.
    std::uint64_t poll_ns_max = 0;
};

/// What one pair of queues works with.
struct NetPairPowers {
    backend::NetPort& port;
    event::Worker& worker;
};

class VirtioNet : public virtio::Device {
  public:
    /// One pair or more. All of it outlives the device; ports belong to their workers.
    VirtioNet(const VirtioNetSpec& spec, std::span<const NetPairPowers> pairs);
    ~VirtioNet() override;

    virtio::DeviceId id() const override {
        return {.name = "virtio-net", .type = 1, .pci_class = 0x020000};
    }
    std::uint64_t features() const override { return features_; }
    std::span<const virtio::FeatureDependency> feature_dependencies() const override;
    std::span<const virtio::QueueLimits> queues() const override { return limits_; }
    std::uint64_t read_config(std::uint64_t offset, unsigned size) override;
    void write_config(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    base::Result<void> activate(std::uint64_t negotiated, std::vector<virtio::RunningQueue> queues,
                                virtio::DeviceEvents& events) override;
    std::vector<virtio::RunningQueue> deactivate() override;
    std::vector<virtio::QueueReport> report() const override;
    std::optional<virtio::RunningQueue> stop_queue(std::uint16_t index) override;
    base::Result<void> start_queue(virtio::RunningQueue queue) override;
    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

  private:
    std::uint64_t offered(const backend::NetOffloads& offloads) const;
    NetPairRules rules() const;
    /// Where the control queue is: behind the pairs that the driver knows of (5.1.2).
    std::uint16_t control_index() const;
    bool negotiated(std::uint64_t feature) const { return (negotiated_ & feature) != 0; }
    /// The pairs that the driver knows of.
    std::size_t pairs_known() const;

    const VirtioNetSpec spec_;
    const std::uint64_t spec_mac_;
    std::uint64_t features_ = 0;
    std::vector<virtio::QueueLimits> limits_;
    std::uint64_t negotiated_ = 0;
    virtio::DeviceEvents* events_ = nullptr;
    /// The control queue's state belongs to the driver there is.
    bool begun_ = false;
    /// Written by workers: what the configuration area shows.
    std::atomic<std::uint64_t> mac_;
    std::atomic<bool> link_up_{true};
    std::vector<std::unique_ptr<NetPair>> pairs_;
    event::Worker& control_worker_;
    std::unique_ptr<NetControl> control_;
    std::unique_ptr<virtio::QueueServer> control_server_;
    /// Where the driver has it, for `report`.
    std::atomic<std::uint16_t> control_at_{0};
};

}  // namespace cupule::device
