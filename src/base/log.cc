#include "base/log.h"

#include <unistd.h>

#include <string>

namespace cupule::base {
namespace {

// The one piece of process-wide state: where diagnostics go. Constant-initialised.
constinit std::atomic<LogSink*> log_sink{nullptr};
constinit std::atomic<LogLevel> log_level_max{LogLevel::notice};

}  // namespace

LogSink* set_log_sink(LogSink* sink) {
    return log_sink.exchange(sink);
}

void set_log_level(LogLevel level) {
    log_level_max.store(level);
}

bool log_enabled(LogLevel level) {
    return level <= log_level_max.load(std::memory_order_relaxed);
}

void log_line(LogLevel level, std::string_view line) {
    if (LogSink* sink = log_sink.load()) {
        sink->write(level, line);
        return;
    }
    const std::string text = fmt::format("cupule: {}\n", line);
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

void GuestFault::report(std::uint64_t value) {
    if (count_.fetch_add(1, std::memory_order_relaxed) == 0) {
        log_warning("{}: guest fault: {} (value {:#x}; further ones are counted, not logged)",
                    device_, what_, value);
    }
}

}  // namespace cupule::base
