#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "device/platform/balloon_statistics.h"
#include "event/worker.h"
#include "memory/guest_memory.h"
#include "virtio/device.h"
#include "virtio/queue_server.h"

// virtio memory balloon (Virtio 1.3, 5.5, "traditional").
//
// Models: inflating, deflating, DEFLATE_ON_OOM, STATS_VQ, PAGE_REPORTING (free pages go back to the
// host as the guest finds them).
// Leaves out: FREE_PAGE_HINT, PAGE_POISON, MUST_TELL_HOST.
// Differs on purpose: the reporting queue is found at the index of Linux and QEMU (queues that were
// not negotiated are not counted) and at that of the specification.
namespace cupule::device {

struct VirtioBalloonSpec {
    /// What the guest is asked to give up, in pages of 4 KiB.
    std::uint32_t target_pages = 0;
    /// The guest may take pages back rather than kill a process.
    bool deflate_on_oom = true;
    bool free_page_reporting = true;
    /// How often the guest says how it is with its memory; 0: never.
    std::uint64_t statistics_period_ns = 0;
};

class VirtioBalloon : public virtio::Device {
  public:
    /// Pages of one request that are looked at; drivers send 256.
    static constexpr std::size_t pages_max = 4096;

    /// Memory and worker outlive the device; requests are served on the worker.
    VirtioBalloon(const VirtioBalloonSpec& spec, const memory::GuestMemory& memory,
                  event::Worker& worker);

    virtio::DeviceId id() const override {
        return {.name = "virtio-balloon", .type = 5, .pci_class = 0x00FF00};
    }
    std::uint64_t features() const override;
    std::span<const virtio::QueueLimits> queues() const override { return limits_; }
    std::uint64_t read_config(std::uint64_t offset, unsigned size) override;
    void write_config(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    base::Result<void> activate(std::uint64_t negotiated, std::vector<virtio::RunningQueue> queues,
                                virtio::DeviceEvents& events) override;
    std::vector<virtio::RunningQueue> deactivate() override;
    /// Of the queues that a driver has used: which there are is the driver's choice.
    std::vector<virtio::QueueReport> report() const override;
    std::optional<virtio::RunningQueue> stop_queue(std::uint16_t index) override;
    base::Result<void> start_queue(virtio::RunningQueue queue) override;
    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

    /// Asks the guest for another size.
    void set_target(std::uint32_t pages);
    std::uint32_t target_pages() const { return target_pages_; }
    /// What the driver says it has given up.
    std::uint32_t actual_pages() const { return state_.actual_pages; }
    /// What the guest last said of its memory; empty: nothing. Any thread.
    std::string statistics_text() const { return statistics_ ? statistics_->to_text() : ""; }

  private:
    /// One kind of request, bound to the balloon.
    class Service : public virtio::RequestHandler {
      public:
        using Serve = void (VirtioBalloon::*)(const virtio::Chain&);
        Service(VirtioBalloon& balloon, Serve how) : balloon_(balloon), serve_(how) {}
        std::uint32_t serve(const virtio::Chain& chain) override {
            (balloon_.*serve_)(chain);
            return 0;
        }

      private:
        VirtioBalloon& balloon_;
        Serve serve_;
    };
    struct State {
        std::uint32_t actual_pages = 0;
    };

    bool is_statistics(std::uint16_t index) const;

    // On the worker.
    void inflate(const virtio::Chain& chain);
    void deflate(const virtio::Chain& chain);
    void take_reported(const virtio::Chain& chain);
    void discard(std::span<std::byte> part);

    static constexpr std::size_t queue_count = 5;
    static constexpr std::array<virtio::QueueLimits, queue_count> limits_{
        virtio::QueueLimits{.size_max = 128, .segments_max = 64},
        virtio::QueueLimits{.size_max = 128, .segments_max = 64},
        virtio::QueueLimits{.size_max = 128, .segments_max = 64},
        virtio::QueueLimits{.size_max = 128, .segments_max = 64},
        virtio::QueueLimits{.size_max = 128, .segments_max = 64}};

    const VirtioBalloonSpec spec_;
    const memory::GuestMemory& memory_;
    std::uint32_t target_pages_;
    State state_;
    bool statistics_negotiated_ = false;
    virtio::DeviceEvents* events_ = nullptr;
    base::GuestFault bad_page_{"virtio-balloon", "a page outside RAM"};
    bool failure_told_ = false;
    bool kept_told_ = false;
    Service inflating_{*this, &VirtioBalloon::inflate};
    Service deflating_{*this, &VirtioBalloon::deflate};
    Service reporting_{*this, &VirtioBalloon::take_reported};
    std::array<std::unique_ptr<virtio::QueueServer>, queue_count> servers_;
    std::unique_ptr<BalloonStatistics> statistics_;
};

}  // namespace cupule::device
