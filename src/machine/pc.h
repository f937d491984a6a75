#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "backend/stdio_channel.h"
#include "base/error.h"
#include "boot/loader.h"
#include "event/event_loop.h"
#include "event/thread_pool.h"
#include "hypervisor/vm.h"
#include "io/io_dispatcher.h"
#include "io/io_trace.h"
#include "irq/interrupt_router.h"
#include "machine/firmware.h"
#include "machine/interrupt_storm.h"
#include "machine/life_cycle.h"
#include "machine/memory_layout.h"
#include "machine/parts.h"
#include "machine/pci_devices.h"
#include "machine/platform_devices.h"
#include "machine/serial_ports.h"
#include "machine/statistics_detail.h"
#include "machine/vm_options.h"
#include "memory/guest_memory.h"

namespace cupule::machine {

/// What a machine gets from the process around it; all of it outlives the machine.
struct PcServices {
    event::EventLoop& loop;
    backend::StdioOwner& stdio;
    std::function<base::Result<std::unique_ptr<hypervisor::Vm>>(const hypervisor::VmSpec&)> make_vm;
    /// Whether the process blocks SIGIO and calls Pc::release_images for it.
    bool may_show_images = false;
};

/// A PC: which parts, at which addresses, wired how, and its life from power-on to its end.
/// Everything here belongs to the thread that runs the event loop.
class Pc : public LifeCycle::Control {
  public:
    /// Puts the machine together; nothing runs yet. `loader` holds the opened kernel.
    static base::Result<std::unique_ptr<Pc>> create(const VmOptions& options, PcServices services,
                                                    boot::GuestLoader loader);
    ~Pc() override;

    /// Runs the event loop until the machine has ended.
    base::Result<End> run();

    /// Not owned, outlives the run; nullptr: nobody. Set before `run`.
    void set_guest_events(GuestEvents* events) { guest_events_ = events; }

    /// As a person would: the guest decides what follows. Wakes a machine that sleeps, and lets a
    /// paused one run on.
    void press_power_button();
    /// As the reset button.
    void request_reset();
    /// Holds the processors until `go_on`; devices finish what they have begun. ACRN's hypervisor
    /// cannot let a paused machine run on: an error there.
    base::Result<void> pause();
    /// After `pause`, and for a guest that sleeps: it wakes. Nothing otherwise.
    base::Result<void> go_on();
    /// Paused or sleeping.
    bool at_rest() const { return paused_ || suspended_; }
    /// Ends the machine without asking the guest.
    void force_end(EndReason reason, std::string detail);
    /// Somebody waits to change a file that the guest's RAM shows (SIGIO): pauses the machine for
    /// as long as the copy takes.
    void release_images();

    /// What the machine and its devices have done so far: a line each.
    std::vector<std::string> statistics(
        StatisticsDetail detail = StatisticsDetail::percentiles) const;
    /// A drive that had no disk gets one; see PciDevices::insert_disk.
    base::Result<void> insert_disk(unsigned slot, const std::string& path);
    /// A balloon asks the guest for so much of its memory; see PciDevices::inflate.
    base::Result<void> inflate(unsigned slot, std::uint64_t size_mib);

    hypervisor::Vm& vm() { return *vm_; }
    Parts& parts() { return parts_; }
    const io::IoDispatcher& dispatcher() const { return *dispatcher_; }

  private:
    Pc(const VmOptions& options, PcServices services, boot::GuestLoader loader);

    // Putting together, in this order.
    base::Result<void> create_processors();
    base::Result<void> create_memory();
    base::Result<void> create_spine();
    base::Result<void> create_devices();
    FirmwareFacts firmware_facts() const;

    /// What firmware would do: tables, BARs, links, the kernel in memory, the boot processor's
    /// state.
    base::Result<void> prepare_boot();
    bool should_show_images() const;
    base::Result<void> start();
    /// Has the images copied while the guest runs, and then shown no longer (docs/adr/0010).
    void start_copying_images();
    base::Result<void> reset();
    base::Result<void> resume(device::WakeSource source);
    /// As `resume`, where a failure ends the machine.
    void wake(device::WakeSource source);
    void end(End end);
    void log_statistics(StatisticsDetail detail) const;
    void start_statistics_timer();
    void start_interrupt_monitor();
    void watch_interrupts();

    // LifeCycle::Control
    void reset_machine(device::ResetKind kind) override;
    void suspend_machine() override;
    void end_machine(const End& end) override;
    void alarm_rang() override;
    void guest_event(const GuestEvent& event) override;

    const VmOptions options_;
    PcServices services_;
    boot::GuestLoader loader_;
    MemoryLayout layout_;
    std::vector<std::uint32_t> apic_ids_;

    // Destroyed from the bottom up, with the processors parked: devices, then what their lines and
    // handlers lead to.
    std::unique_ptr<memory::GuestMemory> memory_;
    /// ACRN's, whose hypervisor has the pages in tables of its own.
    memory::GuestMemory::KeptPages kept_pages_;
    std::unique_ptr<io::IoTraceFile> trace_;
    std::unique_ptr<io::IoDispatcher> dispatcher_;
    Parts parts_;
    std::unique_ptr<hypervisor::Vm> vm_;
    struct Wiring;
    std::unique_ptr<Wiring> wiring_;
    FirmwareAddresses firmware_;
    event::Monitor statistics_monitor_;
    std::unique_ptr<event::Timer> statistics_timer_;
    event::Monitor storm_monitor_;
    std::unique_ptr<event::Timer> storm_timer_;
    std::optional<InterruptStorm> storm_;
    GuestEvents* guest_events_ = nullptr;
    /// The guest sleeps (S3).
    bool suspended_ = false;
    /// Somebody outside holds the processors: `start` waits for `go_on`.
    bool paused_ = false;
    std::optional<End> end_;
    /// Makes copies of shown images; first to be destroyed.
    std::unique_ptr<event::ThreadPool> copier_;
};

}  // namespace cupule::machine
