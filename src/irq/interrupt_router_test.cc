#include "irq/interrupt_router.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "irq/gsi_allocator.h"

namespace cupule::irq {
namespace {

class RecordingController : public InterruptController {
  public:
    void set_gsi_level(Gsi gsi, bool asserted) override {
        levels.emplace_back(gsi.value, asserted);
    }
    void send(const MsiMessage& /*message*/) override {}
    unsigned gsi_count() const override { return 24; }
    std::vector<std::pair<std::uint32_t, bool>> levels;
};

using Levels = std::vector<std::pair<std::uint32_t, bool>>;

TEST(InterruptRouter, ASharedGsiIsAssertedWhileAnyOfItsLinesIs) {
    RecordingController controller;
    InterruptRouter router(controller);
    const auto a = router.make_level_line({16});
    const auto b = router.make_level_line({16});
    a->set_level(true);
    a->set_level(true);
    b->set_level(true);
    a->set_level(false);
    EXPECT_EQ(controller.levels, (Levels{{16, true}}));
    b->set_level(false);
    EXPECT_EQ(controller.levels, (Levels{{16, true}, {16, false}}));
}

TEST(InterruptRouter, ALineThatGoesAwayFalls) {
    RecordingController controller;
    InterruptRouter router(controller);
    auto line = router.make_level_line({9});
    line->set_level(true);
    line.reset();
    EXPECT_EQ(controller.levels, (Levels{{9, true}, {9, false}}));
}

TEST(InterruptRouter, APulseRaisesAndLowers) {
    RecordingController controller;
    InterruptRouter router(controller);
    router.make_edge_line({4})->pulse();
    EXPECT_EQ(controller.levels, (Levels{{4, true}, {4, false}}));
}

TEST(GsiAllocator, SharesTheLeastUsedWhenAllAreTaken) {
    GsiAllocator allocator({16}, {18});
    EXPECT_EQ(allocator.allocate(), Gsi{16});
    EXPECT_EQ(allocator.allocate(), Gsi{17});
    EXPECT_EQ(allocator.allocate(), Gsi{18});
    EXPECT_EQ(allocator.allocate(), Gsi{16});
    EXPECT_EQ(allocator.users({16}), 2U);
}

}  // namespace
}  // namespace cupule::irq
