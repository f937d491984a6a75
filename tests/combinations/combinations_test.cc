// Every virtio device with every combination of ring features, both ring formats, both interfaces,
// the ways a device type can be used and its numbers of queues, also over vhost-user: whatever is
// negotiated, the same conversation has to come out.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <tuple>

#include "oracle.h"
#include "testing/thread_sanitizer.h"
#include "virtio/features.h"

namespace cupule::testing {
namespace {

namespace feature = virtio::feature;

using virtio::PciTransportModel;

struct Kind {
    const char* name;
    std::unique_ptr<Oracle> (*make)();
    bool has_legacy = true;
    bool is_served = false;
};
constexpr std::array kinds{
    Kind{.name = "balloon", .make = make_balloon_oracle},
    Kind{.name = "blk", .make = make_disk_oracle},
    Kind{.name = "console", .make = make_console_oracle},
    Kind{.name = "net", .make = make_net_oracle},
    Kind{.name = "rnd", .make = make_random_oracle},
    Kind{.name = "vsock", .make = make_socket_oracle, .has_legacy = false},
    Kind{.name = "served_blk", .make = make_served_disk_oracle, .is_served = true},
    Kind{.name = "served_net",
         .make = make_served_net_oracle,
         .has_legacy = false,
         .is_served = true},
};

/// What changes how rings work; each is there or not.
struct Switch {
    std::uint64_t feature;
    const char* name;
};
constexpr std::array switches{
    Switch{feature::ring_packed, "Packed"},
    Switch{feature::indirect_desc, "Indirect"},
    Switch{feature::event_idx, "EventIdx"},
    Switch{feature::in_order, "InOrder"},
    Switch{feature::notification_data, "NotificationData"},
};
/// These change no format: they come and go together.
constexpr std::uint64_t companions =
    feature::ring_reset | feature::access_platform | feature::notif_config_data;

using Parameters = std::tuple<Kind, unsigned>;

constexpr std::uint64_t legacy_bits = 0xFFFF'FFFF;

std::uint64_t ring_features(unsigned number) {
    std::uint64_t features = feature::version_1;
    for (std::size_t i = 0; i < switches.size(); ++i) {
        features |= (number >> i & 1) != 0 ? switches[i].feature : 0;
    }
    return features;
}

class Combinations : public ::testing::TestWithParam<Parameters> {
  protected:
    void SetUp() override {
        if (under_thread_sanitizer && kind_.is_served) {
            GTEST_SKIP() << "both ends see the rings' memory at addresses of their own";
        }
    }

    void meet(const Meeting& meeting, const Agreement& agreement, PciTransportModel model,
              std::uint64_t seed) {
        SCOPED_TRACE(::testing::Message()
                     << meeting.units << " units, features " << std::hex << agreement.features
                     << std::dec << ", ring of " << agreement.ring_size
                     << (agreement.messages ? ", MSI-X" : ", INTx") << ", transport model "
                     << static_cast<int>(model));
        VirtioPciBench bench;
        bench.plug_in(oracle_->make(meeting.units, bench), nullptr, false, model);
        if ((agreement.features & feature::version_1) != 0) {
            ASSERT_EQ(bench.offered() & oracle_->lacking(), 0U) << "the device has it now";
        }
        Guest guest(bench, seed);
        ASSERT_NO_FATAL_FAILURE(guest.start(agreement));
        oracle_->introduce(guest, meeting);
        oracle_->exchange(guest, meeting);
        if (guest.can_restart()) {
            for (std::uint16_t queue = 0; queue < agreement.queues; ++queue) {
                ASSERT_NO_FATAL_FAILURE(guest.restart(queue));
            }
            oracle_->exchange(guest, meeting);
        }
        EXPECT_EQ(guest.status(), guest.running_status());
        guest.reset();
        EXPECT_EQ(guest.status(), 0U);
    }

    const Kind kind_ = std::get<0>(GetParam());
    std::unique_ptr<Oracle> oracle_ = kind_.make();
};

TEST_P(Combinations, TheConversationComesOutTheSame) {
    const unsigned number = std::get<1>(GetParam());
    const bool packed = (ring_features(number) & feature::ring_packed) != 0;
    std::uint64_t seed = number;
    for (const Meeting& meeting : oracle_->meetings()) {
        // Small rings are full now and then, and go round; a packed one may have any size.
        for (const bool small : {false, true}) {
            const bool messages = (seed & 1) != 0;
            const std::uint64_t extra = (seed & 2) != 0 ? companions & ~oracle_->lacking() : 0;
            const bool transitional = kind_.has_legacy && (seed & 4) != 0;
            ++seed;
            const auto size =
                static_cast<std::uint16_t>(packed ? (small ? 11 : 60) : (small ? 8 : 64));
            meet(meeting,
                 {.features = meeting.features | ring_features(number) | extra,
                  .queues = meeting.queues,
                  .ring_size = size,
                  .messages = messages},
                 transitional ? PciTransportModel::transitional : PciTransportModel::modern, seed);
            if (HasFailure()) {
                return;
            }
        }
    }
}

class LegacyCombinations : public Combinations {};

TEST_P(LegacyCombinations, TheConversationComesOutTheSame) {
    const std::uint64_t ring =
        (ring_features(std::get<1>(GetParam())) & legacy_bits) | feature::any_layout;
    std::uint64_t seed = std::get<1>(GetParam());
    for (const Meeting& meeting : oracle_->meetings()) {
        if ((meeting.features & ~legacy_bits) != 0) {
            continue;
        }
        for (const auto model : {PciTransportModel::transitional, PciTransportModel::legacy}) {
            const bool messages = (seed++ & 1) != 0;
            meet(meeting,
                 {.features = meeting.features | ring,
                  .queues = meeting.queues,
                  .messages = messages},
                 model, seed);
            if (HasFailure()) {
                return;
            }
        }
        ++seed;
    }
}

std::string name_of(const ::testing::TestParamInfo<Parameters>& test) {
    const auto& [kind, number] = test.param;
    std::string name = std::string(kind.name) + "_" + ((number & 1) != 0 ? "" : "Split");
    for (std::size_t i = 0; i < switches.size(); ++i) {
        name += (number >> i & 1) != 0 ? switches[i].name : "";
    }
    return name;
}

std::vector<Kind> legacy_kinds() {
    std::vector<Kind> result;
    std::ranges::copy_if(kinds, std::back_inserter(result), &Kind::has_legacy);
    return result;
}

INSTANTIATE_TEST_SUITE_P(, Combinations,
                         ::testing::Combine(::testing::ValuesIn(kinds),
                                            ::testing::Range(0U, 1U << switches.size())),
                         name_of);

/// Those of `switches` that a legacy driver knows: the second and the third.
INSTANTIATE_TEST_SUITE_P(, LegacyCombinations,
                         ::testing::Combine(::testing::ValuesIn(legacy_kinds()),
                                            ::testing::Range(0U, 8U, 2U)),
                         name_of);

}  // namespace
}  // namespace cupule::testing
