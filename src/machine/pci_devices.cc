#include "machine/pci_devices.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "device/bridge/host_bridge.h"
#include "device/bridge/lpc_bridge.h"
#include "irq/gsi_allocator.h"
#include "machine/address_map.h"
#include "machine/passthrough_interrupts.h"
#include "machine/passthrough_slots.h"
#include "machine/pci_device_factories.h"
#include "pci/bar_allocator.h"
#include "pci/bus.h"
#include "pci/config_mechanism.h"
#include "pci/config_router.h"
#include "pci/intx_router.h"
#include "pci/pirq_router.h"

namespace cupule::machine {

namespace {

struct PciPlace {
    unsigned slot = 0;
    unsigned function = 0;
    bool operator==(const PciPlace&) const = default;
};

struct PlacedEndpoint {
    std::string name;
    PciPlace place{};
    event::Monitor* monitor = nullptr;
    std::unique_ptr<Endpoint> endpoint;
};

}  // namespace

struct PciDevices::Impl {
    explicit Impl(const PciDeviceContext& context)
        : pirqs(context.interrupts),
          gsis({first_intx_gsi}, {context.interrupts.gsi_count() - 1}),
          intx(context.interrupts, gsis, pirqs),
          root({context.dispatcher.ports(), context.dispatcher.mmio()}),
          config(root),
          mechanism(config, &context.reset_control, &context.reset_monitor),
          ecam(config) {}

    base::Result<void> map_config(const PciDeviceContext& context);
    base::Result<void> add_slot(const SlotOptions& slot, const PciDeviceContext& context);
    base::Result<void> put_on_bus(const SlotOptions& slot, pci::Function& function,
                                  snapshot::Device& device, const PciDeviceContext& context);
    base::Result<void> put_on_bus(const SlotOptions& slot, pci::Function& function,
                                  snapshot::Device& device, event::Monitor& monitor,
                                  const PciDeviceContext& context);
    base::Result<void> add_endpoint(const SlotOptions& slot, EndpointFactory make,
                                    const PciDeviceContext& context);
    /// Asks something of the device in a slot of bus 0, function 0, with its monitor held.
    template <class Question>
    base::Result<void> ask(unsigned slot, const Question& question);

