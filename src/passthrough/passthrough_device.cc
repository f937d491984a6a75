#include "passthrough/passthrough_device.h"

#include <sys/epoll.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/bits.h"
#include "base/log.h"
#include "memory/page.h"
#include "passthrough/config_policy.h"

namespace cupule::passthrough {
namespace {

constexpr std::uint16_t minimum_grant = 0x3E;  // MIN_GNT and MAX_LAT
constexpr std::uint32_t flr_capability = 1U << 28;

/// What a HostDevice answers for a register, as the type that is wanted.
template <class T>
T host_value(HostDevice& host, std::uint64_t offset) {
    return static_cast<T>(host.read_config(offset, sizeof(T)));
}

/// Whether a BAR's kind, size and place go together (PCI Local Bus 3.0, 6.2.5.1).
bool is_possible_bar(HostDevice& host, unsigned bar) {
    const HostBar& is = host.bar(bar);
    if (!base::is_power_of_two(is.size)) {
        return false;
    }
    switch (is.kind) {
        case pci::BarKind::io:
            return is.size >= 4 && is.size <= 0x1'0000;
        case pci::BarKind::memory_32:
            return is.size >= 16 && is.size <= 0x8000'0000;
        case pci::BarKind::memory_64:
            return is.size >= 16 && is.size <= std::uint64_t{1} << 51 && bar + 1 < pci::rom_bar &&
                   host.bar(bar + 1).size == 0;
        case pci::BarKind::rom:
            break;
    }
    return false;
}

}  // namespace

/// A bit of the configuration space that resets the function when it is written.
class PassthroughDevice::ResetTrigger : public pci::FunctionPart {
  public:
    ResetTrigger(pci::Function& function, std::uint16_t offset, std::uint16_t mask, bool offered)
        : function_(function), offset_(offset), mask_(mask), offered_(offered) {
        function.add_part(*this);
    }
    void config_written(std::uint64_t /*offset*/, unsigned /*size*/) override {
        const auto value = function_.config().get<std::uint16_t>(offset_);
        if ((value & mask_) == 0) {
            return;
        }
        function_.config().set<std::uint16_t>(offset_, static_cast<std::uint16_t>(value & ~mask_));
        if (offered_) {
            function_.function_level_reset();
        }
    }

  private:
    pci::Function& function_;
    const std::uint16_t offset_;
    const std::uint16_t mask_;
    const bool offered_;
};

/// The user's file instead of the device's ROM.
class PassthroughDevice::Rom : public io::IoHandler {
  public:
    explicit Rom(std::vector<std::uint8_t> bytes) : bytes_(std::move(bytes)) {}
    std::uint64_t read(std::uint64_t offset, unsigned size) override {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < size; ++i) {
            const std::uint8_t byte = offset + i < bytes_.size() ? bytes_[offset + i] : 0xFF;
            value |= std::uint64_t{byte} << (8 * i);
        }
        return value;
    }
    void write(std::uint64_t, unsigned, std::uint64_t) override {}

  private:
    const std::vector<std::uint8_t> bytes_;
};

base::Result<std::unique_ptr<PassthroughDevice>> PassthroughDevice::create(
    std::unique_ptr<HostDevice> host, PassthroughOptions options, Powers powers) {
    CUPULE_TRY_ASSIGN(const pci::Attributes attributes, read_attributes(*host, options));
    const ConfigImage image = read_config_image(*host);
    std::unique_ptr<PassthroughDevice> device(
        new PassthroughDevice(std::move(host), std::move(options), powers, attributes));
    device->add_header_fields();
    CUPULE_TRY(device->add_capabilities(image));
    CUPULE_TRY(device->add_bars());
    const bool emulated = device->options_.msix_on_msi_bar.has_value();
    device->relay_ =
        std::make_unique<InterruptRelay>(InterruptRelay::Powers{.function = device->function_,
                                                                .host = *device->host_,
                                                                .events = powers.vm,
                                                                .loop = powers.loop,
                                                                .monitor = powers.monitor},
                                         device->msi_.get(), device->msix_.get(),
                                         emulated ? HostInterrupt::msi : HostInterrupt::msix);
    device->function_.set_events(device.get());
    CUPULE_TRY(device->watch_losses());
    device->forward_command();
    return device;
}

