#include "base/log.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace cupule::base {
namespace {

class RecordingSink : public LogSink {
  public:
    void write(LogLevel /*level*/, std::string_view line) override { lines.emplace_back(line); }
    std::vector<std::string> lines;
};

TEST(GuestFault, IsLoggedOnceAndCounted) {
    RecordingSink sink;
    LogSink* before = set_log_sink(&sink);
    GuestFault fault{"uart", "unknown divisor"};
    fault.report(7);
    fault.report(8);
    set_log_sink(before);
    EXPECT_EQ(fault.count(), 2U);
    ASSERT_EQ(sink.lines.size(), 1U);
    EXPECT_NE(sink.lines[0].find("uart: guest fault: unknown divisor (value 0x7"),
              std::string::npos);
}

TEST(HostFault, IsLoggedOnceAndCounted) {
    RecordingSink sink;
    LogSink* before = set_log_sink(&sink);
    HostFault fault(LogLevel::warning);
    fault.report("{}: nothing is left", "first");
    fault.report("{}: nothing is left", "second");
    set_log_sink(before);
    EXPECT_EQ(fault.count(), 2U);
    EXPECT_EQ(sink.lines,
              std::vector<std::string>{"first: nothing is left (the same again is not logged)"});
}

TEST(Log, DropsLinesAboveTheLevel) {
    RecordingSink sink;
    LogSink* before = set_log_sink(&sink);
    log_debug("not shown {}", 1);
    log_error("shown {}", 2);
    set_log_sink(before);
    EXPECT_EQ(sink.lines, std::vector<std::string>{"shown 2"});
}

}  // namespace
}  // namespace cupule::base
