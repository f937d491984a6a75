#include "device/bridge/lpc_bridge.h"

#include "base/field.h"

namespace cupule::device {
namespace {

/// PIRQ[n]_ROUT (13.1.17).
struct PirqRoute {
    static constexpr base::Bit<std::uint8_t, 7> disabled{};  // IRQEN
    static constexpr base::Field<std::uint8_t, 3, 0> irq{};  // IRQ_ROUTE
    static constexpr std::uint8_t writable = disabled.mask | irq.mask;
    static constexpr std::uint8_t power_on = disabled.mask;
};

/// Offsets of PIRQA_ROUT to PIRQH_ROUT.
constexpr std::array<std::uint16_t, pci::pirq_links> pirq_registers = {0x60, 0x61, 0x62, 0x63,
                                                                       0x68, 0x69, 0x6A, 0x6B};

}  // namespace

LpcBridge::LpcBridge(pci::PirqRouter& pirqs)
    : pirqs_(pirqs),
      function_(
          {.vendor_id = 0x8086, .device_id = 0x7000, .class_code = pci::class_code::isa_bridge}) {
    for (const std::uint16_t offset : pirq_registers) {
        function_.config().reserve(offset, 1);
        function_.config().define<std::uint8_t>(offset, PirqRoute::power_on,
                                                {.writable = PirqRoute::writable});
    }
    function_.set_events(this);
    update_routes();
}

void LpcBridge::program_links(
    const std::array<std::optional<std::uint8_t>, pci::pirq_links>& irqs) {
    for (unsigned link = 0; link < pci::pirq_links; ++link) {
        function_.write_config(pirq_registers[link], 1, irqs[link].value_or(PirqRoute::power_on));
    }
}

void LpcBridge::config_written(std::uint64_t /*offset*/, unsigned /*size*/) {
    update_routes();
}

void LpcBridge::update_routes() {
    for (unsigned link = 0; link < pci::pirq_links; ++link) {
        const auto route = function_.config().get<std::uint8_t>(pirq_registers[link]);
        if (PirqRoute::disabled.of(route)) {
            pirqs_.route(link, std::nullopt);
        } else {
            pirqs_.route(link, PirqRoute::irq.of(route));
        }
    }
}

void LpcBridge::reset() {
    function_.reset();
    update_routes();
}

void LpcBridge::visit(snapshot::Visitor& visitor) {
    function_.visit(visitor);
    if (visitor.restoring()) {
        update_routes();
    }
}

}  // namespace cupule::device