PassthroughDevice::PassthroughDevice(std::unique_ptr<HostDevice> host, PassthroughOptions options,
                                     Powers powers, const pci::Attributes& attributes)
    : host_(std::move(host)),
      options_(std::move(options)),
      powers_(powers),
      function_(attributes),
      passed_(function_, *host_) {}

PassthroughDevice::~PassthroughDevice() {
    event::MutexLock lock(powers_.monitor);
    loss_watches_.clear();
    relay_.reset();
}

base::Result<pci::Attributes> PassthroughDevice::read_attributes(
    HostDevice& host, const PassthroughOptions& options) {
    const auto type = host_value<std::uint8_t>(host, pci::config::header_type);
    if (pci::HeaderTypeRegister::layout.of(type) != 0) {
        return base::fail("{}: it is a bridge; only endpoints can be passed through", host.name());
    }
    const auto vendor = host_value<std::uint16_t>(host, pci::config::vendor_id);
    if (vendor == 0xFFFF) {
        return base::fail("{}: its configuration space reads as ones: is it powered?", host.name());
    }
    const bool messages =
        host.interrupts(HostInterrupt::msi) != 0 || host.interrupts(HostInterrupt::msix) != 0;
    const bool intx = host.interrupts(HostInterrupt::intx) != 0;
    if (options.keep_intx && !intx) {
        return base::fail("{}: keep_gsi: the device has no INTx interrupt", host.name());
    }
    const auto revision_and_class = host_value<std::uint32_t>(host, pci::config::revision_id);
    return pci::Attributes{
        .vendor_id = vendor,
        .device_id = host_value<std::uint16_t>(host, pci::config::device_id),
        .subsystem_vendor_id = host_value<std::uint16_t>(host, pci::config::subsystem_vendor_id),
        .subsystem_id = host_value<std::uint16_t>(host, pci::config::subsystem_id),
        .revision = static_cast<std::uint8_t>(revision_and_class),
        .class_code = revision_and_class >> 8,
        .express = host.config_size() == pci::express_config_size,
        .uses_intx = intx && (options.keep_intx || !messages),
        .bus_mastering_off = true};
}

void PassthroughDevice::add_header_fields() {
    function_.config().define<std::uint16_t>(minimum_grant,
                                             host_value<std::uint16_t>(*host_, minimum_grant));
    passed_.add_header();
}

// Capabilities.

base::Result<void> PassthroughDevice::add_capabilities(const ConfigImage& image) {
    for (const ConfigCapability& capability : image.capabilities) {
        if (!capability.extended) {
            add_capability(capability);
        }
    }
    if (options_.msix_on_msi_bar) {
        CUPULE_TRY(add_msix_on_msi());
    }
    std::vector<ConfigCapability> extended;
    std::ranges::copy_if(image.capabilities, std::back_inserter(extended),
                         [](const ConfigCapability& one) { return one.extended; });
    std::ranges::sort(extended, {}, &ConfigCapability::offset);
    for (const ConfigCapability& capability : extended) {
        add_extended(capability);
    }
    return {};
}

void PassthroughDevice::add_capability(const ConfigCapability& capability) {
    const CapabilityPolicy& policy = capability_policy(capability);
    if (policy.treatment == Treatment::hidden || capability.length < 2 ||
        !function_.config().is_free(capability.offset, capability.length)) {
        return;
    }
    if (policy.treatment == Treatment::emulated) {
        add_emulated(capability);
        return;
    }
    const auto id = static_cast<std::uint8_t>(capability.id);
    function_.config().add_capability(id, capability.length, capability.offset);
    passed_.add(capability, policy);
    if (policy.reset_mask != 0 && policy.reset_offset + 2 <= capability.length) {
        const bool offered =
            capability.id != pci::capability::express ||
            (host_value<std::uint32_t>(*host_, capability.offset + 4ULL) & flr_capability) != 0;
        triggers_.push_back(std::make_unique<ResetTrigger>(
            function_, static_cast<std::uint16_t>(capability.offset + policy.reset_offset),
            policy.reset_mask, offered && host_->resettable()));
    }
}

