#include "pci/function.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/bits.h"

namespace cupule::pci {
namespace {

constexpr std::uint64_t port_space_size = 0x1'0000;
constexpr std::uint64_t four_gib = std::uint64_t{1} << 32;
/// The widest guest physical address of the architecture, as for io::IoDispatcher.
constexpr std::uint64_t memory_space_size = std::uint64_t{1} << 52;

constexpr std::uint64_t bar_size_min(BarKind kind) {
    switch (kind) {
        case BarKind::io:
            return 4;
        case BarKind::rom:
            return 0x800;
        case BarKind::memory_32:
        case BarKind::memory_64:
            break;
    }
    return 16;
}

constexpr std::uint64_t bar_size_max(BarKind kind) {
    switch (kind) {
        case BarKind::io:
            return port_space_size;
        case BarKind::memory_64:
            return memory_space_size / 2;
        case BarKind::memory_32:
        case BarKind::rom:
            break;
    }
    return four_gib / 2;
}

}  // namespace

Function::Function(const Attributes& attributes)
    : attributes_(attributes),
      config_(attributes.express ? express_config_size : conventional_config_size),
      intx_(*this) {
    define_header();
}

Function::~Function() {
    for (const Bar& bar : bars_) {
        if (bar.range) {
            (bar.spec.kind == BarKind::io ? attachment_.ports : attachment_.memory)
                ->unmap(*bar.range);
        }
    }
}

void Function::define_header() {
    config_.define<std::uint16_t>(config::vendor_id, attributes_.vendor_id);
    config_.define<std::uint16_t>(config::device_id, attributes_.device_id);
    config_.define<std::uint16_t>(config::command, 0, {.writable = Command::writable});
    config_.define<std::uint16_t>(config::status, 0, {.write_1_to_clear = Status::write_1_to_clear},
                                  Status::interrupt.mask);
    config_.define<std::uint32_t>(config::revision_id,
                                  (attributes_.class_code << 8) | attributes_.revision);
    config_.define<std::uint8_t>(config::cache_line_size, 0, {.writable = 0xFF});
    config_.define<std::uint8_t>(config::header_type,
                                 static_cast<std::uint8_t>(attributes_.header_type));
    config_.define<std::uint8_t>(config::interrupt_line, 0, {.writable = 0xFF});
    if (attributes_.header_type == HeaderType::endpoint) {
        config_.define<std::uint16_t>(config::subsystem_vendor_id, attributes_.subsystem_vendor_id);
        config_.define<std::uint16_t>(config::subsystem_id, attributes_.subsystem_id);
    }
}

std::uint16_t Function::bar_register(unsigned bar) const {
    if (bar != rom_bar) {
        return static_cast<std::uint16_t>(config::bar0 + 4 * bar);
    }
    return attributes_.header_type == HeaderType::endpoint ? config::expansion_rom
                                                           : config::bridge_expansion_rom;
}

void Function::add_bar(unsigned bar, const BarSpec& spec) {
    const unsigned plain_bars = attributes_.header_type == HeaderType::endpoint ? 6 : 2;
    const bool is_wide = spec.kind == BarKind::memory_64;
    CUPULE_ASSERT((bar == rom_bar) == (spec.kind == BarKind::rom));
    CUPULE_ASSERT(bar == rom_bar || bar + (is_wide ? 1U : 0U) < plain_bars);
    CUPULE_ASSERT(bars_[bar].spec.size == 0 && (!is_wide || bars_[bar + 1].spec.size == 0));
    CUPULE_ASSERT(bar == 0 || bar == rom_bar || bars_[bar - 1].spec.kind != BarKind::memory_64);
    CUPULE_ASSERT(base::is_power_of_two(spec.size) && spec.size >= bar_size_min(spec.kind) &&
                  spec.size <= bar_size_max(spec.kind));
    bars_[bar].spec = spec;
    const std::uint16_t offset = bar_register(bar);
    const auto mask = static_cast<std::uint32_t>(~(spec.size - 1));
    switch (spec.kind) {
        case BarKind::io:
            config_.define<std::uint32_t>(offset, BarRegister::io.mask,
                                          {.writable = mask & BarRegister::io_address});
            break;
        case BarKind::rom:
            config_.define<std::uint32_t>(
                offset, 0, {.writable = (mask & RomRegister::address) | RomRegister::enable.mask});
            break;
        case BarKind::memory_32:
            config_.define<std::uint32_t>(offset, BarRegister::prefetchable.make(spec.prefetchable),
                                          {.writable = mask & BarRegister::memory_address});
            break;
        case BarKind::memory_64:
            config_.define<std::uint64_t>(
                offset,
                BarRegister::is_64_bit.mask | BarRegister::prefetchable.make(spec.prefetchable),
                {.writable = ~(spec.size - 1)});
            break;
    }
}

void Function::attach(FunctionAttachment attachment) {
    CUPULE_ASSERT(attachment_.monitor == nullptr && attachment.monitor != nullptr);
    attachment_ = std::move(attachment);
    update_bars();
}

void Function::set_multi_function(bool multi_function) {
    const auto layout = static_cast<std::uint8_t>(attributes_.header_type);
    config_.define<std::uint8_t>(config::header_type,
                                 HeaderTypeRegister::multi_function.with(layout, multi_function));
}

void Function::connect_intx(std::uint8_t pin, irq::LevelLine* line) {
    CUPULE_ASSERT(attributes_.uses_intx && pin >= 1 && pin <= 4 && line != nullptr);
    config_.define<std::uint8_t>(config::interrupt_pin, pin);
    intx_line_ = line;
    update_intx();
}

std::uint64_t Function::read_config(std::uint64_t offset, unsigned size) {
    if (removed_) {
        return base::ones(size);
    }
    if (events_ != nullptr) {
        events_->config_reading(offset, size);
    }
    return config_.read(offset, size);
}

void Function::write_config(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (removed_ || !config_.write(offset, size, value)) {
        return;
    }
    for (FunctionPart* part : parts_) {
        part->config_written(offset, size);
    }
    refresh();
    if (events_ != nullptr) {
        events_->config_written(offset, size);
    }
}

void Function::assign_bar(unsigned bar, std::uint64_t address) {
    const BarSpec& spec = bars_[bar].spec;
    CUPULE_ASSERT(spec.size != 0 && base::is_aligned(address, spec.size));
    const std::uint16_t offset = bar_register(bar);
    write_config(offset, 4, static_cast<std::uint32_t>(address));
    if (spec.kind == BarKind::memory_64) {
        write_config(offset + 4U, 4, address >> 32);
    }
}

BarState Function::bar(unsigned bar) const {
    const Bar& each = bars_[bar];
    return {.kind = each.spec.kind,
            .size = each.spec.size,
            .prefetchable = each.spec.prefetchable,
            .address = each.spec.size != 0 ? bar_address(bar) : 0,
            .decodes = each.mapped_at.has_value()};
}

std::uint64_t Function::bar_address(unsigned bar) const {
    const std::uint16_t offset = bar_register(bar);
    switch (bars_[bar].spec.kind) {
        case BarKind::io:
            return config_.get<std::uint32_t>(offset) & BarRegister::io_address;
        case BarKind::rom:
            return config_.get<std::uint32_t>(offset) & RomRegister::address;
        case BarKind::memory_64:
            return config_.get<std::uint64_t>(offset) & ~std::uint64_t{0xF};
        case BarKind::memory_32:
            break;
    }
    return config_.get<std::uint32_t>(offset) & BarRegister::memory_address;
}

std::optional<std::uint64_t> Function::bar_decodes_at(unsigned bar) const {
    const BarSpec& spec = bars_[bar].spec;
    if (spec.size == 0 || removed_ || !is_powered()) {
        return std::nullopt;
    }
    const auto command = config_.get<std::uint16_t>(config::command);
    const bool is_io = spec.kind == BarKind::io;
    bool enabled = is_io ? Command::io_space.of(command) : Command::memory_space.of(command);
    if (spec.kind == BarKind::rom) {
        enabled &= RomRegister::enable.of(config_.get<std::uint32_t>(bar_register(bar)));
    }
    const std::uint64_t address = bar_address(bar);
    const bool sizing = !is_io && address == four_gib - spec.size;
    const std::uint64_t space = is_io ? port_space_size : memory_space_size;
    if (!enabled || sizing || address == 0 || !base::contains(0, space, address, spec.size)) {
        return std::nullopt;
    }
    return address;
}

void Function::update_bars() {
    for (unsigned bar = 0; bar < bar_count; ++bar) {
        const std::optional<std::uint64_t> address = bar_decodes_at(bar);
        const bool missing = address && attachment_.monitor != nullptr && !bars_[bar].range &&
                             bars_[bar].spec.handler != nullptr;
        if (address != bars_[bar].mapped_at || missing) {
            map_bar(bar, address);
        }
    }
}

void Function::map_bar(unsigned bar, std::optional<std::uint64_t> address) {
    Bar& moved = bars_[bar];
    const BarSpec& spec = moved.spec;
    io::AddressSpace* space = spec.kind == BarKind::io ? attachment_.ports : attachment_.memory;
    if (moved.range) {
        space->unmap(*moved.range);
        moved.range.reset();
    }
    if (address && spec.handler != nullptr && space != nullptr) {
        const std::string part = bar == rom_bar ? std::string("ROM") : fmt::format("BAR{}", bar);
        moved.range = space->map_movable({.base = *address,
                                          .size = spec.size,
                                          .handler = spec.handler,
                                          .monitor = attachment_.monitor,
                                          .name = attachment_.name + " " + part});
    }
    if (address != moved.mapped_at) {
        moved.mapped_at = address;
        if (spec.mapper != nullptr) {
            spec.mapper->bar_moved(bar, address);
        }
    }
}

void Function::set_intx(bool asserted) {
    intx_asserted_ = asserted;
    update_intx();
}

void Function::update_intx() {
    const bool pending = intx_asserted_ && may_assert_intx();
    const auto status = config_.get<std::uint16_t>(config::status);
    config_.set<std::uint16_t>(config::status, Status::interrupt.with(status, pending));
    const auto command = config_.get<std::uint16_t>(config::command);
    if (intx_line_ != nullptr) {
        intx_line_->set_level(pending && !Command::interrupt_disable.of(command));
    }
}

void Function::refresh() {
    update_bars();
    update_intx();
}

void Function::remove() {
    reset_state();
    removed_ = true;
}

bool Function::is_powered() const {
    return std::ranges::all_of(parts_, &FunctionPart::is_powered);
}

bool Function::bus_master() const {
    return Command::bus_master.of(config_.get<std::uint16_t>(config::command)) && is_powered();
}

bool Function::may_assert_intx() const {
    return is_powered() && std::ranges::none_of(parts_, &FunctionPart::replaces_intx);
}

void Function::reset_state() {
    config_.reset();
    intx_asserted_ = false;
    for (FunctionPart* part : parts_) {
        part->reset();
    }
    refresh();
}

void Function::reset() {
    reset_state();
}

void Function::function_level_reset() {
    reset_state();
    if (events_ != nullptr) {
        events_->function_level_reset();
    }
}

void Function::visit(snapshot::Visitor& visitor) {
    visitor.begin("pci");
    config_.visit(visitor);
    visitor.field("intx_asserted", intx_asserted_);
    for (FunctionPart* part : parts_) {
        part->visit(visitor);
    }
    visitor.end();
    if (visitor.restoring()) {
        refresh();
    }
}

std::string_view config_register_name(std::uint64_t offset) {
    static constexpr std::array<std::string_view, 16> header = {
        "ID",   "CMD/STS", "CLASS", "HDR",    "BAR0", "BAR1", "BAR2", "BAR3",
        "BAR4", "BAR5",    "CIS",   "SUBSYS", "ROM",  "CAP",  "",     "INT"};
    return offset < config::header_end ? header[offset / 4] : std::string_view{};
}

}  // namespace cupule::pci
