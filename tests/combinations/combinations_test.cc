// Every virtio device with every combination of ring features, both ring formats, the ways a device
// type can be used and its numbers of queues: whatever is negotiated, the same conversation has to
// come out.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <tuple>

#include "oracle.h"
#include "virtio/features.h"

namespace cupule::testing {
namespace {

namespace feature = virtio::feature;

struct Kind {
    const char* name;
    std::unique_ptr<Oracle> (*make)();
};
constexpr std::array kinds{
    Kind{"balloon", make_balloon_oracle}, Kind{"blk", make_disk_oracle},
    Kind{"console", make_console_oracle}, Kind{"net", make_net_oracle},
    Kind{"rnd", make_random_oracle},      Kind{"vsock", make_socket_oracle},
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

std::uint64_t ring_features(unsigned number) {
    std::uint64_t features = feature::version_1;
    for (std::size_t i = 0; i < switches.size(); ++i) {
        features |= (number >> i & 1) != 0 ? switches[i].feature : 0;
    }
    return features;
}

class Combinations : public ::testing::TestWithParam<Parameters> {
  protected:
    void meet(const Meeting& meeting, const Agreement& agreement, std::uint64_t seed) {
        VirtioPciBench bench;
        bench.plug_in(oracle_->make(meeting.units, *bench.memory));
        ASSERT_EQ(agreement.features & ~bench.offered(), 0U) << "the device does not offer it";
        Guest guest(bench, seed);
        ASSERT_NO_FATAL_FAILURE(guest.start(agreement));
        oracle_->introduce(guest, meeting);
        oracle_->exchange(guest, meeting);
        if (guest.agreed(feature::ring_reset)) {
            for (std::uint16_t queue = 0; queue < agreement.queues; ++queue) {
                ASSERT_NO_FATAL_FAILURE(guest.restart(queue));
            }
            oracle_->exchange(guest, meeting);
        }
        EXPECT_EQ(bench.status(), 0x0F);
        bench.set_status(0);
        EXPECT_EQ(bench.status(), 0U);
    }

    std::unique_ptr<Oracle> oracle_ = std::get<0>(GetParam()).make();
};

TEST_P(Combinations, TheConversationComesOutTheSame) {
    const unsigned number = std::get<1>(GetParam());
    const bool packed = (ring_features(number) & feature::ring_packed) != 0;
    std::uint64_t seed = number;
    for (const Meeting& meeting : oracle_->meetings()) {
        // Small rings are full now and then, and go round; a packed one may have any size.
        for (const bool small : {false, true}) {
            const bool messages = (seed & 1) != 0;
            const std::uint64_t extra = (seed & 2) != 0 ? companions : 0;
            ++seed;
            const auto size =
                static_cast<std::uint16_t>(packed ? (small ? 11 : 60) : (small ? 8 : 64));
            SCOPED_TRACE(::testing::Message()
                         << meeting.units << " units, device features " << std::hex
                         << meeting.features << ", ring features "
                         << (ring_features(number) | extra) << std::dec << ", ring of " << size
                         << (messages ? ", MSI-X" : ", INTx"));
            meet(meeting,
                 {.features = meeting.features | ring_features(number) | extra,
                  .queues = meeting.queues,
                  .ring_size = size,
                  .messages = messages},
                 seed);
            if (HasFailure()) {
                return;
            }
        }
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

INSTANTIATE_TEST_SUITE_P(, Combinations,
                         ::testing::Combine(::testing::ValuesIn(kinds),
                                            ::testing::Range(0U, 1U << switches.size())),
                         name_of);

}  // namespace
}  // namespace cupule::testing