void PassthroughDevice::add_extended(const ConfigCapability& capability) {
    const CapabilityPolicy& policy = capability_policy(capability);
    const bool is_time = capability.id == host_capability::precision_time_measurement;
    const bool shown = policy.treatment != Treatment::hidden && capability.length >= 4 &&
                       (!is_time || options_.time_measurement);
    pci::ConfigSpace& space = function_.config();
    constexpr std::uint16_t first = pci::config::extended;
    if (!shown) {
        // The list starts here and nowhere else: an empty capability holds the place.
        if (capability.offset == first && space.is_free(first, 4)) {
            space.add_extended_capability(0, 0, 4, first);
        }
        return;
    }
    if (space.is_free(capability.offset, capability.length)) {
        space.add_extended_capability(capability.id, capability.version, capability.length,
                                      capability.offset);
        passed_.add(capability, policy);
    }
}

void PassthroughDevice::add_emulated(const ConfigCapability& capability) {
    switch (capability.id) {
        case pci::capability::power_management:
            add_power_management(capability);
            break;
        case pci::capability::msi:
            add_msi(capability);
            break;
        case pci::capability::msix:
            add_msix(capability);
            break;
        default:
            break;
    }
}

void PassthroughDevice::add_power_management(const ConfigCapability& capability) {
    if (power_ || capability.length < pci::PowerManagement::length) {
        return;
    }
    // No PME, no D1 and D2, and no current from an auxiliary supply: the host has those.
    constexpr std::uint16_t shown = 0x0027;
    const auto offered = host_value<std::uint16_t>(*host_, capability.offset + 2ULL);
    const auto control = host_value<std::uint16_t>(*host_, capability.offset + 4ULL);
    power_ = std::make_unique<pci::PowerManagement>(
        function_,
        pci::PowerManagementLayout{.capabilities = static_cast<std::uint16_t>(offered & shown),
                                   .no_soft_reset = (control & 0x8) != 0,
                                   .at = capability.offset});
}

void PassthroughDevice::add_msi(const ConfigCapability& capability) {
    const unsigned count = host_->interrupts(HostInterrupt::msi);
    if (msi_ || count == 0 || options_.msix_on_msi_bar) {
        return;
    }
    const auto control = host_value<std::uint16_t>(*host_, capability.offset + 2ULL);
    const pci::MsiLayout layout{.vectors = std::bit_floor(std::min(count, pci::Msi::vectors_max)),
                                .is_64_bit = (control & 0x80) != 0,
                                .per_vector_masking = (control & 0x100) != 0,
                                .at = capability.offset};
    if (pci::Msi::length(layout) <= capability.length) {
        msi_ = std::make_unique<pci::Msi>(function_, powers_.vm, layout);
    }
}

void PassthroughDevice::add_msix(const ConfigCapability& capability) {
    const unsigned count = host_->interrupts(HostInterrupt::msix);
    if (msix_ || count == 0 || capability.length < 12 || options_.msix_on_msi_bar) {
        return;
    }
    const auto control = host_value<std::uint16_t>(*host_, capability.offset + 2ULL);
    const auto table = host_value<std::uint32_t>(*host_, capability.offset + 4ULL);
    const auto pba = host_value<std::uint32_t>(*host_, capability.offset + 8ULL);
    const pci::MsixLayout layout{.vectors = (control & 0x7FFU) + 1,
                                 .table_bar = table & 7,
                                 .table_offset = table & ~7U,
                                 .pba_bar = pba & 7,
                                 .pba_offset = pba & ~7U,
                                 .at = capability.offset};
    const auto fits = [&](unsigned bar, std::uint64_t offset, std::uint64_t size) {
        return bar < pci::rom_bar && base::contains(0, host_->bar(bar).size, offset, size);
    };
    if (!fits(layout.table_bar, layout.table_offset, pci::Msix::table_size(layout.vectors)) ||
        !fits(layout.pba_bar, layout.pba_offset, pci::Msix::pba_size(layout.vectors))) {
        base::log_warning("{}: its MSI-X structures do not lie in its BARs; MSI-X is left out",
                          host_->name());
        return;
    }
    msix_layout_ = layout;
    msix_ = std::make_unique<pci::Msix>(function_, powers_.vm, layout);
}

