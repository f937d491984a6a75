#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/byte_channel.h"
#include "base/log.h"
#include "device/serial/virtio_console_port.h"
#include "event/worker.h"
#include "virtio/device.h"
#include "virtio/worker_queue.h"

// virtio console device (Virtio 1.3, 5.3).
//
// Models: up to 16 ports, MULTIPORT with its control messages (names, consoles, open and closed on
// both sides, size), SIZE; a driver without MULTIPORT has the first port.
// Leaves out: EMERG_WRITE, ports that come and go.
// Differs on purpose: a size has its columns first, as the specification says; Linux before 6.16
// reads it the other way round.
namespace cupule::device {

struct VirtioConsolePortSpec {
    /// What the guest finds below /dev/virtio-ports; cut to 64 bytes.
    std::string name{};
    /// Becomes an hvc terminal.
    bool console = false;
};

struct ConsolePortPowers {
    VirtioConsolePortSpec spec;
    /// Opened for the worker's loop and monitor.
    backend::ByteChannel& channel;
};

class VirtioConsole : public virtio::Device, private VirtioConsolePort::Listener {
  public:
    static constexpr std::size_t ports_max = 16;

    /// 1 to ports_max ports. All outlives the device; channels belong to the worker.
    VirtioConsole(std::span<const ConsolePortPowers> ports, event::Worker& worker);
    ~VirtioConsole() override;

    virtio::DeviceId id() const override {
        return {.name = "virtio-console", .type = 3, .pci_class = 0x078000};
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
    void reset() override;
    void visit(snapshot::Visitor& /*visitor*/) override {}

    /// The size of the terminal behind all console ports changed. On the worker.
    void resize(std::uint16_t columns, std::uint16_t rows);

  private:
    struct Port {
        VirtioConsolePortSpec spec;
        std::unique_ptr<VirtioConsolePort> port;
        /// The driver said PORT_READY: it hears of what happens to the port.
        bool ready = false;
    };

    // On the worker.
    void host_side_changed(VirtioConsolePort& port) override;
    base::Result<void> start(virtio::RunningQueue queue);
    std::optional<virtio::RunningQueue> stop(std::uint16_t index);
    void serve_control();
    void handle(std::uint32_t id, std::uint16_t event, std::uint16_t value);
    void introduce(std::uint32_t id);
    void tell(std::uint32_t id, std::uint16_t event, std::uint16_t value,
              std::string_view tail = {});
    void tell_size(std::uint32_t id);
    void send_messages();

    event::Worker& worker_;
    std::vector<Port> ports_;
    std::vector<virtio::QueueLimits> limits_;
    bool multiport_ = false;
    virtio::DeviceEvents* events_ = nullptr;
    virtio::QueueMeter control_in_meter_;
    virtio::QueueMeter control_out_meter_;
    std::unique_ptr<virtio::WorkerQueue> control_in_;
    std::unique_ptr<virtio::WorkerQueue> control_out_;
    /// Messages for the driver that have no buffer yet: at most messages_max.
    std::deque<std::vector<std::uint8_t>> messages_;
    /// columns | rows << 16: the configuration area shows it.
    std::atomic<std::uint32_t> size_{0};
    base::GuestFault too_many_{"virtio-console", "control messages without buffers for answers"};
    base::GuestFault bad_message_{"virtio-console", "a control message for a port there is not"};
};

}  // namespace cupule::device