    pci::PirqRouter pirqs;
    irq::GsiAllocator gsis;
    pci::IntxRouter intx;
    pci::Bus root;
    pci::ConfigRouter config;
    pci::ConfigMechanism mechanism;
    pci::Ecam ecam;
    std::uint8_t last_bus = 0;
    std::vector<std::unique_ptr<device::HostBridge>> host_bridges;
    std::unique_ptr<device::LpcBridge> lpc;
    std::vector<PlacedEndpoint> endpoints;
    event::Monitor* lpc_monitor = nullptr;
    acpi::LpcBridge lpc_place;
    std::unique_ptr<PassthroughSlots> passthrough;
    std::unique_ptr<PassthroughInterrupts> passthrough_interrupts;
    std::vector<acpi::Table> acpi_tables;
};

base::Result<void> PciDevices::Impl::map_config(const PciDeviceContext& context) {
    CUPULE_TRY(context.dispatcher.ports().map_fixed({.base = pci::ConfigMechanism::first_port,
                                                     .size = pci::ConfigMechanism::port_count,
                                                     .handler = &mechanism,
                                                     .monitor = nullptr,
                                                     .name = "pci-config"}));
    CUPULE_TRY(context.dispatcher.mmio().map_fixed({.base = ecam_base,
                                                    .size = ecam_size,
                                                    .handler = &ecam,
                                                    .monitor = nullptr,
                                                    .name = "pci-ecam"}));
    context.dispatcher.set_pci_config(&config);
    context.parts.add("pci-config", mechanism, context.parts.new_monitor());
    return {};
}

base::Result<void> PciDevices::Impl::put_on_bus(const SlotOptions& slot, pci::Function& function,
                                                snapshot::Device& device,
                                                const PciDeviceContext& context) {
    return put_on_bus(slot, function, device, context.parts.new_monitor(), context);
}

base::Result<void> PciDevices::Impl::put_on_bus(const SlotOptions& slot, pci::Function& function,
                                                snapshot::Device& device, event::Monitor& monitor,
                                                const PciDeviceContext& context) {
    CUPULE_TRY(root.add(slot.slot, slot.function, function, monitor, slot.device));
    context.parts.add(fmt::format("00:{:02x}.{} {}", slot.slot, slot.function, slot.device), device,
                      monitor);
    if (&device == lpc.get()) {
        lpc_monitor = &monitor;
    }
    return {};
}

base::Result<void> PciDevices::Impl::add_slot(const SlotOptions& slot,
                                              const PciDeviceContext& context) {
    if (slot.bus != 0) {
        return base::fail("-s {}:{}:{},{}: there is only bus 0; name the slot as {}:{}", slot.bus,
                          slot.slot, slot.function, slot.device, slot.slot, slot.function);
    }
    if (slot.device == "hostbridge" || slot.device == "amd_hostbridge") {
        const auto model = slot.device == "hostbridge" ? device::HostBridgeModel::acrn
                                                       : device::HostBridgeModel::amd;
        auto& bridge = *host_bridges.emplace_back(std::make_unique<device::HostBridge>(model));
        return put_on_bus(slot, bridge.function(), bridge, context);
    }
    if (slot.device == "lpc") {
        if (lpc) {
            return base::fail("-s {}:{},lpc: there is an LPC bridge already at {}:{}", slot.slot,
                              slot.function, lpc_place.device, lpc_place.function);
        }
        lpc = std::make_unique<device::LpcBridge>(pirqs);
        lpc_place.device = slot.slot;
        lpc_place.function = slot.function;
        return put_on_bus(slot, lpc->function(), *lpc, context);
    }
    if (slot.device == "passthru") {
        return passthrough->add(slot, root);
    }
    if (const EndpointFactory make = find_endpoint_factory(slot.device)) {
        return add_endpoint(slot, make, context);
    }
    return base::fail("-s {}:{},{}: this build has no such device", slot.slot, slot.function,
                      slot.device);
}

base::Result<void> PciDevices::Impl::add_endpoint(const SlotOptions& slot, EndpointFactory make,
                                                  const PciDeviceContext& context) {
    // Endpoints write to RAM from their workers and from the kernel.
    context.memory.keep_files_out();
    event::Monitor& monitor = context.parts.new_monitor();
    CUPULE_TRY_ASSIGN(auto endpoint, make(slot, {.memory = context.memory,
                                                 .loop = context.loop,
                                                 .vm = context.vm,
                                                 .monitor = monitor,
                                                 .options = context.options,
                                                 .stdio = context.stdio}));
    const PlacedEndpoint& added = endpoints.emplace_back(
        fmt::format("00:{:02x}.{} {}", slot.slot, slot.function, slot.device),
        PciPlace{slot.slot, slot.function}, &monitor, std::move(endpoint));
    return put_on_bus(slot, added.endpoint->function(), added.endpoint->device(), monitor, context);
}

template <class Question>
base::Result<void> PciDevices::Impl::ask(unsigned slot, const Question& question) {
    for (const PlacedEndpoint& each : endpoints) {
        if (each.place == PciPlace{slot, 0}) {
            event::MutexLock lock(*each.monitor);
            const base::Result<void> result = question(*each.endpoint);
            return result ? result : std::unexpected(result.error().in(each.name));
        }
    }
    return base::fail("there is no device in slot {}", slot);
}

base::Result<std::unique_ptr<PciDevices>> PciDevices::create(
    const std::vector<SlotOptions>& slots, const PciDeviceContext& context,
    const std::vector<unsigned>& isa_irqs) {
    auto impl = std::make_unique<Impl>(context);
    CUPULE_TRY(impl->map_config(context));
    CUPULE_TRY_ASSIGN(impl->passthrough, PassthroughSlots::create(slots, context));
    impl->passthrough_interrupts = std::make_unique<PassthroughInterrupts>(*impl->passthrough);
    CUPULE_TRY_ASSIGN(impl->acpi_tables, impl->passthrough->acpi_tables());
    const auto add_slots = [&](bool passed_through) -> base::Result<void> {
        for (const SlotOptions& slot : slots) {
            if ((slot.device == "passthru") == passed_through) {
                CUPULE_TRY(impl->add_slot(slot, context));
            }
        }
        return {};
    };
    // A vhost-user device puts RAM elsewhere (GuestMemory::share): first, as the host pins RAM for
    // devices of its own.
    CUPULE_TRY(add_slots(false));
    CUPULE_TRY(impl->passthrough->open_domain());
    CUPULE_TRY(add_slots(true));
    CUPULE_TRY(impl->root.validate());
    for (const unsigned irq : isa_irqs) {
        impl->intx.reserve_irq(irq);
    }
    impl->intx.count_irq_use(sci_irq);
    impl->intx.connect(impl->root);
    impl->passthrough->connect_intx(impl->intx);
    impl->pirqs.set_observer(
        [slots = impl->passthrough.get()](unsigned link, std::optional<std::uint8_t> irq) {
            slots->link_routed(link, irq);
        });
    return std::unique_ptr<PciDevices>(new PciDevices(std::move(impl)));
}

PciDevices::PciDevices(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

PciDevices::~PciDevices() = default;

base::Result<void> PciDevices::program() {
    CUPULE_TRY_ASSIGN(impl_->last_bus,
                      pci::assign_resources(
                          impl_->root, {.ports = {pci_ports_base, pci_ports_end - 1},
                                        .memory_32 = {pci_window_32_base, pci_window_32_end - 1},
                                        .memory_64 = {pci_window_64_base, pci_window_64_end - 1}}));
    if (impl_->lpc) {
        event::MutexLock lock(*impl_->lpc_monitor);
        impl_->lpc->program_links(impl_->intx.link_irqs());
    }
    impl_->intx.assign_interrupt_lines();
    for (const PlacedEndpoint& each : impl_->endpoints) {
        if (auto placed = each.endpoint->placed(); !placed) {
            return std::unexpected(placed.error().in(each.name));
        }
    }
    CUPULE_TRY(impl_->passthrough->check_memory());
    return impl_->passthrough->assign();
}

std::vector<std::string> PciDevices::statistics(StatisticsDetail detail) const {
    std::vector<std::string> lines;
    for (const PlacedEndpoint& each : impl_->endpoints) {
        for (const std::string& line : each.endpoint->statistics(detail)) {
            lines.push_back(fmt::format("{} {}", each.name, line));
        }
    }
    std::ranges::copy(impl_->passthrough->statistics(), std::back_inserter(lines));
    return lines;
}

base::Result<void> PciDevices::insert_disk(unsigned slot, const std::string& path) {
    return impl_->ask(slot, [&](Endpoint& endpoint) { return endpoint.insert_disk(path); });
}

base::Result<void> PciDevices::inflate(unsigned slot, std::uint64_t size_mib) {
    return impl_->ask(slot, [&](Endpoint& endpoint) { return endpoint.inflate(size_mib); });
}

base::Result<void> PciDevices::memory_leaves() {
    for (const PlacedEndpoint& each : impl_->endpoints) {
        each.endpoint->leaving();
    }
    return impl_->passthrough->unmap_memory();
}

void PciDevices::memory_returns() {
    impl_->passthrough->map_memory();
}

std::uint8_t PciDevices::last_bus() const {
    return impl_->last_bus;
}

bool PciDevices::functions_leave() const {
    return !impl_->passthrough->empty();
}

std::vector<acpi::AmlContribution> PciDevices::contributions() const {
    return impl_->passthrough->contributions();
}

hypervisor::InterruptMonitor* PciDevices::interrupt_monitor() {
    return impl_->passthrough->host_functions().empty() ? nullptr
                                                        : impl_->passthrough_interrupts.get();
}

const std::vector<acpi::Table>& PciDevices::acpi_tables() const {
    return impl_->acpi_tables;
}

std::vector<acpi::PciRoute> PciDevices::routes() const {
    std::vector<acpi::PciRoute> result;
    for (const pci::IntxRoute& route : impl_->intx.routes()) {
        result.push_back({.device = route.device,
                          .pin = static_cast<std::uint8_t>(route.pin - 1),
                          .gsi = route.gsi.value,
                          .pirq_link = impl_->lpc ? std::optional(route.link) : std::nullopt});
    }
    return result;
}

std::optional<acpi::LpcBridge> PciDevices::lpc() const {
    return impl_->lpc ? std::optional(impl_->lpc_place) : std::nullopt;
}

}  // namespace cupule::machine
