#include "machine/passthrough_slots.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/log.h"
#include "machine/passthrough_files.h"
#include "passthrough/host_checks.h"
#include "passthrough/software_models.h"
#include "passthrough/sysfs_device.h"
#include "passthrough/vfio_container.h"
#include "passthrough/vfio_device.h"
#include "pci/config_registers.h"

namespace cupule::machine {
namespace {

std::string place_of(const SlotOptions& slot) {
    return fmt::format("-s {}:{},{}", slot.slot, slot.function, slot.device);
}

passthrough::ResetChoice reset_choice(const passthrough::SlotText& text) {
    if (text.no_reset) {
        return passthrough::ResetChoice::never;
    }
    return text.d3hot_reset ? passthrough::ResetChoice::power_state_too
                            : passthrough::ResetChoice::best;
}

}  // namespace

struct PassthroughSlots::Slot {
    SlotOptions place{};
    passthrough::SlotText text{};
    std::optional<passthrough::SoftwareModel> model{};
    /// Of the host's function or the model, for what is checked before it is opened.
    std::vector<std::uint8_t> config{};
    std::vector<std::uint8_t> port_config{};
    std::optional<unsigned> group{};
    /// As found on the host.
    std::optional<passthrough::HostFunction> function{};
    /// An earlier run took it and could not give it back.
    bool left_behind = false;
    std::unique_ptr<passthrough::TimePort> port{};
    std::unique_ptr<passthrough::PassthroughDevice> device{};
    event::Monitor* monitor = nullptr;
    std::unique_ptr<AssignedSlot> assigned{};
};

PassthroughSlots::PassthroughSlots(const PciDeviceContext& context, PassthroughHost host)
    : context_(context),
      host_(std::move(host)),
      binding_(host_.root, host_.writer),
      listener_(context.vm),
      assigner_(context.vm.device_assigner()) {}

PassthroughSlots::~PassthroughSlots() {
    slots_.clear();
    if (const auto unmapped = unmap_memory(); !unmapped) {
        base::log_warning("{}", unmapped.error().message);
    }
}

base::Result<std::unique_ptr<PassthroughSlots>> PassthroughSlots::create(
    const std::vector<SlotOptions>& slots, const PciDeviceContext& context, PassthroughHost host) {
    std::unique_ptr<PassthroughSlots> made(new PassthroughSlots(context, std::move(host)));
    for (const SlotOptions& slot : slots) {
        if (slot.device != "passthru") {
            continue;
        }
        auto text = passthrough::parse_slot_text(slot.options);
        if (!text) {
            return std::unexpected(text.error().in(place_of(slot)));
        }
        made->slots_.push_back(
            std::make_unique<Slot>(Slot{.place = slot, .text = std::move(*text)}));
    }
    for (const auto& slot : made->slots_) {
        if (auto found = find_model(*slot); !found) {
            return std::unexpected(found.error().in(place_of(slot->place)));
        }
    }
    if (auto checked = made->check_host(); !checked) {
        return std::unexpected(checked.error().in("passthru"));
    }
    return made;
}

base::Result<void> PassthroughSlots::find_model(Slot& slot) {
    if (slot.text.address) {
        return {};
    }
    slot.model = passthrough::find_software_model(slot.text.model);
    if (!slot.model) {
        return base::fail("there is no model '{}'; there are {}", slot.text.model,
                          passthrough::software_model_names());
    }
    slot.config = slot.model->config;
    slot.port_config = slot.model->port_config;
    return {};
}

std::vector<const passthrough::SlotText*> PassthroughSlots::host_slots() const {
    std::vector<const passthrough::SlotText*> texts;
    for (const auto& slot : slots_) {
        if (slot->text.address) {
            texts.push_back(&slot->text);
        }
    }
    return texts;
}

base::Result<void> PassthroughSlots::check_host() {
    const std::vector<const passthrough::SlotText*> wanted = host_slots();
    if (wanted.empty()) {
        return {};
    }
    if (assigner_ != nullptr) {
        return check_host_of_hypervisor();
    }
    CUPULE_TRY_ASSIGN(const auto host, passthrough::HostTopology::read(host_.root));
    CUPULE_TRY(passthrough::check_host_functions(host, wanted));
    interrupts_remapped_ = host.remaps_interrupts();
    CUPULE_TRY(take_functions(host));
    for (const auto& slot : slots_) {
        if (!slot->text.address) {
            continue;
        }
        const passthrough::HostFunction& function = *host.find(*slot->text.address);
        if (slot->text.gsi && !passthrough::uses_intx(function, slot->text)) {
            base::log_warning("{}: irq={} says nothing: the device interrupts by messages",
                              place_of(slot->place), *slot->text.gsi);
        }
        slot->group = function.iommu_group;
        slot->config = function.config;
        if (const auto* port = function.upstream ? host.find(*function.upstream) : nullptr) {
            slot->port_config = port->config;
        }
    }
    return {};
}

/// The hypervisor says what it can give; here is only what it must be asked for.
base::Result<void> PassthroughSlots::check_host_of_hypervisor() {
    CUPULE_TRY_ASSIGN(const auto host, passthrough::HostTopology::read(host_.root));
    for (const auto& slot : slots_) {
        if (!slot->text.address) {
            continue;
        }
        const passthrough::HostAddress& address = *slot->text.address;
        const passthrough::HostFunction* const function = host.find(address);
        if (function == nullptr || address.domain != 0) {
            return base::fail("this host has no PCI device {} that ACRN could give away",
                              address.text());
        }
        if (slot->text.d3hot_reset || slot->text.unsafe_interrupts) {
            base::log_warning("{}: d3hot_reset and unsafe_interrupts are VFIO's, not ACRN's",
                              place_of(slot->place));
        }
        CUPULE_TRY(passthrough::check_shared_line(host, slot->text, host_slots()));
        slot->function = *function;
        slot->config = function->config;
        if (const auto* port = function->upstream ? host.find(*function->upstream) : nullptr) {
            slot->port_config = port->config;
        }
        if (slot->text.bind && function->driver != "vfio-pci") {
            CUPULE_TRY(keep(address));
            CUPULE_TRY(binding_.bind(*function, passthrough::BindingTime::until_run_ends));
        }
    }
    return {};
}

base::Result<std::unique_ptr<passthrough::HostDevice>> PassthroughSlots::open_host_of_hypervisor(
    const Slot& slot) {
    if (!slot.text.no_reset) {
        if (const auto done = passthrough::reset_by_sysfs(*slot.function, host_.root); !done) {
            base::log_info("{}", done.error().message);
        }
    }
    CUPULE_TRY_ASSIGN(auto device, passthrough::SysfsDevice::open(*slot.function, host_.root));
    return device;
}

/// Its INTx on the host: what the user says, else the kernel, else the firmware's register.
void PassthroughSlots::make_assigned(Slot& slot) {
    const unsigned said = slot.config[pci::config::interrupt_line];
    const unsigned host_gsi = slot.text.gsi.value_or(slot.function->gsi.value_or(said));
    slot.assigned = std::make_unique<AssignedSlot>(
        *assigner_,
        io::PciAddress{.bus = 0,
                       .device = static_cast<std::uint8_t>(slot.place.slot),
                       .function = static_cast<std::uint8_t>(slot.place.function)},
        *slot.text.address, host_gsi, slot.device->function(), *slot.monitor);
    if (slot.port) {
        slot.assigned->set_port(slot.port->port().bridge(), *slot.function->upstream,
                                slot.port_config);
    }
    if (!slot.text.rom_file.empty()) {
        slot.assigned->keep_rom();
    }
}

base::Result<void> PassthroughSlots::assign() {
    for (const auto& slot : slots_) {
        if (!slot->assigned) {
            continue;
        }
        if (auto assigned = slot->assigned->assign(); !assigned) {
            return std::unexpected(assigned.error().in(place_of(slot->place)));
        }
    }
    return {};
}

base::Result<void> PassthroughSlots::take_functions(const passthrough::HostTopology& host) {
    for (const auto& slot : slots_) {
        if (!slot->text.address) {
            continue;
        }
        const passthrough::HostFunction& function = *host.find(*slot->text.address);
        if (passthrough::must_bind(function, slot->text)) {
            base::log_info("{}: vfio-pci gets it from {} until this run ends",
                           function.address.text(),
                           function.driver.empty() ? "nobody" : function.driver);
            CUPULE_TRY(keep(function.address));
            CUPULE_TRY(binding_.bind(function, passthrough::BindingTime::until_run_ends));
        } else if (const auto record = binding_.record(function)) {
            slot->left_behind = record->time == passthrough::BindingTime::until_run_ends;
        }
    }
    return {};
}

base::Result<void> PassthroughSlots::keep(const passthrough::HostAddress& address) {
    if (!keeper_) {
        CUPULE_TRY_ASSIGN(keeper_, passthrough::DriverKeeper::start(host_.keeper));
    }
    return keeper_->add(address);
}

passthrough::VfioPlace PassthroughSlots::vfio_place(const Slot& slot) const {
    return {.name = slot.text.address->text(),
            .group = *slot.group,
            .character_device = passthrough::vfio_character_device(host_.root, *slot.text.address),
            .interrupts_remapped = interrupts_remapped_};
}

bool PassthroughSlots::has_iommufd() const {
    return access((host_.root + "/dev/iommu").c_str(), R_OK | W_OK) == 0 &&
           std::ranges::all_of(slots_, [this](const std::unique_ptr<Slot>& slot) {
               return !slot->text.address || !vfio_place(*slot).character_device.empty();
           });
}

base::Result<void> PassthroughSlots::make_domain() {
    CUPULE_TRY(passthrough::check_locked_memory(context_.memory.size()));
    if (has_iommufd()) {
        CUPULE_TRY_ASSIGN(domain_, passthrough::IommufdDomain::create(kernel_, listener_));
    } else {
        CUPULE_TRY_ASSIGN(domain_, passthrough::VfioContainer::create(kernel_, listener_));
    }
    mapping_ = std::make_unique<passthrough::DomainMapping>(*domain_, context_.memory);
    return {};
}

base::Result<void> PassthroughSlots::admit(const Slot& slot) {
    if (!domain_) {
        CUPULE_TRY(make_domain());
    }
    return domain_->admit(vfio_place(slot));
}

base::Result<void> PassthroughSlots::open_domain() {
    for (const auto& slot : slots_) {
        if (!slot->text.address || assigner_ != nullptr) {
            continue;
        }
        if (auto admitted = admit(*slot); !admitted) {
            return std::unexpected(admitted.error().in(place_of(slot->place)));
        }
    }
    // The host makes a function that enters meanwhile wait: all are in.
    map_memory();
    return {};
}

base::Result<std::unique_ptr<passthrough::HostDevice>> PassthroughSlots::open_host(
    const Slot& slot) {
    if (slot.model) {
        CUPULE_TRY_ASSIGN(auto device,
                          passthrough::SoftwareDevice::create(*slot.model, context_.memory));
        return device;
    }
    if (assigner_ != nullptr) {
        return open_host_of_hypervisor(slot);
    }
    CUPULE_ASSERT(domain_);
    CUPULE_TRY_ASSIGN(auto device,
                      passthrough::VfioDevice::open(kernel_, *domain_, vfio_place(slot),
                                                    reset_choice(slot.text)));
    if (slot.left_behind) {
        // It is open now, so no other run has it.
        CUPULE_TRY(keep(*slot.text.address));
    }
    CUPULE_TRY_ASSIGN(const auto host, passthrough::HostTopology::read(host_.root));
    CUPULE_TRY(passthrough::check_routed_interrupt(host, slot.text, host_slots()));
    return device;
}

base::Result<void> PassthroughSlots::add(const SlotOptions& place, pci::Bus& root) {
    const auto found = std::ranges::find_if(slots_, [&](const std::unique_ptr<Slot>& slot) {
        return slot->place.slot == place.slot && slot->place.function == place.function;
    });
    CUPULE_ASSERT(found != slots_.end());
    if (auto added = add(**found, root); !added) {
        return std::unexpected(added.error().in(place_of(place)));
    }
    return {};
}

base::Result<void> PassthroughSlots::add(Slot& slot, pci::Bus& root) {
    CUPULE_TRY_ASSIGN(auto rom, read_rom(slot.text.rom_file));
    const auto time = time_source(slot);
    CUPULE_TRY_ASSIGN(auto host, open_host(slot));
    slot.monitor = &context_.parts.new_monitor();
    CUPULE_TRY_ASSIGN(slot.device, passthrough::PassthroughDevice::create(
                                       std::move(host),
                                       {.keep_intx = slot.text.keep_gsi,
                                        .msix_on_msi_bar = slot.text.msix_on_msi_bar,
                                        .time_measurement = time.has_value(),
                                        .rom = std::move(rom)},
                                       {.vm = context_.vm,
                                        .loop = context_.loop,
                                        .monitor = *slot.monitor,
                                        .gone = context_.bus_changed,
                                        .memory = slot.model ? nullptr : mapping_.get()}));
    const SlotOptions& place = slot.place;
    const std::string name = fmt::format("{:02x}.{} passthru", place.slot, place.function);
    if (!time || time->integrated) {
        CUPULE_TRY(root.add(place.slot, place.function, slot.device->function(), *slot.monitor,
                            place.device));
        context_.parts.add("00:" + name, *slot.device, *slot.monitor);
        if (slot.function) {
            make_assigned(slot);
        }
        return {};
    }
    event::Monitor& port_monitor = context_.parts.new_monitor();
    slot.port = std::make_unique<passthrough::TimePort>(
        *time, pci::BusSpaces{context_.dispatcher.ports(), context_.dispatcher.mmio()},
        ++last_port_number_);
    CUPULE_TRY(root.add(place.slot, place.function, slot.port->port().bridge(), port_monitor,
                        "root port"));
    CUPULE_TRY(slot.port->port().add(
        0, slot.device->function(), *slot.monitor,
        fmt::format("{} behind {:02x}.{}", place.device, place.slot, place.function)));
    context_.parts.add(name + " root port", *slot.port, port_monitor);
    context_.parts.add(name, *slot.device, *slot.monitor);
    if (slot.function) {
        make_assigned(slot);
    }
    return {};
}

std::optional<passthrough::TimeSource> PassthroughSlots::time_source(const Slot& slot) {
    if (!slot.text.enable_ptm) {
        return std::nullopt;
    }
    auto checked = passthrough::check_time_measurement(slot.config, slot.port_config);
    if (!checked) {
        base::log_warning("{}: enable_ptm: {}; the device is passed through without PTM",
                          place_of(slot.place), checked.error().message);
        return std::nullopt;
    }
    return *checked;
}

void PassthroughSlots::connect_intx(const pci::IntxRouter& router) {
    for (const auto& slot : slots_) {
        const auto gsi = slot->device ? router.gsi_of(slot->device->function()) : std::nullopt;
        if (gsi && slot->assigned) {
            slot->assigned->set_intx(*gsi);
        } else if (gsi) {
            event::MutexLock lock(*slot->monitor);
            slot->device->connect_intx(*gsi);
            links_.emplace_back(*gsi, router.link_of(slot->device->function()).value_or(0));
        }
    }
}

void PassthroughSlots::link_routed(unsigned link, std::optional<std::uint8_t> irq) {
    for (const auto& [gsi, its_link] : links_) {
        if (its_link == link) {
            context_.vm.route_to_pic(gsi, irq);
        }
    }
}

std::vector<acpi::AmlContribution> PassthroughSlots::contributions() const {
    using namespace acpi::aml;
    std::vector<acpi::AmlContribution> all;
    for (const auto& slot : slots_) {
        const SlotOptions& place = slot->place;
        Term body = name("_ADR", integer(std::uint64_t{place.slot} << 16 | place.function));
        if (slot->port) {
            body += device("PT00", name("_ADR", integer(0)));
        }
        all.push_back({.place = acpi::AmlPlace::pci_host,
                       .aml = device(fmt::format("P{:02X}{}", place.slot, place.function), body)});
    }
    return all;
}

std::vector<std::string> PassthroughSlots::host_functions() const {
    std::vector<std::string> names;
    for (const auto& slot : slots_) {
        if (slot->text.address) {
            names.push_back(slot->text.address->text());
        }
    }
    return names;
}

void PassthroughSlots::hold_interrupts(bool held) {
    for (const auto& slot : slots_) {
        if (slot->device) {
            event::MutexLock lock(*slot->monitor);
            slot->device->hold_interrupts(held);
        }
    }
}

void PassthroughSlots::let_interrupts_through() {
    for (const auto& slot : slots_) {
        if (slot->device) {
            event::MutexLock lock(*slot->monitor);
            slot->device->let_interrupts_through();
        }
    }
}

std::vector<std::string> PassthroughSlots::statistics() const {
    std::vector<std::string> lines;
    for (const auto& slot : slots_) {
        if (slot->device) {
            event::MutexLock lock(*slot->monitor);
            lines.push_back(fmt::format("00:{:02x}.{} passthru trapped accesses {}, interrupts {}",
                                        slot->place.slot, slot->place.function,
                                        slot->device->trapped_accesses(),
                                        slot->device->taken_interrupts()));
        }
    }
    return lines;
}

base::Result<std::vector<acpi::Table>> PassthroughSlots::acpi_tables() const {
    std::vector<acpi::Table> tables;
    for (const auto& slot : slots_) {
        if (slot->text.dsdt_file.empty()) {
            continue;
        }
        auto table = read_acpi_table(slot->text.dsdt_file);
        if (!table) {
            return std::unexpected(table.error().in(place_of(slot->place)));
        }
        tables.push_back(std::move(*table));
    }
    return tables;
}

bool PassthroughSlots::lost_all() const {
    return std::ranges::all_of(slots_, [](const std::unique_ptr<Slot>& slot) {
        if (!slot->text.address) {
            return true;
        }
        if (!slot->device) {
            return false;
        }
        event::MutexLock lock(*slot->monitor);
        return slot->device->function().removed();
    });
}

base::Result<void> PassthroughSlots::unmap_memory() {
    for (const auto& slot : slots_) {
        if (slot->assigned) {
            slot->assigned->deassign();
        }
    }
    if (!mapping_) {
        return {};
    }
    auto unmapped = mapping_->end();
    if (!unmapped && lost_all()) {
        // The kernel has taken the domain down with the last device that the host took back.
        base::log_debug("{}", unmapped.error().message);
        return {};
    }
    return unmapped;
}

void PassthroughSlots::map_memory() {
    if (mapping_ && !lost_all()) {
        mapping_->begin();
    }
}

base::Result<void> PassthroughSlots::check_memory() {
    const auto checked = mapping_ ? mapping_->check() : base::Result<void>{};
    return checked ? checked : std::unexpected(checked.error().in("passthru"));
}

}  // namespace cupule::machine
