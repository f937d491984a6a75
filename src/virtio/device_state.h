#pragma once

#include <cstdint>
#include <span>

#include "base/log.h"
#include "snapshot/visitor.h"

namespace cupule::virtio {

/// What a transport has to do after a write of the device status.
enum class StatusAction : std::uint8_t {
    none,
    reset,     // zero was written: stop and reset everything, then `reset_done`
    features,  // FEATURES_OK was accepted: `driver_features` are final
    start,     // DRIVER_OK was set (perhaps with FEATURES_OK): activate the enabled queues
};

/// A feature that means nothing without another, or without one of several (the "Feature bit
/// requirements" of each device type).
struct FeatureDependency {
    std::uint64_t feature = 0;
    /// One of these at least.
    std::uint64_t needs = 0;
};

/// Whether each of `features` has what it needs.
bool dependencies_met(std::uint64_t features, std::span<const FeatureDependency> dependencies);

/// The device's half of initialisation: feature negotiation and the status register (Virtio 1.3,
/// 2.1, 2.2, 3.1), the same for every transport. With the transport's monitor held.
///
/// A driver can set status bits and can clear them only all at once, by writing zero. What it does
/// out of turn is not taken: FEATURES_OK stays clear when it asks for what was not offered (2.2.2),
/// or leaves out VIRTIO_F_VERSION_1 where the device is modern only; DRIVER_OK stays clear before
/// FEATURES_OK for a modern driver. A legacy driver (transitional devices only) has no FEATURES_OK.
class DeviceState {
  public:
    /// `offered`: all feature bits of device, rings and transport. `transitional`: drivers without
    /// VERSION_1 are served too. `dependencies`: refused when not met; they outlive this object.
    DeviceState(const char* name, std::uint64_t offered, bool transitional,
                std::span<const FeatureDependency> dependencies = {})
        : offered_(offered),
          transitional_(transitional),
          dependencies_(dependencies),
          bad_features_(name, "driver asked for features that were not offered"),
          bad_status_(name, "device status written out of turn") {}

    std::uint64_t offered() const { return offered_; }
    /// What the driver accepted so far; final once FEATURES_OK or, for a legacy driver, DRIVER_OK
    /// is set.
    std::uint64_t driver_features() const { return state_.driver_features; }
    bool negotiated(std::uint64_t feature) const {
        return (state_.driver_features & feature) == feature;
    }
    std::uint8_t status() const { return state_.status; }
    bool running() const;

    /// Feature registers: 32-bit words selected by an index; words from the third on are zero and
    /// take nothing.
    std::uint32_t device_feature_word(std::uint32_t select) const;
    void set_driver_feature_word(std::uint32_t select, std::uint32_t value);

    [[nodiscard]] StatusAction write_status(std::uint8_t value);
    /// Ends a reset: the status then reads zero (2.1.2; drivers wait for it).
    void reset_done() { state_ = {}; }

    /// The device cannot go on (a broken queue, a failed start). True when this is news and the
    /// driver must get a configuration change interrupt: it had set DRIVER_OK (2.1.2).
    [[nodiscard]] bool set_needs_reset();
    bool needs_reset() const;

    /// Save and restore; a restored state that no driver could have reached becomes one that needs
    /// a reset.
    void visit(snapshot::Visitor& visitor);

  private:
    struct State {
        std::uint64_t driver_features = 0;
        std::uint8_t status = 0;
    };

    bool features_final() const;
    bool features_acceptable() const;

    std::uint64_t offered_;
    bool transitional_;
    std::span<const FeatureDependency> dependencies_;
    State state_;
    base::GuestFault bad_features_;
    base::GuestFault bad_status_;
};

}  // namespace cupule::virtio
