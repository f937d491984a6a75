#include "snapshot/snapshot.h"

#include <gtest/gtest.h>

namespace cupule::snapshot {
namespace {

enum class Mode : std::uint8_t { idle, armed };

struct Part {
    std::uint16_t count = 3;
    bool enabled = true;
    Mode mode = Mode::armed;
    std::array<std::uint8_t, 2> ram{1, 2};

    void visit(Visitor& visitor) {
        visitor.begin("part");
        visitor.field("count", count);
        visitor.field("enabled", enabled);
        visitor.field("mode", mode);
        visitor.field("ram", ram);
        visitor.end();
    }
};

TEST(Snapshot, RestoringWhatWasSavedGivesTheSameTree) {
    Part original;
    original.count = 0x1234;
    Saver saver;
    original.visit(saver);
    const Tree tree = saver.take();
    EXPECT_EQ(to_text(tree),
              "part/count = 0x1234\npart/enabled = 0x01\npart/mode = 0x01\npart/ram = 0x0201\n");

    Part copy;
    Restorer restorer(tree);
    copy.visit(restorer);
    EXPECT_TRUE(restorer.problems().empty());
    Saver again;
    copy.visit(again);
    EXPECT_EQ(again.take(), tree);
}

TEST(Snapshot, MissingAndMisSizedFieldsAreNamedAndKept) {
    const Tree tree{{"part/count", {1}}, {"part/enabled", {0}}, {"part/ram", {9, 9}}};
    Part part;
    Restorer restorer(tree);
    part.visit(restorer);
    EXPECT_EQ(part.count, 3);
    EXPECT_FALSE(part.enabled);
    EXPECT_EQ(restorer.problems(),
              (std::vector<std::string>{"part/count has 1 bytes, the device has 2",
                                        "part/mode is missing"}));
}

}  // namespace
}  // namespace cupule::snapshot
