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
/// `begin`.
class NetControl : public virtio::RequestHandler {
  public:
    /// `mac` is what the configuration area shows: six bytes, the first one lowest.
    NetControl(std::span<const std::unique_ptr<NetPair>> pairs, std::atomic<std::uint64_t>& mac)
        : pairs_(pairs), mac_(mac) {}

    /// DRIVER_OK, before the queue runs: what a driver finds.
    void begin(std::uint64_t negotiated);
    std::uint32_t serve(const virtio::Chain& chain) override;

  private:
    bool execute(std::uint16_t command, virtio::ChainReader& reader);
    bool set_mode(std::uint16_t command, virtio::ChainReader& reader);
    bool set_tables(virtio::ChainReader& reader);
    bool set_address(virtio::ChainReader& reader);
    bool set_vlan(bool wanted, virtio::ChainReader& reader);
    bool set_pairs(virtio::ChainReader& reader);
    bool set_offloads(virtio::ChainReader& reader);
    bool negotiated(std::uint64_t feature) const { return (negotiated_ & feature) != 0; }
    void apply_filter();

    std::span<const std::unique_ptr<NetPair>> pairs_;
    std::atomic<std::uint64_t>& mac_;
    std::uint64_t negotiated_ = 0;
    NetFilter filter_;
};

}  // namespace cupule::device
