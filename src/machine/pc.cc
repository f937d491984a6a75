#include "machine/pc.h"

#include <sched.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "machine/address_map.h"
#include "machine/platform_passthrough.h"

namespace cupule::machine {

/// The parts in the order in which they need each other.
struct Pc::Wiring {
    Wiring(event::EventLoop& loop, hypervisor::Vm& vm, LifeCycle::Control& control,
           OnCrash on_crash)
        : interrupts(vm), life_cycle(loop, vm, control, on_crash) {}

    irq::InterruptRouter interrupts;
    LifeCycle life_cycle;
    std::unique_ptr<PlatformDevices> platform;
    std::unique_ptr<SerialPorts> serial;
    std::unique_ptr<PciDevices> pci;
    std::unique_ptr<PlatformPassthrough> passed;
};

base::Result<std::unique_ptr<Pc>> Pc::create(const VmOptions& options, PcServices services,
                                             boot::GuestLoader loader) {
    std::unique_ptr<Pc> pc(new Pc(options, std::move(services), std::move(loader)));
    CUPULE_TRY(pc->create_processors());
    CUPULE_TRY(pc->create_memory());
    CUPULE_TRY(pc->create_spine());
    CUPULE_TRY(pc->create_devices());
    CUPULE_TRY(pc->prepare_boot());
    return pc;
}

Pc::Pc(const VmOptions& options, PcServices services, boot::GuestLoader loader)
    : options_(options), services_(std::move(services)), loader_(std::move(loader)) {}

Pc::~Pc() {
    if (vm_) {
        vm_->pause();
    }
}

// Putting together.

base::Result<void> Pc::create_processors() {
    hypervisor::VmSpec spec{
        .name = options_.name, .vcpus = options_.vcpu_count, .owns_processors = options_.realtime};
    for (unsigned i = 0; i < options_.vcpu_count; ++i) {
        // ACRN's guests see the APIC ids of the processors they are pinned to; others count from 0.
        const bool pinned = i < options_.cpu_affinity.size();
        apic_ids_.push_back(pinned ? options_.cpu_affinity[i].lapic_id : i);
        if (pinned && options_.hypervisor == Hypervisor::acrn) {
            spec.cpu_affinity.push_back(options_.cpu_affinity[i].acrn_pcpu);
        } else if (pinned && options_.cpu_affinity[i].host_cpu) {
            spec.cpu_affinity.push_back(*options_.cpu_affinity[i].host_cpu);
        }
    }
    spec.apic_ids = apic_ids_;
    CUPULE_TRY_ASSIGN(vm_, services_.make_vm(spec));
    return {};
}

base::Result<void> Pc::create_memory() {
    const auto huge_pages = options_.huge_pages == HugePages::never
                                ? memory::HugePages::never
                                : memory::HugePages::when_available;
    CUPULE_TRY_ASSIGN(layout_, make_memory_layout(options_.memory_size, huge_pages));
    layout_.ram.shared = options_.hypervisor == Hypervisor::acrn;
    CUPULE_TRY_ASSIGN(memory_, memory::GuestMemory::create(layout_.ram));
    if (options_.hypervisor == Hypervisor::acrn) {
        kept_pages_ = memory_->keep_pages();
    }
    for (const memory::RamRegion& region : memory_->regions()) {
        CUPULE_TRY(
            vm_->map(region.base, region.size, region.host, hypervisor::MemoryAccess::read_write));
    }
    return {};
}

base::Result<void> Pc::create_spine() {
    dispatcher_ = std::make_unique<io::IoDispatcher>(options_.vcpu_count);
    if (!options_.io_trace.empty()) {
        CUPULE_TRY_ASSIGN(trace_,
                          io::IoTraceFile::create(options_.io_trace, services_.loop.clock()));
        dispatcher_->set_tracer(trace_.get());
    }
    wiring_ = std::make_unique<Wiring>(services_.loop, *vm_, *this, options_.on_crash);
    return {};
}

base::Result<void> Pc::create_devices() {
    const PlatformDeviceOptions platform{
        .ram = {.below_4g = layout_.low_ram_end, .above_4g = layout_.high_ram_end - high_ram_base},
        .debug_exit = options_.debug_exit};
    CUPULE_TRY_ASSIGN(wiring_->platform,
                      PlatformDevices::create(platform, *dispatcher_, wiring_->interrupts, *vm_,
                                              services_.loop, wiring_->life_cycle, parts_));
    CUPULE_TRY_ASSIGN(wiring_->serial,
                      SerialPorts::create(options_.serial_ports, *dispatcher_, wiring_->interrupts,
                                          services_.loop, services_.stdio, parts_));
    std::vector<unsigned> isa_irqs{PlatformDevices::isa_irqs.begin(),
                                   PlatformDevices::isa_irqs.end()};
    for (const SerialOptions& port : options_.serial_ports) {
        isa_irqs.push_back(port.irq);
    }
    const PciDeviceContext context{.dispatcher = *dispatcher_,
                                   .interrupts = wiring_->interrupts,
                                   .parts = parts_,
                                   .reset_control = wiring_->platform->reset_control(),
                                   .reset_monitor = wiring_->platform->reset_monitor(),
                                   .bus_changed = [this] { wiring_->platform->bus_changed(); },
                                   .memory = *memory_,
                                   .loop = services_.loop,
                                   .vm = *vm_,
                                   .options = options_,
                                   .stdio = services_.stdio};
    CUPULE_TRY_ASSIGN(wiring_->pci, PciDevices::create(options_.slots, context, isa_irqs));
    CUPULE_TRY_ASSIGN(wiring_->passed, PlatformPassthrough::create(options_, *vm_));
    return {};
}

FirmwareFacts Pc::firmware_facts() const {
    std::vector<acpi::Table> tables = wiring_->pci->acpi_tables();
    std::ranges::move(wiring_->passed->tables(), std::back_inserter(tables));
    std::vector<acpi::AmlContribution> contributions = wiring_->pci->contributions();
    std::ranges::move(wiring_->passed->contributions(), std::back_inserter(contributions));
    return {.apic_ids = apic_ids_,
            .ioapic_pins = vm_->gsi_count(),
            .intx_routes = wiring_->pci->routes(),
            .lpc = wiring_->pci->lpc(),
            .last_bus = wiring_->pci->last_bus(),
            .pci_functions_leave = wiring_->pci->functions_leave(),
            .serial_ports = wiring_->serial->describe(),
            .contributions = std::move(contributions),
            .reserved_memory = wiring_->passed->reserved(),
            .extra_tables = std::move(tables)};
}

// The life of the machine.

bool Pc::should_show_images() const {
    // A copy is made beside the running guest. One processor would only do by turns what is done
    // faster at once: without the page faults of what is shown.
    cpu_set_t cpus;
    const bool alone = sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) == 1;
    return services_.may_show_images && memory_->can_show_files() &&
           !(alone && memory_->wants_copies());
}

