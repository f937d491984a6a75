#include "device/platform/debug_exit.h"

#include "base/bits.h"

namespace cupule::device {

std::uint64_t DebugExit::read(std::uint64_t /*offset*/, unsigned size) {
    return base::ones(size);
}

void DebugExit::write(std::uint64_t /*offset*/, unsigned size, std::uint64_t value) {
    state_.last_value = static_cast<std::uint32_t>(value & base::ones(size));
    requests_.debug_exit(state_.last_value);
}

void DebugExit::reset() {
    state_ = State{};
}

void DebugExit::visit(snapshot::Visitor& visitor) {
    visitor.field("last_value", state_.last_value);
}

}  // namespace cupule::device
