#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "backend/tap_port.h"
#include "device/network/net_filter.h"
#include "virtio/device.h"
#include "virtio/vhost_kernel.h"

// virtio network device (Virtio 1.3, 5.1) on a tap, served by the kernel's vhost-net.
//
// Models: MAC, STATUS, MTU, MRG_RXBUF and the tap's offloads; frames pass without a visit to this
// process.
// Leaves out: the control queue and several pairs; packed rings, queue reset.
namespace cupule::device {

struct VhostNetSpec {
    MacAddress mac{};
    /// 0: not told.
    std::uint16_t mtu = 0;
};

class VhostNet : public virtio::Device {
  public:
    /// Both outlive the device.
    VhostNet(const VhostNetSpec& spec, virtio::VhostKernel& kernel, backend::TapQueue& tap);

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
    std::optional<virtio::RunningQueue> stop_queue(std::uint16_t index) override;
    base::Result<void> start_queue(virtio::RunningQueue queue) override;
    void reset() override;
    void visit(snapshot::Visitor& /*visitor*/) override {}

  private:
    base::Result<void> start(virtio::RunningQueue queue);
    void stop(virtio::RunningQueue& queue);

    static constexpr virtio::QueueLimits limit_{.size_max = 1024};
    static constexpr std::array<virtio::QueueLimits, 2> limits_{limit_, limit_};

    const VhostNetSpec spec_;
    std::uint64_t mac_;
    virtio::VhostKernel& kernel_;
    backend::TapQueue& tap_;
    std::uint64_t features_ = 0;
    std::uint64_t negotiated_ = 0;
    bool begun_ = false;
    /// From DRIVER_OK on.
    virtio::DeviceEvents* events_ = nullptr;
    std::vector<virtio::RunningQueue> queues_;
};

}  // namespace cupule::device