base::Result<void> Pc::prepare_boot() {
    CUPULE_TRY(wiring_->pci->program());
    CUPULE_TRY_ASSIGN(firmware_,
                      write_firmware_tables(describe_platform(firmware_facts()), *memory_));
    const auto guest = loader_.load({.memory = *memory_,
                                     .e820 = layout_.e820,
                                     .low_ram_end = layout_.low_ram_end,
                                     .rsdp_address = firmware_.rsdp,
                                     .show_images = should_show_images()});
    if (!guest) {
        return std::unexpected(guest.error().error);
    }
    base::log_info("{}: {}", options_.name, guest->description);
    return vm_->set_boot_state(guest->boot_state);
}

base::Result<void> Pc::start() {
    if (paused_) {
        return {};
    }
    return vm_->start(*dispatcher_, wiring_->life_cycle);
}

void Pc::start_copying_images() {
    if (!loader_.holds_images() || !memory_->wants_copies()) {
        return;
    }
    copier_ = std::make_unique<event::ThreadPool>("images", 1);
    copier_->post([this] {
        memory_->prepare_copies();
        services_.loop.post([this] { release_images(); });
    });
}

base::Result<End> Pc::run() {
    CUPULE_TRY(start());
    start_copying_images();
    start_statistics_timer();
    start_interrupt_monitor();
    services_.loop.run();
    vm_->pause();
    if (options_.statistics_period_s) {
        log_statistics(StatisticsDetail::histograms);
    }
    return end_.value_or(End{.reason = EndReason::forced_stop});
}

void Pc::start_statistics_timer() {
    const std::uint64_t period_ns = options_.statistics_period_s.value_or(0) * event::ns_per_s;
    if (period_ns == 0) {
        return;
    }
    event::MutexLock lock(statistics_monitor_);
    statistics_timer_ = services_.loop.make_timer(statistics_monitor_, [this, period_ns] {
        log_statistics(StatisticsDetail::percentiles);
        statistics_timer_->start_at(services_.loop.clock().now_ns() + period_ns);
    });
    statistics_timer_->start_at(services_.loop.clock().now_ns() + period_ns);
}

void Pc::start_interrupt_monitor() {
    hypervisor::InterruptMonitor* monitor = vm_->interrupt_monitor();
    if (monitor == nullptr) {
        monitor = wiring_->pci->interrupt_monitor();
    }
    if (!options_.interrupt_monitor || monitor == nullptr) {
        return;
    }
    storm_.emplace(*monitor, *options_.interrupt_monitor);
    {
        event::MutexLock lock(storm_monitor_);
        // Devices have monitors of their own: by way of the loop.
        storm_timer_ = services_.loop.make_timer(
            storm_monitor_, [this] { services_.loop.post([this] { watch_interrupts(); }); });
    }
    watch_interrupts();
}

void Pc::watch_interrupts() {
    const std::uint64_t wait_ns = storm_->step();
    event::MutexLock lock(storm_monitor_);
    if (wait_ns != 0) {
        storm_timer_->start_at(services_.loop.clock().now_ns() + wait_ns);
    }
}

