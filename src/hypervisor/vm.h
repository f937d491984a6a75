#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "hypervisor/device_assigner.h"
#include "hypervisor/interrupt_monitor.h"
#include "hypervisor/vcpu_state.h"
#include "io/doorbell.h"
#include "io/io_request.h"
#include "irq/interrupt.h"
#include "memory/guest_address.h"

namespace cupule::hypervisor {

// The boundary is cut where ACRN and KVM differ (ADR 0002). A request source calls an IoClient;
// whether a request arrived by a vCPU exit on the vCPU's own thread (KVM) or through the shared
// page of 16 slots and a client thread (ACRN) does not show above this line.

/// Why a VM cannot go on by itself. Reported once per run, from a vCPU's thread.
enum class VmStop : std::uint8_t {
    triple_fault,    // the guest shut its processor down
    power_off,       // the hypervisor side saw the guest's power-off (ACRN)
    internal_error,  // the hypervisor cannot run this guest; `detail` says what it printed
};

class VmEvents {
  public:
    virtual ~VmEvents() = default;
    /// The VM has asked itself to pause (as request_pause) before this is called.
    virtual void vm_stopped(VmStop reason, const std::string& detail) = 0;
};

struct VmSpec {
    std::string name;
    unsigned vcpus = 1;
    /// CPU of each vCPU as the hypervisor numbers them (on ACRN physical CPUs); empty: not pinned.
    std::vector<unsigned> cpu_affinity{};
    /// APIC id of each vCPU; `vcpus` long, ascending order not required.
    std::vector<std::uint32_t> apic_ids{};
    /// The guest may halt and spin on its processors without giving them back, and is told so: for
    /// vCPUs that have processors of their own.
    bool owns_processors = false;
};

enum class MemoryAccess : std::uint8_t { read_write, read_only };

/// Guest physical memory as the hypervisor maps it: RAM, and host memory behind a BAR, which the
/// guest moves while it runs. Any thread.
class MemoryMapper {
  public:
    virtual ~MemoryMapper() = default;
    /// Backs [base, base + size) with host memory that outlives the mapping. All page-aligned.
    /// Fails where something is mapped already.
    virtual base::Result<void> map(memory::GuestAddress base, std::uint64_t size, std::byte* host,
                                   MemoryAccess access) = 0;
    /// Ends a mapping made with exactly this base.
    virtual base::Result<void> unmap(memory::GuestAddress base) = 0;
};

/// Doorbells the hypervisor answers without visiting the device model (ioeventfd). Any thread.
class DoorbellRegistrar {
  public:
    virtual ~DoorbellRegistrar() = default;
    virtual base::Result<void> add_doorbell(const io::Doorbell& doorbell) = 0;
    virtual void remove_doorbell(const io::Doorbell& doorbell) = 0;
};

/// Interrupts injected by an eventfd alone (irqfd). Any thread.
class InterruptEventRegistrar {
  public:
    virtual ~InterruptEventRegistrar() = default;
    /// Each signal of `eventfd` sends `message`. A second call for the same eventfd replaces the
    /// message.
    virtual base::Result<void> route_message(int eventfd, const irq::MsiMessage& message) = 0;
    /// Each signal of `eventfd` asserts the GSI; when the guest ends the interrupt the GSI falls
    /// and `resample_eventfd` is signalled.
    virtual base::Result<void> route_level(int eventfd, irq::Gsi gsi, int resample_eventfd) = 0;
    virtual void unroute(int eventfd) = 0;
    /// What eventfds assert on a GSI of PCI (from the sixteenth on) reaches this input of the 8259s
    /// too, for guests in PIC mode, and their end of the interrupt counts; std::nullopt: none.
    /// Where the chips are not the kernel's, nothing happens.
    virtual void route_to_pic(irq::Gsi /*gsi*/, std::optional<std::uint8_t> /*irq*/) {}
};

// Inputs of the IOAPIC as their electrical levels are: what ACRN's interface speaks of. An ISA line
// is asserted high, PCI's from the sixteenth on low; the timer's input is 2, elsewhere GSI 0.

constexpr bool is_low_active(irq::Gsi gsi) {
    constexpr std::uint32_t isa_irqs = 16;
    return gsi.value >= isa_irqs;
}

constexpr std::uint32_t electrical_gsi(irq::Gsi gsi) {
    constexpr std::uint32_t timer_input = 2;
    return gsi.value == 0 ? timer_input : gsi.value;
}

/// One virtual machine. `start`, `pause`, `reset` and destruction belong to the control thread,
/// with no monitor held; request_pause and the interrupt and registrar interfaces to any.
class Vm : public irq::InterruptController,
           public MemoryMapper,
           public DoorbellRegistrar,
           public InterruptEventRegistrar {
  public:
    /// Runs all vCPUs; their requests go to `client`, stops to `events`. Both outlive the run.
    virtual base::Result<void> start(io::IoClient& client, VmEvents& events) = 0;
    /// No vCPU executes guest code or is inside `client` once this returns. Idempotent.
    virtual void pause() = 0;
    /// The vCPU that calls this (from inside `client`) does not return to the guest, the others
    /// leave it soon; the control thread completes it with `pause`. So a guest never runs past its
    /// reset write.
    virtual void request_pause() = 0;
    /// Paused: back to the power-on state of processors and interrupt controllers; lines fall.
    /// Memory mappings, doorbells and routes stay. What eventfds assert (route_level) falls as if
    /// the guest had ended it, which it no longer will: whoever still interrupts says so again.
    virtual base::Result<void> reset() = 0;
    /// Paused or not yet started: how vCPU 0 begins. The others wait for INIT and SIPI.
    virtual base::Result<void> set_boot_state(const VcpuState& state) = 0;
    /// Drives an input of the IOAPIC, below gsi_count(), electrically. Where the interrupt
    /// controllers know no polarity, is_low_active says what that means. Any thread.
    virtual void drive_gsi(std::uint32_t gsi, bool high);
    /// Exits to the device model so far, for statistics.
    virtual std::uint64_t request_count() const = 0;
    /// The machine has devices of a VFIO group of the host from now on, or no longer: hypervisors
    /// that share the host's page tables with it care how those devices see caches, and deliver
    /// interrupts straight to running vCPUs. The group's descriptor is held until it is removed.
    /// Control thread.
    virtual base::Result<void> add_device_group(int /*group_fd*/) { return {}; }
    virtual void remove_device_group(int /*group_fd*/) {}
    /// What the hypervisor itself knows of the interrupts of passed-through devices; nullptr:
    /// nothing. The VM's.
    virtual InterruptMonitor* interrupt_monitor() { return nullptr; }
    /// Who gives devices of the host to the guest; nullptr: not the hypervisor (the device model
    /// does, by VFIO). The VM's.
    virtual DeviceAssigner* device_assigner() { return nullptr; }
};

}  // namespace cupule::hypervisor
