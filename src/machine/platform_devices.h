#pragma once

#include <array>
#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "device/input/i8042.h"
#include "device/platform/acpi_pm.h"
#include "device/platform/debug_exit.h"
#include "device/platform/post_code.h"
#include "device/platform/reset_control.h"
#include "device/timer/hpet.h"
#include "device/timer/line_gate.h"
#include "device/timer/pit_8254.h"
#include "device/timer/rtc_mc146818.h"
#include "event/event_loop.h"
#include "io/io_dispatcher.h"
#include "irq/interrupt_router.h"
#include "machine/life_cycle.h"
#include "machine/parts.h"

namespace cupule::machine {

struct PlatformDeviceOptions {
    device::RamSizes ram;
    bool debug_exit = false;
};

/// GSIs that HPET comparators may use: the last four of KVM's 24, or 24 to 31 of ACRN's 48.
std::pair<unsigned, unsigned> hpet_gsis(unsigned gsi_count);

/// The parts every PC has at fixed places: clocks, timers, power, keyboard controller. Maps them
/// and registers them with `parts`.
class PlatformDevices {
  public:
    /// ISA IRQs that these parts drive by edges: timer, keyboard, clock, mouse.
    static constexpr std::array<unsigned, 4> isa_irqs{0, 1, 8, 12};

    static base::Result<std::unique_ptr<PlatformDevices>> create(
        const PlatformDeviceOptions& options, io::IoDispatcher& dispatcher,
        irq::InterruptRouter& interrupts, irq::MessageSink& messages, event::EventLoop& loop,
        LifeCycle& life_cycle, Parts& parts);
    ~PlatformDevices();

    void press_power_button();
    void wake(device::WakeSource source);
    /// Something on the PCI bus has gone: the guest's ACPI looks for what is there.
    void bus_changed();
    /// What should wake a machine that sleeps; see device::AcpiPm::pending_wake.
    std::optional<device::WakeSource> pending_wake() const;
    /// The reset control register shares its port with PCI configuration mechanism 1.
    io::IoHandler& reset_control();
    event::Monitor& reset_monitor();

  private:
    class Clocks;
    class HighPrecisionTimer;
    class Keyboard;
    class Power;
    PlatformDevices();

    std::unique_ptr<Power> power_;
    std::unique_ptr<Clocks> clocks_;
    std::unique_ptr<HighPrecisionTimer> hpet_;
    std::unique_ptr<Keyboard> keyboard_;
};

}  // namespace cupule::machine
