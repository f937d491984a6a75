#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "event/event_loop.h"
#include "irq/interrupt.h"
#include "memory/guest_memory.h"
#include "pci/bar_regions.h"
#include "pci/function.h"
#include "pci/msi.h"
#include "pci/msix.h"
#include "pci/vector_observer.h"
#include "snapshot/device.h"
#include "virtio/device.h"
#include "virtio/device_state.h"
#include "virtio/event_wiring.h"
#include "virtio/pci_layout.h"
#include "virtio/queue_config.h"

// Virtio over PCI (Virtio 1.3, 4.1): modern, transitional and legacy devices.
//
// Models: all five capabilities with the configuration access window, MSI-X with a vector for each
// queue and one for configuration changes, or one MSI vector, INTx with the ISR register, queue
// reset, notification data; DMA only while the driver lets the function master the bus.
// Leaves out: the administration queue, shared memory regions, legacy drivers that use a device
// before DRIVER_OK, resuming a restored queue (a restored driver is asked to reset).
// Differs on purpose: from acrn-dm in checking whatever the driver writes.
namespace cupule::virtio {

/// Which interfaces a device shows (4.1.4.8, 4.1.4.10). The legacy one has the ids and the I/O BAR
/// that acrn-dm's devices have.
enum class PciTransportModel : std::uint8_t { modern, transitional, legacy };

/// What a transport is made from; all of it outlives the transport.
struct PciTransportPowers {
    const memory::GuestMemory& memory;
    event::EventLoop& loop;
    /// The lock of the function and its device.
    event::Monitor& monitor;
    irq::MessageSink& messages;
    /// nullptr: doorbells and interrupts all pass through the device model.
    EventWiring* wiring = nullptr;
    /// One MSI vector instead of MSI-X (acrn-dm's --virtio_msi). Its message comes with the ISR
    /// register set, as INTx does: Virtio 1.3 knows nothing between the two.
    bool msi_only = false;
    /// All but modern: only devices of the types that were there before Virtio 1.0.
    PciTransportModel model = PciTransportModel::modern;
    std::uint16_t subsystem_vendor_id = pci_layout::vendor_id;
};

/// A virtio device on a PCI bus: owns the device, its registers and the bells of its queues. All
/// calls with the monitor held, except construction and destruction.
class PciTransport : public snapshot::Device,
                     private pci::FunctionEvents,
                     private pci::BarMapper,
                     private pci::VectorObserver,
                     private DeviceEvents {
  public:
    /// Fails when the host has no eventfds left, or the device type has no legacy interface.
    static base::Result<std::unique_ptr<PciTransport>> create(
        std::unique_ptr<virtio::Device> device, const PciTransportPowers& powers);
    /// Stops the device. The processors are parked; takes the monitor.
    ~PciTransport() override;

    pci::Function& function() { return function_; }
    virtio::Device& device() { return *device_; }
    const virtio::Device& device() const { return *device_; }
    /// Whether the driver's queues run, or would if it allowed DMA.
    bool active() const { return active_; }

    /// Once this returns no worker touches guest memory.
    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

  private:
    /// One of the four structures in the BAR: forwards to a pair of member functions.
    class Region : public io::IoHandler {
      public:
        using Read = std::uint64_t (PciTransport::*)(std::uint64_t, unsigned);
        using Write = void (PciTransport::*)(std::uint64_t, unsigned, std::uint64_t);
        Region(PciTransport& transport, Read reader, Write writer)
            : transport_(transport), read_(reader), write_(writer) {}
        std::uint64_t read(std::uint64_t offset, unsigned size) override {
            return (transport_.*read_)(offset, size);
        }
        void write(std::uint64_t offset, unsigned size, std::uint64_t value) override {
            (transport_.*write_)(offset, size, value);
        }

      private:
        PciTransport& transport_;
        Read read_;
        Write write_;
    };
    /// A queue's registers and bells.
    struct Slot {
        explicit Slot(QueueLimits limits) : registers(limits) {}
        QueueRegisters registers;
        std::uint16_t vector = pci_layout::no_vector;
        base::FileDescriptor kick{};
        base::FileDescriptor call{};
        /// Sends what the hypervisor does not: paused while the call is routed.
        std::unique_ptr<event::FdWatch> call_watch{};
        bool routed = false;
        std::optional<io::Doorbell> doorbell{};
        /// Set by a worker, taken by `hear_news`.
        std::atomic<QueueFault> fault{QueueFault::none};
    };
    struct State {
        std::uint32_t device_feature_select = 0;
        std::uint32_t driver_feature_select = 0;
        std::uint16_t config_vector = pci_layout::no_vector;
        std::uint16_t queue_select = 0;
        std::uint8_t generation = 0;
        std::uint8_t isr = 0;
    };

    PciTransport(std::unique_ptr<virtio::Device> device, const PciTransportPowers& powers);
    base::Result<void> open_bells();

    // pci_capabilities.cc
    void add_capabilities();
    void add_msix();
    void add_bars();
    void config_reading(std::uint64_t offset, unsigned size) override;
    void config_written(std::uint64_t offset, unsigned size) override;
    /// Where the window leads, when what the driver set up is an access there can be.
    struct WindowAccess {
        std::uint64_t offset = 0;
        unsigned size = 0;
    };
    std::optional<WindowAccess> window_access() const;

    // pci_registers.cc
    std::uint64_t read_common(std::uint64_t offset, unsigned size);
    void write_common(std::uint64_t offset, unsigned size, std::uint64_t value);
    std::uint64_t common_register(std::uint64_t offset) const;
    std::uint64_t queue_register(std::uint64_t offset) const;
    void write_queue_register(Slot& slot, std::uint64_t offset, std::uint64_t value);
    void write_area(Slot& slot, std::uint64_t offset, unsigned size, std::uint64_t value);
    std::uint16_t checked_vector(std::uint64_t value) const;
    std::uint64_t read_isr(std::uint64_t offset, unsigned size);
    void write_nothing(std::uint64_t offset, unsigned size, std::uint64_t value);
    std::uint64_t read_device(std::uint64_t offset, unsigned size);
    void write_device(std::uint64_t offset, unsigned size, std::uint64_t value);
    std::uint64_t read_notify(std::uint64_t offset, unsigned size);
    void write_notify(std::uint64_t offset, unsigned size, std::uint64_t value);

    // pci_legacy.cc
    std::uint64_t read_legacy(std::uint64_t offset, unsigned size);
    void write_legacy(std::uint64_t offset, unsigned size, std::uint64_t value);
    std::uint64_t legacy_register(std::uint64_t offset);
    void write_legacy_queue(std::uint64_t page_number);
    std::uint64_t legacy_device_offset() const;

    // pci_transport.cc: the life of device and queues
    void write_status(std::uint8_t value);
    void start();
    void stop();
    void reset_device();
    void enable_queue(Slot& slot);
    void reset_queue(Slot& slot);
    void enable_late(Slot& slot);
    void take_back(Slot& slot);
    bool modern() const { return powers_.model == PciTransportModel::modern; }
    bool legacy_driver() const;
    base::Result<void> hand_over(std::vector<RunningQueue> queues);
    void follow_bus_master();
    void need_reset();
    void report_fault(std::size_t index, QueueFault fault);
    std::optional<RunningQueue> activate_queue(std::size_t index);
    void visit_queue(Slot& slot, snapshot::Visitor& visitor);

    // pci_events.cc: bells and interrupts
    void ring_in(Slot& slot);
    void ring_out(Slot& slot);
    void update_doorbell(Slot& slot);
    std::optional<io::Doorbell> doorbell_of(const Slot& slot) const;
    void update_route(Slot& slot);
    void interrupt_queue(Slot& slot);
    void interrupt_config();
    bool msix_enabled() const { return msix_ && msix_->enabled(); }
    void interrupt_by_isr();
    void update_intx() { function_.intx().set_level(state_.isr != 0); }
    void hear_news();
    void bar_moved(unsigned bar, std::optional<std::uint64_t> address) override;
    void vector_changed(unsigned vector, std::optional<irq::MsiMessage> message) override;
    // DeviceEvents: any thread.
    void config_changed() override;
    void queue_broken(std::uint16_t index, QueueFault fault) override;

    Slot* selected();
    std::size_t index_of(const Slot& slot) const;

    const std::unique_ptr<virtio::Device> device_;
    const PciTransportPowers powers_;
    pci::Function function_;
    /// One of the two.
    std::unique_ptr<pci::Msix> msix_;
    std::unique_ptr<pci::Msi> msi_;
    Region common_;
    Region isr_;
    Region device_region_;
    Region notify_;
    Region legacy_;
    pci::BarRegions structures_;
    pci::BarRegions msix_regions_;
    std::uint16_t window_ = 0;

    DeviceState device_state_;
    State state_;
    std::vector<std::unique_ptr<Slot>> slots_;
    bool active_ = false;
    /// Active, but the driver allows no DMA: the queues wait here instead of in the device.
    bool held_ = false;
    std::vector<RunningQueue> held_queues_;
    /// What each MSI-X vector sends now.
    std::vector<std::optional<irq::MsiMessage>> messages_;
    std::optional<std::uint64_t> structures_at_;
    std::optional<std::uint64_t> legacy_at_;

    /// Signalled by workers when there is news; says nothing by itself.
    base::FileDescriptor news_;
    std::unique_ptr<event::FdWatch> news_watch_;
    std::atomic<bool> config_news_{false};

    base::GuestFault bad_width_;
    base::GuestFault bad_queue_write_;
    /// Said once, however often a driver breaks one.
    bool fault_told_ = false;
};

}  // namespace cupule::virtio