std::vector<std::string> Pc::statistics(StatisticsDetail detail) const {
    std::vector<std::string> lines = wiring_->pci->statistics(detail);
    lines.insert(lines.begin(), fmt::format("{} exits to cupule", vm_->request_count()));
    return lines;
}

void Pc::log_statistics(StatisticsDetail detail) const {
    for (const std::string& line : statistics(detail)) {
        base::log(base::LogLevel::notice, "{}: {}", options_.name, line);
    }
}

base::Result<void> Pc::insert_disk(unsigned slot, const std::string& path) {
    return wiring_->pci->insert_disk(slot, path);
}

base::Result<void> Pc::inflate(unsigned slot, std::uint64_t size_mib) {
    return wiring_->pci->inflate(slot, size_mib);
}

void Pc::end(End end) {
    if (!end_) {
        end_ = std::move(end);
    }
    services_.loop.stop();
}

void Pc::reset_machine(device::ResetKind /*kind*/) {
    // Both kinds begin again with empty memory: the kernel is loaded anew, and what the guest
    // before left behind is nobody's business.
    if (const auto result = reset(); !result) {
        end({.reason = EndReason::machine_failure,
             .detail = "the machine cannot be reset: " + result.error().message});
    }
}

base::Result<void> Pc::reset() {
    base::log_info("{}: reset", options_.name);
    suspended_ = false;
    parts_.reset_all();
    CUPULE_TRY(vm_->reset());
    copier_.reset();
    CUPULE_TRY(wiring_->pci->memory_leaves());
    CUPULE_TRY(memory_->discard_all());
    wiring_->pci->memory_returns();
    CUPULE_TRY(prepare_boot());
    CUPULE_TRY(start());
    start_copying_images();
    return {};
}

void Pc::suspend_machine() {
    base::log_info("{}: suspended to RAM; the power button wakes it", options_.name);
    suspended_ = true;
    // What happened between the guest's write and now, or was pending before, wakes at once.
    if (const auto source = wiring_->platform->pending_wake()) {
        wake(*source);
    }
}

void Pc::alarm_rang() {
    if (!suspended_) {
        return;
    }
    if (const auto source = wiring_->platform->pending_wake()) {
        wake(*source);
    }
}

void Pc::guest_event(const GuestEvent& event) {
    if (guest_events_ != nullptr) {
        guest_events_->happened(event);
    }
}

base::Result<void> Pc::resume(device::WakeSource source) {
    suspended_ = false;
    wiring_->platform->wake(source);
    CUPULE_TRY(vm_->reset());
    CUPULE_TRY(vm_->set_boot_state(waking_state(*memory_, firmware_)));
    return start();
}

void Pc::end_machine(const End& end_of_run) {
    end(end_of_run);
}

void Pc::wake(device::WakeSource source) {
    if (const auto result = resume(source); !result) {
        end({.reason = EndReason::machine_failure,
             .detail = "the machine cannot be woken: " + result.error().message});
    }
}

void Pc::press_power_button() {
    if (wiring_->life_cycle.waiting()) {
        // A machine on its way into sleep would keep the press to itself.
        services_.loop.post([this] { press_power_button(); });
        return;
    }
    if (end_) {
        return;
    }
    if (const auto result = paused_ ? go_on() : base::Result<void>{}; !result) {
        return;
    }
    if (suspended_) {
        wake(device::WakeSource::power_button);
    } else {
        wiring_->platform->press_power_button();
    }
}

void Pc::request_reset() {
    wiring_->life_cycle.reset(device::ResetKind::full);
}

base::Result<void> Pc::pause() {
    if (options_.hypervisor == Hypervisor::acrn) {
        return base::fail("ACRN cannot let a paused virtual machine run on");
    }
    vm_->pause();
    paused_ = true;
    return {};
}

base::Result<void> Pc::go_on() {
    const bool was_paused = std::exchange(paused_, false);
    // A request that waits is carried out first, and starts the processors where they shall run.
    if (end_ || wiring_->life_cycle.waiting()) {
        return {};
    }
    if (suspended_) {
        return resume(device::WakeSource::other);
    }
    const auto result = was_paused ? start() : base::Result<void>{};
    if (!result) {
        end({.reason = EndReason::machine_failure,
             .detail = "the machine cannot go on: " + result.error().message});
    }
    return result;
}

void Pc::force_end(EndReason reason, std::string detail) {
    wiring_->life_cycle.force_end(reason, std::move(detail));
}

void Pc::release_images() {
    if (!loader_.holds_images()) {
        return;
    }
    copier_.reset();
    vm_->pause();
    if (const auto result = loader_.release_images(*memory_); !result) {
        base::log_error("{}: {}; the guest may see what is written to its kernel's files",
                        options_.name, result.error().message);
    }
    // A request that waits finds the processors as it left them: the guest runs no further.
    const bool was_running = !suspended_ && !end_ && !wiring_->life_cycle.waiting();
    if (const auto result = was_running ? start() : base::Result<void>{}; !result) {
        end({.reason = EndReason::machine_failure,
             .detail = "the machine cannot go on: " + result.error().message});
    }
}

}  // namespace cupule::machine