base::Result<void> PassthroughDevice::add_msix_on_msi() {
    const unsigned bar = *options_.msix_on_msi_bar;
    const unsigned count = host_->interrupts(HostInterrupt::msi);
    if (count == 0 || host_->interrupts(HostInterrupt::msix) != 0) {
        return base::fail("{}: vmsix_on_msi: it is for devices with MSI and without MSI-X",
                          host_->name());
    }
    const bool upper_half = bar > 0 && host_->bar(bar - 1).kind == pci::BarKind::memory_64 &&
                            host_->bar(bar - 1).size != 0;
    if (host_->bar(bar).size != 0 || upper_half) {
        return base::fail("{}: vmsix_on_msi: the device uses BAR {} itself; name a free one",
                          host_->name(), bar);
    }
    msix_layout_ = {.vectors = count,
                    .table_bar = bar,
                    .table_offset = 0,
                    .pba_bar = bar,
                    .pba_offset = memory::page_size / 2};
    msix_ = std::make_unique<pci::Msix>(function_, powers_.vm, msix_layout_);
    return {};
}

// BARs.

base::Result<void> PassthroughDevice::add_bars() {
    for (unsigned bar = 0; bar < pci::rom_bar; ++bar) {
        const HostBar& host_bar = host_->bar(bar);
        const bool made_up = options_.msix_on_msi_bar == bar;
        if (host_bar.size == 0 && !made_up) {
            continue;
        }
        if (!made_up && !is_possible_bar(*host_, bar)) {
            return base::fail("{}: BAR{} has {} bytes, which it cannot have", host_->name(), bar,
                              host_bar.size);
        }
        windows_[bar] = std::make_unique<BarWindow>(powers_.vm, *host_, bar);
        function_.add_bar(bar, {.kind = made_up ? pci::BarKind::memory_32 : host_bar.kind,
                                .size = made_up ? memory::page_size : host_bar.size,
                                .prefetchable = host_bar.prefetchable,
                                .handler = windows_[bar].get(),
                                .mapper = windows_[bar].get()});
    }
    if (msix_) {
        windows_[msix_layout_.table_bar]->overlay(
            msix_layout_.table_offset, pci::Msix::table_size(msix_layout_.vectors), msix_->table());
        windows_[msix_layout_.pba_bar]->overlay(
            msix_layout_.pba_offset, pci::Msix::pba_size(msix_layout_.vectors), msix_->pba());
    }
    return add_rom();
}

base::Result<void> PassthroughDevice::add_rom() {
    constexpr std::uint64_t rom_size_min = 0x800;
    if (!options_.rom.empty()) {
        const std::uint64_t size =
            std::max(rom_size_min, std::uint64_t{std::bit_ceil(options_.rom.size())});
        rom_ = std::make_unique<Rom>(std::move(options_.rom));
        function_.add_bar(pci::rom_bar,
                          {.kind = pci::BarKind::rom, .size = size, .handler = rom_.get()});
        return {};
    }
    const std::uint64_t size = host_->bar(pci::rom_bar).size;
    if (size >= rom_size_min && size <= 0x8000'0000 && base::is_power_of_two(size)) {
        windows_[pci::rom_bar] = std::make_unique<BarWindow>(powers_.vm, *host_, pci::rom_bar);
        function_.add_bar(pci::rom_bar, {.kind = pci::BarKind::rom,
                                         .size = size,
                                         .handler = windows_[pci::rom_bar].get(),
                                         .mapper = windows_[pci::rom_bar].get()});
    }
    return {};
}

// Life.

