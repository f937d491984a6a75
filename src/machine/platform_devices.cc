#include "machine/platform_devices.h"

#include <atomic>
#include <utility>
#include <vector>

#include "machine/address_map.h"

namespace cupule::machine {
namespace {

base::Result<void> map_ports(io::IoDispatcher& dispatcher, std::uint64_t base, std::uint64_t size,
                             io::IoHandler& handler, event::Monitor& monitor, std::string name) {
    CUPULE_TRY(dispatcher.ports().map_fixed({.base = base,
                                             .size = size,
                                             .handler = &handler,
                                             .monitor = &monitor,
                                             .name = std::move(name)}));
    return {};
}

}  // namespace

/// Power management, reset, diagnostics.
class PlatformDevices::Power {
  public:
    Power(irq::InterruptRouter& interrupts, event::EventLoop& loop, LifeCycle& life_cycle,
          Parts& parts)
        : pm_monitor(parts.new_monitor()),
          reset_monitor(parts.new_monitor()),
          sci_(interrupts.make_level_line({sci_irq})),
          pm_timers_(loop, pm_monitor),
          pm(*sci_, loop.clock(), pm_timers_, life_cycle, device::PmTimerWidth::bits_32),
          reset_control(life_cycle),
          debug_exit_(life_cycle) {}

    base::Result<void> map(io::IoDispatcher& dispatcher, Parts& parts, bool with_debug_exit) {
        CUPULE_TRY(map_ports(dispatcher, pm1_event_port, device::AcpiPm::port_count, pm, pm_monitor,
                             "acpi-pm"));
        CUPULE_TRY(map_ports(dispatcher, smi_command_port, device::AcpiPm::smi_command_port_count,
                             pm.smi_command(), pm_monitor, "acpi-pm"));
        parts.add("acpi-pm", pm, pm_monitor);
        parts.add("reset-control", reset_control, reset_monitor);
        for (auto& [port, post_code] : post_codes_) {
            event::Monitor& monitor = parts.new_monitor();
            const std::string name = fmt::format("post-{:x}", port);
            CUPULE_TRY(map_ports(dispatcher, port, device::PostCode::port_count, post_code, monitor,
                                 name));
            parts.add(name, post_code, monitor);
        }
        if (with_debug_exit) {
            event::Monitor& monitor = parts.new_monitor();
            CUPULE_TRY(map_ports(dispatcher, debug_exit_port, device::DebugExit::port_count,
                                 debug_exit_, monitor, "debug-exit"));
            parts.add("debug-exit", debug_exit_, monitor);
        }
        return {};
    }

    event::Monitor& pm_monitor;
    event::Monitor& reset_monitor;

  private:
    std::unique_ptr<irq::LevelLine> sci_;
    event::MonitorTimers pm_timers_;

  public:
    device::AcpiPm pm;
    device::ResetControl reset_control;

  private:
    device::DebugExit debug_exit_;
    std::array<std::pair<std::uint64_t, device::PostCode>, 2> post_codes_{
        {{post_port, {}}, {post_port_second, {}}}};
};

/// The time of day and the timers.
class PlatformDevices::Clocks : private device::RtcObserver {
  public:
    Clocks(const device::RamSizes& ram, irq::InterruptRouter& interrupts, event::EventLoop& loop,
           Power& power, LifeCycle& life_cycle, Parts& parts)
        : loop_(loop),
          power_(power),
          life_cycle_(life_cycle),
          rtc_monitor_(parts.new_monitor()),
          pit_monitor_(parts.new_monitor()),
          rtc_line_(interrupts.make_level_line({rtc_irq})),
          pit_line_(interrupts.make_edge_line({0})),
          gates(*pit_line_, *rtc_line_),
          rtc_timers_(loop, rtc_monitor_),
          pit_timers_(loop, pit_monitor_),
          rtc_(gates.rtc(), loop.clock(), rtc_timers_, ram),
          pit_(gates.pit(), loop.clock(), pit_timers_) {
        rtc_.set_observer(this);
    }

    base::Result<void> map(io::IoDispatcher& dispatcher, Parts& parts) {
        CUPULE_TRY(map_ports(dispatcher, rtc_port, device::RtcMc146818::port_count, rtc_,
                             rtc_monitor_, "rtc"));
        CUPULE_TRY(map_ports(dispatcher, pit_port, device::Pit8254::port_count, pit_, pit_monitor_,
                             "pit"));
        CUPULE_TRY(map_ports(dispatcher, system_control_port,
                             device::Pit8254::system_control_port_count, pit_.system_control(),
                             pit_monitor_, "pit"));
        // A reboot does not touch the battery: the guest's time and CMOS RAM stay.
        parts.add("rtc", rtc_, rtc_monitor_, [this] {
            rtc_.reset_pin();
            ++boot_;
        });
        parts.add("pit", pit_, pit_monitor_);
        return {};
    }

  private:
    void rtc_time_set(std::int64_t before_s, std::int64_t delta_s) override {
        life_cycle_.clock_set(before_s, delta_s);
    }
    void rtc_alarm() override {
        // Another device under another lock: by way of the event loop.
        loop_.post([this, boot = boot_.load()] {
            if (boot != boot_.load()) {
                return;  // The machine was reset meanwhile.
            }
            {
                event::MutexLock lock(power_.pm_monitor);
                power_.pm.rtc_alarm();
            }
            life_cycle_.alarm_rang();
        });
    }

    event::EventLoop& loop_;
    Power& power_;
    LifeCycle& life_cycle_;
    /// Counts resets, so that an alarm of before is none of after.
    std::atomic<unsigned> boot_{0};
    event::Monitor& rtc_monitor_;
    event::Monitor& pit_monitor_;
    std::unique_ptr<irq::LevelLine> rtc_line_;
    std::unique_ptr<irq::EdgeLine> pit_line_;

