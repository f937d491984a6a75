#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "device/network/net_pair.h"
#include "virtio/queue_server.h"

namespace cupule::device {

/// The control queue's commands (Virtio 1.3, 5.1.6.5). On the worker that serves the queue, but for
/// `begin` and `apply`.
class NetControl : public virtio::RequestHandler {
  public:
    /// `mac` is what the configuration area shows: six bytes, the first one lowest.
    NetControl(std::span<const std::unique_ptr<NetPair>> pairs, std::atomic<std::uint64_t>& mac)
        : pairs_(pairs), mac_(mac) {}

    /// DRIVER_OK after a reset, before the queue runs: what a driver finds.
    void begin(std::uint64_t negotiated);
    /// Tells pairs and ports what the driver wants, before the queue runs.
    void apply();
    /// The configuration area shows another address.
    void follow_address();
    std::uint32_t serve(const virtio::Chain& chain) override;

  private:
    bool execute(std::uint16_t command, virtio::ChainReader& reader);
    bool set_mode(std::uint16_t command, virtio::ChainReader& reader);
    bool set_tables(virtio::ChainReader& reader);
    bool set_address(virtio::ChainReader& reader);
    bool set_vlan(bool wanted, virtio::ChainReader& reader);
    bool set_pairs(virtio::ChainReader& reader);
    bool set_rss(virtio::ChainReader& reader);
    bool set_offloads(virtio::ChainReader& reader);
    bool negotiated(std::uint64_t feature) const { return (negotiated_ & feature) != 0; }
    void apply_filter();
    void apply_pairs();

    std::span<const std::unique_ptr<NetPair>> pairs_;
    std::atomic<std::uint64_t>& mac_;
    std::uint64_t negotiated_ = 0;
    NetFilter filter_;
    std::uint16_t attached_pairs_ = 1;
    /// nullptr: the back end chooses a pair for each frame.
    std::shared_ptr<const backend::ReceiveSteering> steering_;
    /// Feature bits: what the guest takes now.
    std::uint64_t offloads_ = 0;
};

}  // namespace cupule::device
