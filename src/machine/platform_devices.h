#pragma once

#include <array>
#include <memory>

#include "base/error.h"
#include "device/platform/acpi_pm.h"
#include "device/platform/debug_exit.h"
#include "device/platform/post_code.h"
#include "device/platform/reset_control.h"
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
    /// The reset control register shares its port with PCI configuration mechanism 1.
    io::IoHandler& reset_control();
    event::Monitor& reset_monitor();
    /// The low half of the HPET's capabilities, which ACPI repeats.
    std::uint32_t hpet_event_timer_block_id() const;

  private:
    class Clocks;
    class Power;
    PlatformDevices();

    std::unique_ptr<Clocks> clocks_;
    std::unique_ptr<Power> power_;
};

}  // namespace cupule::machine
