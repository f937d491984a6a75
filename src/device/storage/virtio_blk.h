#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/block_store.h"
#include "backend/rate_limiter.h"
#include "device/storage/blk_queue.h"
#include "device/storage/virtio_blk_protocol.h"
#include "event/worker.h"
#include "virtio/device.h"

// virtio block device (Virtio 1.3, 5.2).
//
// Models: IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES; RO, BLK_SIZE, TOPOLOGY, SEG_MAX, FLUSH,
// CONFIG_WCE, MQ; many requests of each queue under way at once, queues on several workers; disks
// that come later or change.
// Leaves out: secure erase, lifetime, zoned storage.
// Differs on purpose: from acrn-dm in write-back as the default (the guest flushes; acrn-dm syncs
// each write), and in failing what reaches past the disk's end as a whole.
namespace cupule::device {

struct VirtioBlkSpec {
    bool read_only = false;
    bool write_through = false;
    bool discard = false;
    /// Of one discard, as BlockOptions has them; 0: the device's own.
    std::uint32_t discard_sectors_max = 0;
    std::uint32_t discard_segments_max = 0;
    std::uint32_t discard_alignment = 0;
    /// Bytes, as BlockOptions has them.
    std::uint32_t logical_sector = 512;
    std::uint32_t physical_sector = 4096;
    /// What GET_ID answers, cut to 20 bytes.
    std::string serial{};
    /// At least 1.
    std::uint16_t queues = 1;
    backend::RateLimit limit{};
    /// The longest look for work before a worker sleeps, in nanoseconds; 0: none.
    std::uint64_t poll_ns_max = 0;
};

class VirtioBlk : public virtio::Device {
  public:
    /// Store (nullptr: no disk yet) and workers outlive the device. Queue i is served on worker
    /// i modulo their number, which is at least 1.
    VirtioBlk(const VirtioBlkSpec& spec, backend::BlockStore* store,
              std::span<event::Worker* const> workers);

    /// The disk is another one from now on, or none. Requests under way end on the old one, which
    /// the caller may destroy when this returns. A queue that the host cannot start again is silent
    /// until the driver resets the device.
    void replace_store(backend::BlockStore* store);

    virtio::DeviceId id() const override {
        return {.name = "virtio-blk", .type = 2, .pci_class = 0x010000};
    }
    std::uint64_t features() const override { return features_; }
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
    void build_config();
    void show_capacity();
    void set_write_back(bool write_back);
    std::uint32_t discard_sectors_max() const;
    std::uint32_t discard_segments_max() const;

    const VirtioBlkSpec spec_;
    std::vector<virtio::QueueLimits> limits_;
    std::uint64_t features_ = 0;
    std::array<std::uint8_t, virtio_blk::config::bytes> config_{};
    backend::RateLimiter limiter_;
    BlkDisk disk_;
    virtio::DeviceEvents* events_ = nullptr;
    std::vector<std::unique_ptr<BlkQueue>> queues_;
};

}  // namespace cupule::device
