#include "machine/net_parts.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

namespace cupule::machine {
namespace {

/// The names of this process's threads that begin with "net ".
std::multiset<std::string> net_threads() {
    std::multiset<std::string> names;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        std::string name;
        std::getline(std::ifstream(task.path() / "comm"), name);
        if (name.starts_with("net ")) {
            names.insert(name);
        }
    }
    return names;
}

/// A loopback plug with as many pairs as asked for.
base::Result<NetParts> make(std::uint16_t queues, backend::WorkerCpus workers) {
    const backend::NetOptions options{
        .kind = backend::NetKind::loop, .queues = queues, .workers = std::move(workers)};
    return NetParts::make(options, {2, 0, 0, 0, 0, 1}, "4:0", 0);
}

TEST(NetParts, APairHasAThreadOfItsOwnUnlessTheUserNamesANumber) {
    {
        const auto parts = make(3, {});
        ASSERT_TRUE(parts) << parts.error().message;
        EXPECT_EQ(net_threads(),
                  (std::multiset<std::string>{"net 4:0 q0", "net 4:0 q1", "net 4:0 q2"}));
        EXPECT_EQ(parts->device->queues().size(), 7U);
    }
    {
        const auto parts = make(3, {{}, {}});
        ASSERT_TRUE(parts) << parts.error().message;
        EXPECT_EQ(net_threads(), (std::multiset<std::string>{"net 4:0 q0", "net 4:0 q1"}));
        EXPECT_EQ(parts->device->queues().size(), 7U);
        EXPECT_EQ(parts->device->report().size() / 2, 3U);
    }
    EXPECT_TRUE(net_threads().empty());
}

TEST(NetParts, AThreadIsPinnedWhereTheUserSaysAndAProcessorThereIsNotIsAnError) {
    EXPECT_TRUE(make(1, {{0}}));
    const auto refused = make(1, {{4000}});
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("CPU 4000"), std::string::npos);
}

}  // namespace
}  // namespace cupule::machine