base::Result<void> PassthroughDevice::watch_losses() {
    for (const HostLoss loss : {HostLoss::requested, HostLoss::failed}) {
        if (const int fd = host_->loss_eventfd(loss); fd >= 0) {
            event::MutexLock lock(powers_.monitor);
            CUPULE_TRY_ASSIGN(auto watch,
                              powers_.loop.watch(fd, EPOLLIN, powers_.monitor,
                                                 [this, loss](std::uint32_t) { lose(loss); }));
            loss_watches_.push_back(std::move(watch));
        }
    }
    return {};
}

void PassthroughDevice::lose(HostLoss loss) {
    base::log_warning(
        "{} (the guest's {}) {}; the guest sees it gone and goes on without. {}, start the virtual "
        "machine anew to give it back",
        host_->name(), function_.name(),
        loss == HostLoss::requested
            ? "is wanted back by the host, which unbinds or unplugs it"
            : "reported an error that the host does not correct (`dmesg` there names it)",
        loss == HostLoss::requested ? "When it is bound to vfio-pci again" : "When it works again");
    leave();
}

void PassthroughDevice::leave() {
    for (const auto& watch : loss_watches_) {
        watch->set_events(0);
    }
    relay_->stop();
    function_.remove();
    host_->release();
    if (powers_.gone) {
        powers_.loop.post(powers_.gone);
    }
}

bool PassthroughDevice::wait_for_memory() {
    if (powers_.memory == nullptr) {
        return true;
    }
    const auto mapped = powers_.memory->wait();
    if (!mapped) {
        base::log_error("{}: {}; the guest sees the device gone", host_->name(),
                        mapped.error().message);
        leave();
    }
    return mapped.has_value();
}

void PassthroughDevice::config_reading(std::uint64_t offset, unsigned size) {
    passed_.refresh(offset, size);
}

void PassthroughDevice::config_written(std::uint64_t offset, unsigned size) {
    // The command register, or a power state that gates what it says.
    const bool commands = offset < pci::config::status && offset + size > pci::config::command;
    const bool changes = commands || passed_command() != forwarded_command_;
    if (changes && function_.bus_master() && !wait_for_memory()) {
        return;
    }
    relay_->update();
    passed_.forward(offset, size);
    if (changes) {
        forward_command();
    }
}

/// What the host shall have in the bits that are the guest's: decoding is the emulation's, error
/// signalling the host's.
std::uint16_t PassthroughDevice::passed_command() const {
    const auto guest = function_.config().get<std::uint16_t>(pci::config::command);
    // Others may share the host's line of an INTx that nobody here listens to.
    const bool silent =
        pci::Command::interrupt_disable.of(guest) || !function_.may_assert_intx();
    return static_cast<std::uint16_t>(pci::Command::bus_master.make(function_.bus_master()) |
                                      pci::Command::interrupt_disable.make(silent));
}

void PassthroughDevice::forward_command() {
    constexpr std::uint16_t guests =
        pci::Command::bus_master.mask | pci::Command::interrupt_disable.mask;
    forwarded_command_ = passed_command();
    const auto host = host_value<std::uint16_t>(*host_, pci::config::command);
    host_->write_config(pci::config::command, 2,
                        static_cast<std::uint16_t>((host & ~guests) | forwarded_command_));
}

void PassthroughDevice::settle_host(base::Result<void> (HostDevice::*way)()) {
    // INTx that waits for an end which the guest has forgotten of would wait for ever.
    relay_->disconnect();
    if (const auto done = (*host_.*way)(); !done) {
        not_reset_.report("{}", done.error().message);
    }
    forward_command();
    relay_->update();
}

void PassthroughDevice::function_level_reset() {
    settle_host(&HostDevice::reset_function);
}

void PassthroughDevice::reset() {
    function_.reset();
    if (!function_.removed()) {
        settle_host(&HostDevice::reset);
    }
}

void PassthroughDevice::visit(snapshot::Visitor& visitor) {
    function_.visit(visitor);
}

std::uint64_t PassthroughDevice::trapped_accesses() const {
    std::uint64_t sum = 0;
    for (const auto& window : windows_) {
        sum += window ? window->trapped() : 0;
    }
    return sum;
}

}  // namespace cupule::passthrough
