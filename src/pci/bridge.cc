#include "pci/bridge.h"

#include "base/assert.h"

namespace cupule::pci {
namespace {

/// Low nibble of the prefetchable base and limit: 64-bit addressing (3.2.5.9).
constexpr std::uint16_t prefetchable_64_bit = 0x1;
/// Parity response, SERR, ISA, VGA, VGA 16-bit, master abort mode (3.2.5.18).
constexpr std::uint16_t bridge_control_writable = 0x003F;
constexpr unsigned io_granularity_shift = 8;       // base[15:12] in register bits 7:4
constexpr unsigned memory_granularity_shift = 16;  // base[31:20] in register bits 15:4
constexpr std::uint8_t io_window_mask = 0xF0;
constexpr std::uint16_t memory_window_mask = 0xFFF0;

}  // namespace

Bridge::Bridge(const Attributes& attributes, BusSpaces spaces)
    : function_(attributes), secondary_(spaces) {
    CUPULE_ASSERT(attributes.header_type == HeaderType::bridge);
    define_header();
    function_.add_part(*this);
}

void Bridge::define_header() {
    ConfigSpace& space = function_.config();
    for (const std::uint16_t number :
         {config::primary_bus, config::secondary_bus, config::subordinate_bus}) {
        space.define<std::uint8_t>(number, 0, {.writable = 0xFF});
    }
    space.define<std::uint8_t>(config::io_base, 0, {.writable = io_window_mask});
    space.define<std::uint8_t>(config::io_limit, 0, {.writable = io_window_mask});
    space.define<std::uint16_t>(config::secondary_status, 0,
                                {.write_1_to_clear = Status::write_1_to_clear});
    space.define<std::uint16_t>(config::memory_base, 0, {.writable = memory_window_mask});
    space.define<std::uint16_t>(config::memory_limit, 0, {.writable = memory_window_mask});
    space.define<std::uint16_t>(config::prefetchable_base, prefetchable_64_bit,
                                {.writable = memory_window_mask});
    space.define<std::uint16_t>(config::prefetchable_limit, prefetchable_64_bit,
                                {.writable = memory_window_mask});
    space.define<std::uint32_t>(config::prefetchable_base_upper, 0, {.writable = 0xFFFF'FFFF});
    space.define<std::uint32_t>(config::prefetchable_limit_upper, 0, {.writable = 0xFFFF'FFFF});
    space.define<std::uint16_t>(config::bridge_control, 0, {.writable = bridge_control_writable});
}

Bridge::BusNumbers Bridge::bus_numbers() const {
    const std::uint16_t numbers = bus_numbers_.load(std::memory_order_acquire);
    return {.secondary = static_cast<std::uint8_t>(numbers),
            .subordinate = static_cast<std::uint8_t>(numbers >> 8)};
}

void Bridge::publish_bus_numbers() {
    bus_numbers_.store(function_.config().get<std::uint16_t>(config::secondary_bus),
                       std::memory_order_release);
}

void Bridge::assign_bus_numbers(std::uint8_t primary, std::uint8_t secondary,
                                std::uint8_t subordinate) {
    function_.write_config(config::primary_bus, 1, primary);
    function_.write_config(config::secondary_bus, 1, secondary);
    function_.write_config(config::subordinate_bus, 1, subordinate);
}

void Bridge::assign_windows(BridgeWindow io, BridgeWindow memory, BridgeWindow prefetchable) {
    function_.write_config(config::io_base, 1,
                           (io.empty() ? 0xF0 : io.base >> io_granularity_shift));
    function_.write_config(config::io_limit, 1, (io.empty() ? 0 : io.last >> io_granularity_shift));
    const auto memory_register = [](std::uint64_t address) {
        return (address >> memory_granularity_shift) & memory_window_mask;
    };
    const std::uint64_t closed = memory_window_mask;
    function_.write_config(config::memory_base, 2,
                           memory.empty() ? closed : memory_register(memory.base));
    function_.write_config(config::memory_limit, 2,
                           memory.empty() ? 0 : memory_register(memory.last));
    function_.write_config(config::prefetchable_base, 2,
                           prefetchable.empty() ? closed : memory_register(prefetchable.base));
    function_.write_config(config::prefetchable_limit, 2,
                           prefetchable.empty() ? 0 : memory_register(prefetchable.last));
    function_.write_config(config::prefetchable_base_upper, 4,
                           prefetchable.empty() ? 0 : prefetchable.base >> 32);
    function_.write_config(config::prefetchable_limit_upper, 4,
                           prefetchable.empty() ? 0 : prefetchable.last >> 32);
}

void Bridge::config_written(std::uint64_t /*offset*/, unsigned /*size*/) {
    publish_bus_numbers();
}

void Bridge::reset() {
    publish_bus_numbers();
}

void Bridge::visit(snapshot::Visitor& visitor) {
    if (visitor.restoring()) {
        publish_bus_numbers();
    }
}

}  // namespace cupule::pci
