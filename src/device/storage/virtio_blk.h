#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "backend/block_store.h"
#include "event/worker.h"
#include "virtio/device.h"
#include "virtio/features.h"
#include "virtio/queue_server.h"

// virtio block device (Virtio 1.3, 5.2).
//
// Models: IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES; RO, BLK_SIZE, TOPOLOGY, SEG_MAX, FLUSH,
// CONFIG_WCE; one queue, whose requests a worker serves one after another.
// Leaves out: several queues, secure erase, lifetime, zoned storage.
// Differs on purpose: from acrn-dm in write-back as the default (the guest flushes; acrn-dm syncs
// each write), and in failing what reaches past the disk's end as a whole.
namespace cupule::device {

struct VirtioBlkSpec {
    bool read_only = false;
    bool write_through = false;
    bool discard = false;
    /// Bytes, as BlockOptions has them.
    std::uint32_t logical_sector = 512;
    std::uint32_t physical_sector = 4096;
    /// What GET_ID answers, cut to 20 bytes.
    std::string serial{};
};

class VirtioBlk : public virtio::Device, private virtio::RequestHandler {
  public:
    /// Store and worker outlive the device; requests are served on the worker.
    VirtioBlk(const VirtioBlkSpec& spec, backend::BlockStore& store, event::Worker& worker);

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
    std::optional<virtio::RunningQueue> stop_queue(std::uint16_t index) override;
    void start_queue(virtio::RunningQueue queue) override;
    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

  private:
    /// What a request turned out to be. `written` counts data bytes before the status byte.
    struct Outcome {
        std::uint8_t status = 0;
        std::uint32_t written = 0;
    };
    struct Range {
        std::uint64_t at = 0;
        std::uint64_t bytes = 0;
    };

    void build_config();
    std::uint32_t serve(const virtio::Chain& chain) override;
    Outcome execute(std::uint32_t type, std::uint64_t sector, virtio::ChainReader& reader,
                    virtio::ChainWriter& writer, std::uint64_t room);
    Outcome read_data(std::uint64_t sector, virtio::ChainWriter& writer, std::uint64_t room);
    Outcome write_data(std::uint64_t sector, virtio::ChainReader& reader);
    Outcome give_id(virtio::ChainWriter& writer, std::uint64_t room);
    Outcome erase(virtio::ChainReader& reader, bool zeroes);
    /// The bytes a request names, when they are sectors of the disk.
    bool in_disk(std::uint64_t sector, std::uint64_t bytes, Range& range) const;
    Outcome finish(const base::Result<void>& result, std::uint64_t written);
    bool negotiated(std::uint64_t feature) const { return (negotiated_ & feature) != 0; }

    static constexpr std::uint16_t data_segments_max = 254;
    static constexpr std::array<virtio::QueueLimits, 1> limits_{
        virtio::QueueLimits{.size_max = 256, .segments_max = data_segments_max + 2}};

    const VirtioBlkSpec spec_;
    backend::BlockStore& store_;
    std::uint64_t features_ = 0;
    /// struct virtio_blk_config up to the write-zeroes fields.
    std::array<std::uint8_t, 60> config_{};
    /// Written while the device is stopped, read by the worker.
    std::uint64_t negotiated_ = 0;
    virtio::DeviceEvents* events_ = nullptr;
    /// CONFIG_WCE: the driver's choice, read by the worker.
    std::atomic<bool> write_back_;
    bool failure_told_ = false;
    virtio::QueueServer server_;
};

}  // namespace cupule::device
