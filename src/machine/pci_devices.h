#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "acpi/platform.h"
#include "backend/stdio_channel.h"
#include "base/error.h"
#include "event/event_loop.h"
#include "hypervisor/vm.h"
#include "io/io_dispatcher.h"
#include "irq/interrupt_router.h"
#include "machine/parts.h"
#include "machine/statistics_detail.h"
#include "machine/vm_options.h"
#include "memory/guest_memory.h"

namespace cupule::machine {

/// What a PCI device may be made from; the catalogue's factories take what they need.
struct PciDeviceContext {
    io::IoDispatcher& dispatcher;
    irq::InterruptRouter& interrupts;
    Parts& parts;
    /// Who answers byte accesses to port 0xCF9, and its lock.
    io::IoHandler& reset_control;
    event::Monitor& reset_monitor;
    /// To be called on the control thread, with no monitor held, when a function has left its slot.
    std::function<void()> bus_changed;
    memory::GuestMemory& memory;
    event::EventLoop& loop;
    hypervisor::Vm& vm;
    const VmOptions& options;
    backend::StdioOwner& stdio;
};

/// The PCI side of the machine: the root bus, its functions as `-s` asks for them, both ways to
/// their configuration space, and where their interrupts lead.
class PciDevices {
  public:
    /// `isa_irqs`: those that other devices drive by edges, which no link may share.
    static base::Result<std::unique_ptr<PciDevices>> create(const std::vector<SlotOptions>& slots,
                                                            const PciDeviceContext& context,
                                                            const std::vector<unsigned>& isa_irqs);
    ~PciDevices();

    /// What firmware does after power-on and reset: BARs, bus numbers, links, interrupt lines.
    base::Result<void> program();

    /// Lines for people about what the devices have done, each with the device's place and name.
    std::vector<std::string> statistics(StatisticsDetail detail) const;
    /// A drive that had no disk gets one (acrn-dm's blkrescan): slot on bus 0, function 0.
    base::Result<void> insert_disk(unsigned slot, const std::string& path);
    /// A balloon there asks the guest to give up so much of its memory in all.
    base::Result<void> inflate(unsigned slot, std::uint64_t size_mib);
    /// Around a change of the pages behind guest RAM, with the devices reset: devices of the host
    /// must not reach the old ones, and shall reach the new ones.
    base::Result<void> memory_leaves();
    void memory_returns();

    /// Of the functions of the host that VFIO has; nullptr where there are none.
    hypervisor::InterruptMonitor* interrupt_monitor();

    std::vector<acpi::PciRoute> routes() const;
    /// Whether there are functions that may leave their slot (PciDeviceContext::bus_changed).
    bool functions_leave() const;
    /// The highest bus number that `program` gave.
    std::uint8_t last_bus() const;
    /// What the name space says of passed-through devices, and the tables that users add for them.
    std::vector<acpi::AmlContribution> contributions() const;
    const std::vector<acpi::Table>& acpi_tables() const;
    /// The ISA bridge's place, when there is one.
    std::optional<acpi::LpcBridge> lpc() const;

  private:
    struct Impl;
    explicit PciDevices(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace cupule::machine
