#include "pci/power_management.h"

#include "base/field.h"

namespace cupule::pci {
namespace {

constexpr std::uint16_t capabilities = 2;        // PMC
constexpr std::uint16_t control_and_status = 4;  // PMCSR
using PowerState = base::Field<std::uint16_t, 1, 0, std::uint8_t>;
using NoSoftReset = base::Bit<std::uint16_t, 3>;
constexpr std::uint8_t d0 = 0;
constexpr std::uint8_t d3_hot = 3;

}  // namespace

PowerManagement::PowerManagement(Function& function, const PowerManagementLayout& layout)
    : function_(function),
      no_soft_reset_(layout.no_soft_reset),
      offset_(function.config().add_capability(capability::power_management, length, layout.at)) {
    ConfigSpace& space = function_.config();
    space.define<std::uint16_t>(offset_ + capabilities, layout.capabilities);
    space.define<std::uint16_t>(offset_ + control_and_status,
                                NoSoftReset::make(layout.no_soft_reset),
                                {.writable = PowerState::mask});
    function_.add_power(*this);
}

bool PowerManagement::in_d0() const {
    return state_ == d0;
}

void PowerManagement::settle() {
    ConfigSpace& space = function_.config();
    const auto at = static_cast<std::uint16_t>(offset_ + control_and_status);
    const auto control = space.get<std::uint16_t>(at);
    const std::uint8_t wanted = PowerState::of(control);
    if (wanted == d0 || wanted == d3_hot) {
        state_ = wanted;
    }
    // A state that is not offered leaves the one before (3.2.4).
    space.set<std::uint16_t>(at, PowerState::with(control, state_));
}

void PowerManagement::config_written(std::uint64_t /*offset*/, unsigned /*size*/) {
    const bool slept = !in_d0();
    settle();
    if (slept && in_d0() && !no_soft_reset_) {
        function_.function_level_reset();
    }
}

void PowerManagement::visit(snapshot::Visitor& visitor) {
    if (visitor.restoring()) {
        state_ = d0;
        settle();
    }
}

}  // namespace cupule::pci
