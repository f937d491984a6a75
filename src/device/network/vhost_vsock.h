#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "virtio/device.h"
#include "virtio/vhost_kernel.h"

// virtio socket device (Virtio 1.3, 5.10), served by the kernel's vhost-vsock.
//
// Models: stream sockets and, where the kernel has them, SEQPACKET between the guest and programs
// of the host (AF_VSOCK).
// Leaves out: the transport-reset event (nothing here moves guests); packed rings, queue reset.
namespace cupule::device {

class VhostVsock : public virtio::Device {
  public:
    /// The kernel's end has the guest's address already, and outlives the device.
    VhostVsock(std::uint32_t guest_cid, virtio::VhostKernel& kernel)
        : guest_cid_(guest_cid), kernel_(kernel) {}

    virtio::DeviceId id() const override {
        return {.name = "vhost-vsock", .type = 19, .pci_class = 0x078000};
    }
    std::uint64_t features() const override { return kernel_.features(); }
    std::span<const virtio::QueueLimits> queues() const override { return limits_; }
    std::uint64_t read_config(std::uint64_t offset, unsigned size) override;
    void write_config(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    base::Result<void> activate(std::uint64_t negotiated, std::vector<virtio::RunningQueue> queues,
                                virtio::DeviceEvents& events) override;
    std::vector<virtio::RunningQueue> deactivate() override;
    std::optional<virtio::RunningQueue> stop_queue(std::uint16_t index) override;
    base::Result<void> start_queue(virtio::RunningQueue queue) override;
    void reset() override {}
    void visit(snapshot::Visitor& /*visitor*/) override {}

  private:
    static constexpr virtio::QueueLimits limit_{.size_max = 128};
    static constexpr std::array<virtio::QueueLimits, 3> limits_{limit_, limit_, limit_};

    const std::uint32_t guest_cid_;
    virtio::VhostKernel& kernel_;
    /// Receive and transmit, which the kernel has, and events, which nobody sends.
    std::vector<virtio::RunningQueue> queues_;
};

/// Gives the kernel's end the guest's address, 3 to 2^32 - 2. The error says that another has it.
base::Result<void> set_guest_cid(virtio::VhostKernel& kernel, std::uint32_t cid);

}  // namespace cupule::device
