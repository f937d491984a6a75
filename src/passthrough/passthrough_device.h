#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "event/event_loop.h"
#include "hypervisor/vm.h"
#include "passthrough/bar_window.h"
#include "passthrough/config_image.h"
#include "passthrough/domain_mapping.h"
#include "passthrough/host_device.h"
#include "passthrough/interrupt_relay.h"
#include "passthrough/passed_config.h"
#include "pci/function.h"
#include "pci/msi.h"
#include "pci/msix.h"
#include "pci/power_management.h"
#include "snapshot/device.h"

// A PCI function of the host in a guest (PCI Local Bus 3.0, PCI Express Base 3.1).
//
// Models: the host's function with its identity, BARs, ROM, MSI, MSI-X, INTx and capabilities at
// their places; which register is whose is in docs/passthrough.md. Function level reset resets the
// real function.
// Leaves out: INTx for guests that use the 8259 (it arrives at the IOAPIC only); DMA from one
// device into another's BAR; SR-IOV, resizable BARs, ATS and what else belongs to the host.
// Differs on purpose: the host's function stays in D0 with its decoding on whatever the guest
// writes, where D3hot takes its bus mastering and INTx away; a vector that the guest has never
// unmasked does not become pending.
namespace cupule::passthrough {

struct PassthroughOptions {
    /// Offers INTx although the device has messages.
    bool keep_intx = false;
    /// Emulates MSI-X on the device's MSI, its table in this unused BAR.
    std::optional<unsigned> msix_on_msi_bar = std::nullopt;
    /// Shows the PTM capability.
    bool time_measurement = false;
    /// Contents of the expansion ROM instead of the device's own; empty: none.
    std::vector<std::uint8_t> rom{};
};

class PassthroughDevice : public snapshot::Device, private pci::FunctionEvents {
  public:
    struct Powers {
        hypervisor::Vm& vm;
        event::EventLoop& loop;
        /// The lock of the function: whoever calls holds it.
        event::Monitor& monitor;
        /// The function has left its slot for good: to tell the guest. Posted to the loop; may be
        /// empty.
        std::function<void()> gone{};
        /// What the device's DMA reaches, where that is still being mapped; nullptr: it is there.
        DomainMapping* memory = nullptr;
    };
    /// Fails, naming the reason, where the function or an option cannot be had.
    static base::Result<std::unique_ptr<PassthroughDevice>> create(std::unique_ptr<HostDevice> host,
                                                                   PassthroughOptions options,
                                                                   Powers powers);
    ~PassthroughDevice() override;

    pci::Function& function() { return function_; }
    HostDevice& host() { return *host_; }
    /// Where INTx leads, when the function has a pin.
    void connect_intx(irq::Gsi gsi) { relay_->connect_intx(gsi); }
    void disconnect_intx() { relay_->disconnect_intx(); }
    /// See InterruptRelay.
    void hold_interrupts(bool held) { relay_->hold(held); }
    void let_interrupts_through() { relay_->let_through(); }
    /// Guest accesses to BARs that made an exit.
    std::uint64_t trapped_accesses() const;
    /// Its interrupts that this process carried: in steady state none.
    std::uint64_t taken_interrupts() const { return relay_->taken(); }
    /// The host takes the device away: the guest sees it gone, and the host has it back.
    void lose(HostLoss loss);

    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

  private:
    class ResetTrigger;
    class Rom;

    PassthroughDevice(std::unique_ptr<HostDevice> host, PassthroughOptions options, Powers powers,
                      const pci::Attributes& attributes);

    static base::Result<pci::Attributes> read_attributes(HostDevice& host,
                                                         const PassthroughOptions& options);
    base::Result<void> add_capabilities(const ConfigImage& image);
    void add_capability(const ConfigCapability& capability);
    void add_extended(const ConfigCapability& capability);
    void add_emulated(const ConfigCapability& capability);
    void add_power_management(const ConfigCapability& capability);
    void add_msi(const ConfigCapability& capability);
    void add_msix(const ConfigCapability& capability);
    base::Result<void> add_msix_on_msi();
    base::Result<void> add_bars();
    base::Result<void> add_rom();
    void add_header_fields();
    base::Result<void> watch_losses();
    /// Resets it by `way`, with what the guest sees of it reset before: its interrupts are
    /// connected afresh.
    void settle_host(base::Result<void> (HostDevice::*way)());
    void leave();
    /// Before the guest lets it master the bus: all that its DMA may reach is there. False: it
    /// never will be, and the device is gone.
    bool wait_for_memory();
    std::uint16_t passed_command() const;
    void forward_command();

    void config_reading(std::uint64_t offset, unsigned size) override;
    void config_written(std::uint64_t offset, unsigned size) override;
    void function_level_reset() override;

    // Destroyed from the bottom up: what uses the host before the host.
    std::unique_ptr<HostDevice> host_;
    PassthroughOptions options_;
    Powers powers_;
    std::unique_ptr<Rom> rom_;
    std::array<std::unique_ptr<BarWindow>, pci::bar_count> windows_;
    pci::Function function_;
    PassedConfig passed_;
    std::unique_ptr<pci::PowerManagement> power_;
    std::unique_ptr<pci::Msi> msi_;
    std::unique_ptr<pci::Msix> msix_;
    pci::MsixLayout msix_layout_;
    std::vector<std::unique_ptr<ResetTrigger>> triggers_;
    std::unique_ptr<InterruptRelay> relay_;
    std::uint16_t forwarded_command_ = 0;
    base::HostFault not_reset_;
    std::vector<std::unique_ptr<event::FdWatch>> loss_watches_;
};

}  // namespace cupule::passthrough