  public:
    /// The HPET takes the lines of both over.
    device::LegacyTimerGates gates;

  private:
    event::MonitorTimers rtc_timers_;
    event::MonitorTimers pit_timers_;
    device::RtcMc146818 rtc_;
    device::Pit8254 pit_;
};

class PlatformDevices::HighPrecisionTimer {
  public:
    HighPrecisionTimer(irq::InterruptRouter& interrupts, irq::MessageSink& messages,
                       event::EventLoop& loop, device::LegacyReplacement& gates, Parts& parts)
        : monitor_(parts.new_monitor()),
          timers_(loop, monitor_),
          hpet_(make_outputs(interrupts), messages, gates, loop.clock(), timers_) {}

    base::Result<void> map(io::IoDispatcher& dispatcher, Parts& parts) {
        CUPULE_TRY(dispatcher.mmio().map_fixed({.base = hpet_base,
                                                .size = device::Hpet::mmio_size,
                                                .handler = &hpet_,
                                                .monitor = &monitor_,
                                                .name = "hpet"}));
        parts.add("hpet", hpet_, monitor_);
        return {};
    }

  private:
    device::HpetOutput make_output(irq::InterruptRouter& interrupts, irq::Gsi gsi) {
        lines_.push_back({interrupts.make_edge_line(gsi), interrupts.make_level_line(gsi)});
        return {.edge = lines_.back().first.get(), .level = lines_.back().second.get()};
    }

    device::HpetOutputs make_outputs(irq::InterruptRouter& interrupts) {
        device::HpetOutputs outputs;
        outputs.legacy = {make_output(interrupts, {0}), make_output(interrupts, {rtc_irq})};
        const auto [first, last] = hpet_gsis(interrupts.gsi_count());
        for (unsigned gsi = first; gsi <= last; ++gsi) {
            outputs.gsi.at(gsi) = make_output(interrupts, {gsi});
        }
        return outputs;
    }

    event::Monitor& monitor_;
    event::MonitorTimers timers_;
    std::vector<std::pair<std::unique_ptr<irq::EdgeLine>, std::unique_ptr<irq::LevelLine>>> lines_;
    device::Hpet hpet_;
};

class PlatformDevices::Keyboard {
  public:
    Keyboard(irq::InterruptRouter& interrupts, device::ResetLine& reset_line, Parts& parts)
        : monitor_(parts.new_monitor()),
          keyboard_line_(interrupts.make_level_line({keyboard_irq})),
          mouse_line_(interrupts.make_level_line({mouse_irq})),
          i8042_(*keyboard_line_, *mouse_line_, reset_line) {}

    base::Result<void> map(io::IoDispatcher& dispatcher, Parts& parts) {
        CUPULE_TRY(
            map_ports(dispatcher, i8042_data_port, 1, i8042_.data_port(), monitor_, "i8042"));
        CUPULE_TRY(
            map_ports(dispatcher, i8042_command_port, 1, i8042_.command_port(), monitor_, "i8042"));
        parts.add("i8042", i8042_, monitor_);
        return {};
    }

  private:
    event::Monitor& monitor_;
    std::unique_ptr<irq::LevelLine> keyboard_line_;
    std::unique_ptr<irq::LevelLine> mouse_line_;
    device::I8042 i8042_;
};

std::pair<unsigned, unsigned> hpet_gsis(unsigned gsi_count) {
    return gsi_count >= 32 ? std::pair(24U, 31U) : std::pair(gsi_count - 4, gsi_count - 1);
}

base::Result<std::unique_ptr<PlatformDevices>> PlatformDevices::create(
    const PlatformDeviceOptions& options, io::IoDispatcher& dispatcher,
    irq::InterruptRouter& interrupts, irq::MessageSink& messages, event::EventLoop& loop,
    LifeCycle& life_cycle, Parts& parts) {
    std::unique_ptr<PlatformDevices> devices(new PlatformDevices);
    devices->power_ = std::make_unique<Power>(interrupts, loop, life_cycle, parts);
    CUPULE_TRY(devices->power_->map(dispatcher, parts, options.debug_exit));
    devices->clocks_ = std::make_unique<Clocks>(options.ram, interrupts, loop, *devices->power_,
                                                life_cycle, parts);
    CUPULE_TRY(devices->clocks_->map(dispatcher, parts));
    devices->hpet_ = std::make_unique<HighPrecisionTimer>(interrupts, messages, loop,
                                                          devices->clocks_->gates, parts);
    CUPULE_TRY(devices->hpet_->map(dispatcher, parts));
    devices->keyboard_ = std::make_unique<Keyboard>(interrupts, life_cycle, parts);
    CUPULE_TRY(devices->keyboard_->map(dispatcher, parts));
    return devices;
}

PlatformDevices::PlatformDevices() = default;
PlatformDevices::~PlatformDevices() = default;

void PlatformDevices::press_power_button() {
    event::MutexLock lock(power_->pm_monitor);
    power_->pm.press_power_button();
}

void PlatformDevices::wake(device::WakeSource source) {
    event::MutexLock lock(power_->pm_monitor);
    power_->pm.wake(source);
}

void PlatformDevices::bus_changed() {
    event::MutexLock lock(power_->pm_monitor);
    power_->pm.raise_general_event(bus_check_event);
}

std::optional<device::WakeSource> PlatformDevices::pending_wake() const {
    event::MutexLock lock(power_->pm_monitor);
    return power_->pm.pending_wake();
}

io::IoHandler& PlatformDevices::reset_control() {
    return power_->reset_control;
}

event::Monitor& PlatformDevices::reset_monitor() {
    return power_->reset_monitor;
}

}  // namespace cupule::machine
