#include "io/address_space.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace cupule::io {
namespace {

class Constant : public IoHandler {
  public:
    explicit Constant(std::uint64_t value) : value_(value) {}
    std::uint64_t read(std::uint64_t offset, unsigned /*size*/) override { return value_ + offset; }
    void write(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t /*value*/) override {}

  private:
    std::uint64_t value_;
};

class AddressSpaceTest : public testing::Test {
  protected:
    IoRange range(std::uint64_t base, std::uint64_t size, std::string name) {
        return {
            .base = base, .size = size, .handler = &handler_, .monitor = &monitor_, .name = name};
    }

    event::Monitor monitor_;
    Constant handler_{0};
    AddressSpace space_{"port", 0xFFFF, 2};
};

TEST_F(AddressSpaceTest, RefusesOverlappingFixedRangesNamingBoth) {
    ASSERT_TRUE(space_.map_fixed(range(0x60, 8, "i8042")).has_value());
    const auto second = space_.map_fixed(range(0x67, 1, "pit"));
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().message, "port: 'pit' at 0x67-0x67 overlaps 'i8042' at 0x60-0x67");
    EXPECT_FALSE(space_.map_fixed(range(0xFFFF, 2, "wide")).has_value());
    EXPECT_FALSE(space_.map_fixed(range(0x10, 0, "empty")).has_value());
}

TEST_F(AddressSpaceTest, FixedRangesHidePartsOfMovableOnes) {
    const auto bar = space_.map_movable(range(0x1000, 0x100, "bar"));
    ASSERT_TRUE(bar.has_value());
    const auto fixed = space_.map_fixed(range(0x1010, 0x10, "fixed"));
    ASSERT_TRUE(fixed.has_value());
    EXPECT_EQ(space_.describe(),
              (std::vector<std::string>{"1000-100f bar", "1010-101f fixed", "1020-10ff bar"}));
    space_.unmap(*fixed);
    EXPECT_EQ(space_.describe(), std::vector<std::string>{"1000-10ff bar"});
}

TEST_F(AddressSpaceTest, OfTwoMovableRangesTheFirstWinsAndTheOtherAppearsLater) {
    const auto first = space_.map_movable(range(0x2000, 0x100, "first"));
    ASSERT_TRUE(space_.map_movable(range(0x1F80, 0x200, "second")).has_value());
    EXPECT_EQ(space_.describe(), (std::vector<std::string>{"1f80-1fff second", "2000-20ff first",
                                                           "2100-217f second"}));
    space_.unmap(*first);
    EXPECT_EQ(space_.describe(), std::vector<std::string>{"1f80-217f second"});
}

TEST_F(AddressSpaceTest, FindsOnlyAccessesThatFitWholly) {
    ASSERT_TRUE(space_.map_fixed(range(0x100, 4, "part")).has_value());
    const AddressSpace::Lookup lookup = space_.lookup(0);
    EXPECT_EQ(lookup.find(0xFF, 1), nullptr);
    EXPECT_NE(lookup.find(0x100, 4), nullptr);
    EXPECT_EQ(lookup.find(0x101, 4), nullptr);
    EXPECT_EQ(lookup.find(0x104, 1), nullptr);
}

TEST_F(AddressSpaceTest, MapsTheLastAddressOfTheSpace) {
    AddressSpace memory("memory", ~std::uint64_t{0}, 1);
    IoRange top = range(~std::uint64_t{0} - 0xFFF, 0x1000, "top");
    ASSERT_TRUE(memory.map_fixed(top).has_value());
    ASSERT_TRUE(memory.map_movable(range(0, ~std::uint64_t{0}, "all")).has_value());
    const AddressSpace::Lookup lookup = memory.lookup(0);
    EXPECT_EQ(*lookup.find(~std::uint64_t{0}, 1)->name, "top");
    EXPECT_EQ(*lookup.find(0, 8)->name, "all");
}

TEST_F(AddressSpaceTest, ReadersSeeWholeTablesWhileARangeMoves) {
    std::atomic<bool> done{false};
    std::atomic<std::uint64_t> found{0};
    std::thread reader([&] {
        while (!done.load()) {
            const AddressSpace::Lookup lookup = space_.lookup(1);
            for (const std::uint64_t address : {0x4000U, 0x5000U}) {
                if (const auto* visible = lookup.find(address, 4)) {
                    EXPECT_EQ(visible->handler, &handler_);
                    EXPECT_EQ(*visible->name, "moving");
                    found.fetch_add(1);
                }
            }
        }
    });
    for (int i = 0; i < 2000; ++i) {
        const auto id = space_.map_movable(range(i % 2 == 0 ? 0x4000 : 0x5000, 0x100, "moving"));
        space_.unmap(*id);
    }
    const auto last = space_.map_movable(range(0x4000, 0x100, "moving"));
    ASSERT_TRUE(last.has_value());
    while (found.load() == 0) {
        std::this_thread::yield();
    }
    done.store(true);
    reader.join();
}

}  // namespace
}  // namespace cupule::io
