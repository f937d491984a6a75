#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "backend/stream_host.h"
#include "base/log.h"
#include "device/network/vsock_connection.h"
#include "device/network/vsock_protocol.h"
#include "event/worker.h"
#include "virtio/device.h"
#include "virtio/worker_queue.h"

// virtio socket device (Virtio 1.3, 5.10), served by this process: stream sockets between the guest
// and programs of the host, which need no AF_VSOCK.
//
// Models: STREAM; connections from either side, credit both ways, half-closed connections.
// Leaves out: SEQPACKET; the transport-reset event (a restored guest is asked for a reset).
// Differs on purpose: what a guest sent before it closed still reaches a program that reads slowly,
// after the guest has its answer.
namespace cupule::device {

class VirtioVsock : public virtio::Device,
                    private backend::StreamHostEvents,
                    private VsockConnection::Owner {
  public:
    /// Connections at one time; what goes beyond is refused. Each holds at most
    /// VsockConnection::buffer_bytes.
    static constexpr std::size_t connections_max = 512;

    /// Both outlive the device; the host belongs to the worker.
    VirtioVsock(std::uint32_t guest_cid, backend::StreamHost& host, event::Worker& worker);
    ~VirtioVsock() override;

    virtio::DeviceId id() const override {
        return {.name = "virtio-vsock", .type = 19, .pci_class = 0x078000};
    }
    std::uint64_t features() const override;
    std::span<const virtio::QueueLimits> queues() const override { return limits_; }
    std::uint64_t read_config(std::uint64_t offset, unsigned size) override;
    void write_config(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    base::Result<void> activate(std::uint64_t negotiated, std::vector<virtio::RunningQueue> queues,
                                virtio::DeviceEvents& events) override;
    std::vector<virtio::RunningQueue> deactivate() override;
    std::vector<virtio::QueueReport> report() const override;
    std::optional<virtio::RunningQueue> stop_queue(std::uint16_t index) override;
    base::Result<void> start_queue(virtio::RunningQueue queue) override;
    /// All connections end.
    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

  private:
    // On the worker.
    void connect_wanted(std::unique_ptr<backend::HostStream> stream, std::uint32_t port) override;
    void host_did_something(VsockConnection& connection) override;
    base::Result<void> start(virtio::RunningQueue queue);
    std::optional<virtio::RunningQueue> stop(std::uint16_t index);
    void forget_all();

    void serve_transmit();
    void take(const virtio::Chain& chain);
    void take_for(const vsock::Header& header, virtio::ChainReader data);
    void open_for_guest(const vsock::Header& header);
    void close(const vsock::Ports& ports, VsockConnection::Verdict verdict);
    void refuse(const vsock::Ports& ports);
    bool full() const { return connections_.size() + draining_.size() >= connections_max; }

    void fill_receive();
    bool has_news() const { return !resets_.empty() || !news_.empty(); }
    void list_if_news(VsockConnection& connection);
    /// Writes the next packet into a chain: its bytes, 0 when there was nothing to say after all.
    std::uint32_t fill(const virtio::Chain& chain);
    std::uint32_t write_packet(const virtio::Chain& chain, vsock::Header header);

    static constexpr std::size_t queue_count = 3;
    static constexpr virtio::QueueLimits limit_{.size_max = 256, .segments_max = 64};
    static constexpr std::array<virtio::QueueLimits, queue_count> limits_{limit_, limit_, limit_};

    const std::uint32_t guest_cid_;
    backend::StreamHost& host_;
    event::Worker& worker_;
    virtio::DeviceEvents* events_ = nullptr;
    std::array<std::unique_ptr<virtio::WorkerQueue>, queue_count> queues_;
    std::array<virtio::QueueMeter, queue_count> meters_;
    /// A receive buffer that nothing has come for.
    virtio::Chain waiting_;

    std::map<vsock::Ports, std::unique_ptr<VsockConnection>> connections_;
    /// Closed for the guest, with bytes that the host has not taken.
    std::vector<std::unique_ptr<VsockConnection>> draining_;
    /// Those with something for the guest, each once, in turn.
    std::deque<VsockConnection*> news_;
    /// Resets that the guest has no buffer for yet: at most resets_max.
    std::deque<vsock::Ports> resets_;
    /// Host ports of connections that the host asks for, in turn.
    std::uint32_t next_port_;
    base::GuestFault bad_packet_{"virtio-vsock", "a packet without sense, to be dropped: length"};
    base::GuestFault bad_sender_{"virtio-vsock", "a packet of another sender: address"};
    base::GuestFault bad_buffer_{"virtio-vsock", "a receive buffer without room: bytes"};
    base::GuestFault no_buffers_{"virtio-vsock", "packets without buffers for resets: port"};
};

}  // namespace cupule::device
