#include "virtio/device_state.h"

#include <algorithm>

#include "virtio/features.h"

namespace cupule::virtio {

bool dependencies_met(std::uint64_t features, std::span<const FeatureDependency> dependencies) {
    return std::ranges::none_of(dependencies, [features](const FeatureDependency& each) {
        return (features & each.feature) != 0 && (features & each.needs) == 0;
    });
}

bool DeviceState::running() const {
    return (state_.status & status::driver_ok) != 0 && (state_.status & status::failed) == 0;
}

bool DeviceState::needs_reset() const {
    return (state_.status & status::device_needs_reset) != 0;
}

bool DeviceState::features_final() const {
    return (state_.status & (status::features_ok | status::driver_ok)) != 0;
}

bool DeviceState::features_acceptable() const {
    if ((state_.driver_features & ~offered_) != 0 ||
        !dependencies_met(state_.driver_features, dependencies_)) {
        return false;
    }
    const bool legacy_bits_only = (state_.driver_features >> 32) == 0;
    return negotiated(feature::version_1) || (transitional_ && legacy_bits_only);
}

std::uint32_t DeviceState::device_feature_word(std::uint32_t select) const {
    return select < 2 ? static_cast<std::uint32_t>(offered_ >> (32 * select)) : 0;
}

void DeviceState::set_driver_feature_word(std::uint32_t select, std::uint32_t value) {
    if (features_final()) {
        bad_status_.report(value);  // 3.1.1: not after FEATURES_OK
        return;
    }
    if (select >= 2) {
        if (value != 0) {
            bad_features_.report(value);
        }
        return;
    }
    state_.driver_features = base::write_lane<std::uint64_t>(state_.driver_features,
                                                             std::uint64_t{select} * 4, 4, value);
}

StatusAction DeviceState::write_status(std::uint8_t value) {
    if (value == 0) {
        return StatusAction::reset;
    }
    if ((state_.status & ~value & ~status::device_needs_reset) != 0) {
        bad_status_.report(value);  // 2.1.1: a driver clears no bit; they stay
    }
    // Only the device sets NEEDS_RESET; bits without a meaning are not kept.
    const auto known =
        static_cast<std::uint8_t>(status::acknowledge | status::driver | status::features_ok |
                                  status::driver_ok | status::failed);
    auto news = static_cast<std::uint8_t>(value & known & ~state_.status);
    StatusAction action = StatusAction::none;
    if ((news & status::features_ok) != 0) {
        if (features_acceptable() && (state_.status & status::driver_ok) == 0) {
            action = StatusAction::features;
        } else {
            bad_features_.report(state_.driver_features & ~offered_);
            news &= static_cast<std::uint8_t>(~status::features_ok);
        }
    }
    state_.status |= static_cast<std::uint8_t>(news & ~status::driver_ok);
    if ((news & status::driver_ok) == 0) {
        return action;
    }
    const bool legacy = transitional_ && !negotiated(feature::version_1);
    const bool may_start = (state_.status & status::features_ok) != 0 || legacy;
    if (!may_start || !features_acceptable() || needs_reset() ||
        (state_.status & status::failed) != 0) {
        bad_status_.report(value);
        return action;
    }
    state_.status |= status::driver_ok;
    return StatusAction::start;
}

bool DeviceState::set_needs_reset() {
    if (needs_reset()) {
        return false;
    }
    state_.status |= status::device_needs_reset;
    return (state_.status & status::driver_ok) != 0;
}

void DeviceState::visit(snapshot::Visitor& visitor) {
    visitor.field("driver_features", state_.driver_features);
    visitor.field("status", state_.status);
    if (visitor.restoring() && features_final() && !features_acceptable()) {
        state_.driver_features &= offered_;
        static_cast<void>(set_needs_reset());
    }
}

}  // namespace cupule::virtio
