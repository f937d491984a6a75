#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "event/mutex.h"

namespace cupule::testing {

/// Takes the log's lines while it lives. Any thread.
class RecordingLog : public base::LogSink {
  public:
    RecordingLog() : before_(base::set_log_sink(this)) {}
    ~RecordingLog() override { base::set_log_sink(before_); }
    RecordingLog(const RecordingLog&) = delete;
    RecordingLog& operator=(const RecordingLog&) = delete;

    void write(base::LogLevel /*level*/, std::string_view line) override CUPULE_EXCLUDES(mutex_) {
        event::MutexLock lock(mutex_);
        lines_.emplace_back(line);
    }
    std::vector<std::string> lines() const CUPULE_EXCLUDES(mutex_) {
        event::MutexLock lock(mutex_);
        return lines_;
    }
    /// How many of them have `text` in them.
    std::size_t count(std::string_view text) const CUPULE_EXCLUDES(mutex_) {
        event::MutexLock lock(mutex_);
        return static_cast<std::size_t>(std::ranges::count_if(
            lines_, [text](const std::string& line) { return line.contains(text); }));
    }
    /// All of them, for a test's message.
    std::string text() const CUPULE_EXCLUDES(mutex_) {
        std::string all;
        for (const std::string& line : lines()) {
            all += line + "\n";
        }
        return all;
    }

  private:
    base::LogSink* before_;
    mutable event::Mutex mutex_;
    std::vector<std::string> lines_ CUPULE_GUARDED_BY(mutex_);
};

}  // namespace cupule::testing
