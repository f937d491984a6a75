#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "event/event_loop.h"
#include "event/thread_pool.h"
#include "memory/guest_memory.h"
#include "vhost_user/front_end.h"
#include "vhost_user/pair_control.h"
#include "vhost_user/retry_delay.h"
#include "virtio/device.h"
#include "virtio/error_bell.h"

// A virtio device that another process serves over vhost-user.
//
// Models: any type of device whose configuration space the back end has (CONFIG) or the front end
// knows by itself; news of the configuration; a back end that ends and comes back while the driver
// runs: requests under way go on through the inflight area, the driver sees a delay.
// Leaves out: the IOMMU, migration; going on with packed rings where the back end has no inflight
// area, for which they are offered only where they are asked for.
namespace cupule::vhost_user {

/// What kind of device it is, beyond what the back end says.
struct FrontEndSpec {
    virtio::DeviceId id{};
    /// The back end's socket, for connecting again; empty: once is all.
    std::string path{};
    /// Feature bits of the device type that may pass between driver and back end.
    std::uint64_t features_passed = 0;
    /// Feature bits that this end serves, through `config`.
    std::uint64_t features_own = 0;
    /// Offers packed rings where the back end has them. Without an inflight area nobody can go on
    /// with those when it is lost.
    bool packed = false;
    /// Keeps a record of what is under way where the back end has one.
    bool inflight = true;
    std::vector<virtio::QueueLimits> queues{};
    /// The last of `queues` is the control queue of a network card, which this end serves.
    bool has_pair_control = false;
    /// How many queues the back end counts as one.
    std::uint16_t queues_in_one = 1;
    /// Bytes of the configuration space that are the back end's; 0: all of it is `config`.
    std::uint32_t back_end_config_bytes = 0;
    /// A byte of them that a driver may write, as the device type says, once it took `feature`.
    struct WritableByte {
        std::uint64_t feature = 0;
        std::uint32_t at = 0;
        std::uint8_t value_max = 0;
    };
    std::optional<WritableByte> writable{};
    /// The configuration space as this end knows it.
    std::vector<std::uint8_t> config{};
    /// Fields of the back end's configuration space that are this end's business.
    struct Patch {
        std::size_t at = 0;
        std::uint16_t value = 0;
    };
    std::optional<Patch> patch{};
    /// A byte of `config` whose lowest bit says that the link is up: while the back end is there.
    std::optional<std::size_t> link_status_at{};
};

struct FrontEndPowers {
    memory::GuestMemory& memory;
    /// Its callbacks, and with the monitor held the driver's calls too, wait for a back end for up
    /// to FrontEnd::timeout_ms: not the control thread's loop.
    event::EventLoop& loop;
    /// The device's.
    event::Monitor& monitor;
};

/// Looks for another back end on a thread of its own, so that one that hangs while the two agree
/// holds nobody up. What is asked later, the driver's start and stop among it, waits with the
/// monitor held, for one FrontEnd::timeout_ms.
class FrontEndDevice : public virtio::Device {
  public:
    /// Takes a connection that was made. An error when the back end cannot serve such a device.
    static base::Result<std::unique_ptr<FrontEndDevice>> create(FrontEndSpec spec,
                                                                const FrontEndPowers& powers,
                                                                std::unique_ptr<FrontEnd> back_end);
    /// Without the monitor, which it takes. At once, also where a back end hangs.
    ~FrontEndDevice() override;

    virtio::DeviceId id() const override { return spec_.id; }
    std::uint64_t features() const override { return features_; }
    std::span<const virtio::QueueLimits> queues() const override { return spec_.queues; }
    std::uint64_t read_config(std::uint64_t offset, unsigned size) override;
    void write_config(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    base::Result<void> activate(std::uint64_t negotiated, std::vector<virtio::RunningQueue> queues,
                                virtio::DeviceEvents& events) override;
    std::vector<virtio::RunningQueue> deactivate() override;
    std::optional<virtio::RunningQueue> stop_queue(std::uint16_t index) override;
    base::Result<void> start_queue(virtio::RunningQueue queue) override;
    void reset() override;
    void visit(snapshot::Visitor& /*visitor*/) override {}

    /// Whether a back end is there. With the monitor held.
    bool connected() const { return back_end_ != nullptr; }

  private:
    FrontEndDevice(FrontEndSpec spec, const FrontEndPowers& powers)
        : spec_(std::move(spec)), powers_(powers), config_(spec_.config) {}

    base::Result<void> adopt(std::unique_ptr<FrontEnd> back_end);
    base::Result<void> check(const FrontEnd& back_end) const;
    base::Result<void> fetch_config();
    base::Result<void> start_rings();
    base::Result<void> prepare_inflight();
    void lost(const base::Error& error);
    void give_up_queues();
    bool goes_on(const virtio::RunningQueue& queue) const;
    void look_again();
    void connect_again();
    void hear_back_channel();
    void show_link(bool up);
    std::uint16_t control_index() const;
    std::size_t back_end_queues() const;
    /// What the back end must have: not what the transport adds, such as NOTIFICATION_DATA.
    std::uint64_t back_end_features() const;
    base::Result<void> take(virtio::RunningQueue queue);
    base::Result<void> start_ring(const virtio::RunningQueue& queue);
    base::Result<void> start_control(virtio::RunningQueue queue);
    void set_pairs(std::uint16_t pairs);
    bool enabled(std::uint16_t queue) const { return queue < enabled_queues_; }
    void put_at(virtio::RunningQueue& queue);
    virtio::QueuePosition position_in_ring(const virtio::RunningQueue& queue) const;

    const FrontEndSpec spec_;
    const FrontEndPowers powers_;
    std::uint64_t features_ = 0;
    std::vector<std::uint8_t> config_;
    std::unique_ptr<FrontEnd> back_end_;
    std::unique_ptr<event::FdWatch> watch_;
    std::unique_ptr<event::FdWatch> back_channel_watch_;
    std::unique_ptr<event::Timer> retry_;
    RetryDelay retry_delay_;
    std::uint64_t adopted_at_ns_ = 0;
    /// Signalled when the device goes, and whether it does.
    base::FileDescriptor ending_;
    bool is_ending_ = false;
    /// Where back ends are looked for; made when the first one was lost.
    std::unique_ptr<event::ThreadPool> seeker_;
    bool failure_told_ = false;
    bool refusal_told_ = false;

    // From DRIVER_OK on.
    virtio::DeviceEvents* events_ = nullptr;
    std::uint64_t negotiated_ = 0;
    std::vector<virtio::RunningQueue> queues_;
    /// One for each of them.
    std::map<std::uint16_t, std::unique_ptr<virtio::ErrorBell>> error_bells_;
    std::unique_ptr<PairControl> control_;
    /// From the first one on.
    std::uint16_t enabled_queues_ = 0;
    /// A back end has run these queues, or does.
    bool begun_ = false;
    /// The driver was told that it must reset the device.
    bool given_up_ = false;
    /// What the back end leaves behind; from the first DRIVER_OK to the reset.
    std::optional<FrontEnd::InflightFile> inflight_;
};

}  // namespace cupule::vhost_user
