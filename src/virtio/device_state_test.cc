#include "virtio/device_state.h"

#include <gtest/gtest.h>

#include "snapshot/snapshot.h"
#include "virtio/features.h"

namespace cupule::virtio {
namespace {

constexpr std::uint64_t multi_queue = base::bit(22);
constexpr std::uint64_t control_queue = base::bit(17);
constexpr std::uint64_t offered =
    feature::version_1 | feature::event_idx | feature::in_order | multi_queue | control_queue;
constexpr FeatureDependency dependencies[] = {{.feature = multi_queue, .needs = control_queue}};

DeviceState modern() {
    return DeviceState("test", offered, false, dependencies);
}

void accept(DeviceState& state, std::uint64_t features) {
    state.set_driver_feature_word(0, static_cast<std::uint32_t>(features));
    state.set_driver_feature_word(1, static_cast<std::uint32_t>(features >> 32));
}

constexpr std::uint8_t hello = status::acknowledge | status::driver;
constexpr std::uint8_t features_done = hello | status::features_ok;
constexpr std::uint8_t all_done = features_done | status::driver_ok;

TEST(DeviceState, FollowsADriverThatDoesItRight) {
    DeviceState state = modern();
    EXPECT_EQ(state.device_feature_word(0), static_cast<std::uint32_t>(offered));
    EXPECT_EQ(state.device_feature_word(1), static_cast<std::uint32_t>(offered >> 32));
    EXPECT_EQ(state.device_feature_word(2), 0U);
    EXPECT_EQ(state.device_feature_word(0xFFFF'FFFF), 0U);
    EXPECT_EQ(state.write_status(status::acknowledge), StatusAction::none);
    EXPECT_EQ(state.write_status(hello), StatusAction::none);
    accept(state, feature::version_1 | feature::event_idx);
    EXPECT_EQ(state.write_status(features_done), StatusAction::features);
    EXPECT_EQ(state.status(), features_done);
    EXPECT_EQ(state.write_status(all_done), StatusAction::start);
    EXPECT_TRUE(state.running());
    EXPECT_TRUE(state.negotiated(feature::event_idx));
    EXPECT_FALSE(state.negotiated(feature::in_order));
    EXPECT_EQ(state.write_status(all_done), StatusAction::none);  // no second start
    EXPECT_EQ(state.write_status(0), StatusAction::reset);
    EXPECT_EQ(state.status(), all_done);  // until the reset is through
    state.reset_done();
    EXPECT_EQ(state.status(), 0);
    EXPECT_EQ(state.driver_features(), 0U);
}

TEST(DeviceState, RefusesFeaturesThatWereNotOffered) {
    for (unsigned i = 0; i < 64; ++i) {
        DeviceState state = modern();
        accept(state, feature::version_1 | control_queue | base::bit(i));
        static_cast<void>(state.write_status(features_done));
        const bool taken = (offered & base::bit(i)) != 0;
        EXPECT_EQ(state.status(), taken ? features_done : hello) << i;
    }
}

TEST(DeviceState, RefusesAFeatureWithoutTheOneItNeeds) {
    DeviceState state = modern();
    accept(state, feature::version_1 | multi_queue);
    EXPECT_EQ(state.write_status(features_done), StatusAction::none);
    EXPECT_EQ(state.status(), hello);
    accept(state, feature::version_1 | multi_queue | control_queue);  // it may try again
    EXPECT_EQ(state.write_status(features_done), StatusAction::features);
}

TEST(DeviceState, AModernDeviceRefusesADriverWithoutVersion1) {
    DeviceState state = modern();
    EXPECT_EQ(state.write_status(features_done), StatusAction::none);
    EXPECT_EQ(state.status(), hello);
    EXPECT_EQ(state.write_status(all_done), StatusAction::none);
    EXPECT_EQ(state.status(), hello);
    EXPECT_FALSE(state.running());
}

TEST(DeviceState, ATransitionalDeviceServesALegacyDriver) {
    DeviceState state("test", offered, true);
    state.set_driver_feature_word(0, static_cast<std::uint32_t>(feature::event_idx));
    EXPECT_EQ(state.write_status(hello | status::driver_ok), StatusAction::start);
    EXPECT_TRUE(state.running());
}

TEST(DeviceState, ALegacyDriverCannotHaveModernFeatures) {
    DeviceState state("test", offered, true);
    accept(state, feature::in_order);
    EXPECT_EQ(state.write_status(hello | status::driver_ok), StatusAction::none);
    EXPECT_FALSE(state.running());
}

TEST(DeviceState, FeaturesAreFinalAfterFeaturesOk) {
    DeviceState state = modern();
    accept(state, feature::version_1);
    ASSERT_EQ(state.write_status(features_done), StatusAction::features);
    accept(state, feature::version_1 | feature::event_idx);
    EXPECT_EQ(state.driver_features(), feature::version_1);
}

TEST(DeviceState, ADriverClearsNoBitAndSetsNoneOfTheDevice) {
    DeviceState state = modern();
    accept(state, feature::version_1);
    static_cast<void>(state.write_status(all_done));
    EXPECT_TRUE(state.running());
    EXPECT_EQ(state.write_status(status::acknowledge), StatusAction::none);
    EXPECT_EQ(state.status(), all_done);
    static_cast<void>(state.write_status(all_done | status::device_needs_reset | 0x30));
    EXPECT_EQ(state.status(), all_done);
}

TEST(DeviceState, NeedsResetStaysUntilAResetAndIsNewsOnce) {
    DeviceState state = modern();
    accept(state, feature::version_1);
    static_cast<void>(state.write_status(all_done));
    EXPECT_TRUE(state.set_needs_reset());
    EXPECT_FALSE(state.set_needs_reset());
    static_cast<void>(state.write_status(all_done));
    EXPECT_EQ(state.status(), all_done | status::device_needs_reset);
    state.reset_done();
    EXPECT_FALSE(state.needs_reset());
}

TEST(DeviceState, BeforeDriverOkNeedsResetSendsNoInterruptAndBlocksTheStart) {
    DeviceState state = modern();
    accept(state, feature::version_1);
    static_cast<void>(state.write_status(features_done));
    EXPECT_FALSE(state.set_needs_reset());
    EXPECT_EQ(state.write_status(all_done), StatusAction::none);
    EXPECT_FALSE(state.running());
}

TEST(DeviceState, ADriverThatGaveUpDoesNotStart) {
    DeviceState state = modern();
    accept(state, feature::version_1);
    static_cast<void>(state.write_status(features_done | status::failed));
    EXPECT_EQ(state.write_status(all_done | status::failed), StatusAction::none);
    EXPECT_FALSE(state.running());
}

/// Keeps the log of 65536 ill-behaved drivers out of the test's output.
class Silence : public base::LogSink {
  public:
    Silence() : before_(base::set_log_sink(this)) {}
    ~Silence() override { base::set_log_sink(before_); }
    void write(base::LogLevel, std::string_view) override {}

  private:
    base::LogSink* before_;
};

TEST(DeviceState, EverySequenceOfTwoWritesKeepsTheInvariants) {
    const Silence silence;
    for (unsigned first = 0; first < 256; ++first) {
        for (unsigned second = 0; second < 256; ++second) {
            DeviceState state = modern();
            accept(state, feature::version_1);
            unsigned starts = 0;
            for (const unsigned value : {first, second}) {
                const StatusAction action = state.write_status(static_cast<std::uint8_t>(value));
                starts += action == StatusAction::start ? 1 : 0;
                if (action == StatusAction::reset) {
                    state.reset_done();
                    starts = 0;
                }
            }
            const bool ok = (state.status() & status::driver_ok) != 0;
            ASSERT_EQ(starts, ok ? 1U : 0U);
            ASSERT_TRUE(!ok || (state.status() & status::features_ok) != 0);
        }
    }
}

TEST(DeviceState, Class13_ARestoredStateThatCannotBeNeedsAReset) {
    DeviceState good = modern();
    accept(good, feature::version_1);
    static_cast<void>(good.write_status(all_done));
    snapshot::Saver saver;
    good.visit(saver);
    snapshot::Tree tree = saver.take();
    DeviceState copy = modern();
    snapshot::Restorer restorer(tree);
    copy.visit(restorer);
    EXPECT_TRUE(copy.running());
    EXPECT_EQ(copy.driver_features(), feature::version_1);
    EXPECT_FALSE(copy.needs_reset());

    tree["driver_features"].assign(8, 0xFF);
    DeviceState bad = modern();
    snapshot::Restorer bad_restorer(tree);
    bad.visit(bad_restorer);
    EXPECT_TRUE(bad.needs_reset());
    EXPECT_EQ(bad.driver_features(), offered);
}

}  // namespace
}  // namespace cupule::virtio
