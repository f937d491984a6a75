#include "device/platform/post_code.h"

namespace cupule::device {

void PostCode::write(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t value) {
    state_.code = static_cast<std::uint8_t>(value);
}

void PostCode::reset() {
    state_ = State{};
}

void PostCode::visit(snapshot::Visitor& visitor) {
    visitor.field("code", state_.code);
}

}  // namespace cupule::device
