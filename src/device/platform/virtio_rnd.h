#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "backend/entropy_source.h"
#include "event/clock.h"
#include "event/worker.h"
#include "virtio/device.h"
#include "virtio/features.h"
#include "virtio/queue_server.h"

// virtio entropy device (Virtio 1.3, 5.4).
//
// Models: the request queue. A request is answered with as many bytes as it has room for, at most
// 4 KiB.
// Leaves out: the leak queues of drafts. Nothing else: the device has no configuration area.
// Differs on purpose: from acrn-dm in its limit of 1 MiB/s, which no guest needs more of and which
// keeps one from burning a host CPU.
namespace cupule::device {

/// How much may be given out: a window at a time, pure arithmetic.
class EntropyBudget {
  public:
    static constexpr std::uint64_t window_ns = 100 * event::ns_per_ms;
    static constexpr std::uint64_t window_bytes = 100 << 10;

    /// Nanoseconds until more may be given out; 0: some may be now.
    std::uint64_t delay_ns(std::uint64_t now_ns);
    /// Takes up to `wanted` out of the window that `delay_ns` looked at.
    std::uint64_t take(std::uint64_t wanted);

  private:
    std::uint64_t window_end_ns_ = 0;
    std::uint64_t left_ = 0;
};

class VirtioRnd : public virtio::Device, private virtio::RequestHandler {
  public:
    static constexpr std::uint64_t request_bytes_max = 4096;

    /// All outlive the device.
    VirtioRnd(backend::EntropySource& source, event::Worker& worker)
        : source_(source), worker_(worker) {}

    virtio::DeviceId id() const override {
        return {.name = "virtio-rnd", .type = 4, .pci_class = 0x100000};
    }
    std::uint64_t features() const override { return virtio::feature::ring_engine; }
    std::span<const virtio::QueueLimits> queues() const override { return limits_; }
    std::uint64_t read_config(std::uint64_t /*offset*/, unsigned /*size*/) override { return 0; }
    void write_config(std::uint64_t, unsigned, std::uint64_t) override {}
    base::Result<void> activate(std::uint64_t negotiated, std::vector<virtio::RunningQueue> queues,
                                virtio::DeviceEvents& events) override;
    std::vector<virtio::RunningQueue> deactivate() override;
    std::vector<virtio::QueueReport> report() const override { return {server_.report(0)}; }
    std::optional<virtio::RunningQueue> stop_queue(std::uint16_t index) override;
    base::Result<void> start_queue(virtio::RunningQueue queue) override;
    void reset() override {}
    void visit(snapshot::Visitor& /*visitor*/) override {}

  private:
    std::uint32_t serve(const virtio::Chain& chain) override;
    std::uint64_t delay_ns() override { return budget_.delay_ns(worker_.loop().clock().now_ns()); }

    static constexpr std::array<virtio::QueueLimits, 1> limits_{
        virtio::QueueLimits{.size_max = 64, .segments_max = 128}};
    backend::EntropySource& source_;
    event::Worker& worker_;
    virtio::DeviceEvents* events_ = nullptr;
    /// The worker's, as everything `serve` uses.
    EntropyBudget budget_;
    bool failure_told_ = false;
    virtio::QueueServer server_{worker_, *this};
};

}  // namespace cupule::device
