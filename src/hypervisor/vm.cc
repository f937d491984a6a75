#include "hypervisor/vm.h"

namespace cupule::hypervisor {

void Vm::drive_gsi(std::uint32_t gsi, bool high) {
    constexpr irq::Gsi timer{0};
    const irq::Gsi input = gsi == electrical_gsi(timer) ? timer : irq::Gsi{gsi};
    set_gsi_level(input, high != is_low_active(input));
}

}  // namespace cupule::hypervisor
