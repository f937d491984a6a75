#include "device/platform/reset_control.h"

#include "base/field.h"

namespace cupule::device {
namespace {

constexpr base::Bit<std::uint8_t, 1> system_reset{};  // SYS_RST
constexpr base::Bit<std::uint8_t, 2> reset_cpu{};     // RST_CPU
constexpr base::Bit<std::uint8_t, 3> full_reset{};    // FULL_RST
constexpr std::uint8_t writable = system_reset.mask | reset_cpu.mask | full_reset.mask;

}  // namespace

std::uint64_t ResetControl::read(std::uint64_t /*offset*/, unsigned /*size*/) {
    return state_.control;
}

void ResetControl::write(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t value) {
    const auto written = static_cast<std::uint8_t>(value & writable);
    const bool fires = reset_cpu.of(written) && !reset_cpu.of(state_.control);
    state_.control = written;
    if (fires) {
        requests_.reset(full_reset.of(written) ? ResetKind::full : ResetKind::warm);
    }
}

void ResetControl::reset() {
    state_ = State{};
}

void ResetControl::visit(snapshot::Visitor& visitor) {
    visitor.field("control", state_.control);
    state_.control &= writable;
}

}  // namespace cupule::device
