#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "acpi/platform.h"
#include "acpi/table.h"
#include "base/error.h"
#include "machine/assigned_slot.h"
#include "machine/pci_devices.h"
#include "machine/vm_options.h"
#include "passthrough/domain_mapping.h"
#include "passthrough/driver_binding.h"
#include "passthrough/driver_keeper.h"
#include "passthrough/iommufd_domain.h"
#include "passthrough/passthrough_device.h"
#include "passthrough/slot_options.h"
#include "passthrough/time_measurement.h"
#include "passthrough/vfio_domain.h"
#include "pci/bus.h"
#include "pci/intx_router.h"

namespace cupule::machine {

/// Where the host's devices are looked for, and who gives them back; tests name their own.
struct PassthroughHost {
    std::string root{};
    passthrough::DriverBinding::Writer writer{};
    std::vector<std::string> keeper = {"/proc/self/exe", "passthrough", "keep"};
};

/// The slots that ask for `passthru`: the host's functions behind them, the IOMMU domain they
/// share, and their places on the guest's buses. Control thread.
class PassthroughSlots {
  public:
    /// Parses and checks all such slots together, then gives to vfio-pci what it may have for the
    /// time of this run; nothing is opened. Errors name the slot.
    static base::Result<std::unique_ptr<PassthroughSlots>> create(
        const std::vector<SlotOptions>& slots, const PciDeviceContext& context,
        PassthroughHost host = {});
    ~PassthroughSlots();

    /// VFIO's functions enter the guest's IOMMU domain, and RAM begins to (DomainMapping). When all
    /// parts are made that move RAM, before `add`.
    base::Result<void> open_domain();
    /// Opens the host's function of a slot that was checked, and puts it on the bus.
    base::Result<void> add(const SlotOptions& slot, pci::Bus& root);
    /// After the router has connected the bus.
    void connect_intx(const pci::IntxRouter& router);
    /// The ISA bridge carries a link to an ISA IRQ, or nowhere. After connect_intx; any thread.
    void link_routed(unsigned link, std::optional<std::uint8_t> irq);

    /// A device in the guest's name space for each slot, by its place: what user tables add to.
    std::vector<acpi::AmlContribution> contributions() const;
    /// Names of the functions that VFIO has, "0000:03:00.0".
    std::vector<std::string> host_functions() const;
    bool empty() const { return slots_.empty(); }
    /// Of all slots; see passthrough::InterruptRelay. No monitor held.
    void hold_interrupts(bool held);
    void let_interrupts_through();

    /// A line for each device: what of its registers and interrupts went through this process.
    std::vector<std::string> statistics() const;

    /// The tables that `dsdt=` names.
    base::Result<std::vector<acpi::Table>> acpi_tables() const;

    /// Functions that the hypervisor itself assigns come to the guest: BARs and buses have their
    /// numbers, the VM does not run. They leave with its memory.
    base::Result<void> assign();

    /// Guest RAM leaves the IOMMU while its pages are replaced (reset), and begins to come back.
    /// Devices do not master the bus until it is there.
    base::Result<void> unmap_memory();
    void map_memory();
    /// Before the guest runs: what is known by now to keep RAM out of the IOMMU.
    base::Result<void> check_memory();

  private:
    struct Slot;
    PassthroughSlots(const PciDeviceContext& context, PassthroughHost host);

    base::Result<std::unique_ptr<passthrough::HostDevice>> open_host(const Slot& slot);
    base::Result<void> make_domain();
    base::Result<void> admit(const Slot& slot);
    /// Whether the kernel has VFIO's newer interface for all slots.
    bool has_iommufd() const;
    passthrough::VfioPlace vfio_place(const Slot& slot) const;
    static base::Result<void> find_model(Slot& slot);
    /// Of the slots with a function of the host.
    std::vector<const passthrough::SlotText*> host_slots() const;
    base::Result<void> check_host();
    base::Result<void> check_host_of_hypervisor();
    base::Result<std::unique_ptr<passthrough::HostDevice>> open_host_of_hypervisor(
        const Slot& slot);
    void make_assigned(Slot& slot);
    base::Result<void> take_functions(const passthrough::HostTopology& host);
    /// Whether the host has taken all its devices back.
    bool lost_all() const;
    /// The function goes back to its driver when this process ends.
    base::Result<void> keep(const passthrough::HostAddress& address);
    base::Result<void> add(Slot& slot, pci::Bus& root);
    /// What gives the device its time, when the user wants PTM and it can be had.
    static std::optional<passthrough::TimeSource> time_source(const Slot& slot);

    PciDeviceContext context_;
    const PassthroughHost host_;
    const passthrough::DriverBinding binding_;
    /// Destroyed last: the devices are closed then.
    std::unique_ptr<passthrough::DriverKeeper> keeper_;
    /// Destroyed after the devices in it.
    passthrough::VfioKernel kernel_;
    passthrough::VmListener listener_;
    std::unique_ptr<passthrough::VfioDomain> domain_;
    /// Of `domain_`, which it leaves before that is closed.
    std::unique_ptr<passthrough::DomainMapping> mapping_;
    /// nullptr: VFIO's, not the hypervisor's.
    hypervisor::DeviceAssigner* const assigner_;
    /// As the host's kernel says, once check_host has looked.
    bool interrupts_remapped_ = false;
    std::uint8_t last_port_number_ = 0;
    /// The links of INTx by the GSIs they have in APIC mode.
    std::vector<std::pair<irq::Gsi, unsigned>> links_;
    std::vector<std::unique_ptr<Slot>> slots_;
};

}  // namespace cupule::machine
