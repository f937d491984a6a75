#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "app/vm_options.h"
#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/log.h"
#include "event/clock.h"
#include "event/mutex.h"

namespace cupule::app {

/// Log files NAME_log_0, NAME_log_1, ... of at most `file_size_max` bytes each, of which the last
/// `file_count_max` are kept; a new run goes on in the last one. Not for several threads at once.
class DiskLog {
  public:
    static constexpr std::uint64_t file_size_max = std::uint64_t{2} << 20;
    static constexpr std::uint32_t file_count_max = 8;

    /// Makes the directory where it is missing. Errors name the path.
    static base::Result<DiskLog> open(const std::string& directory, const std::string& vm_name);

    /// Appends a whole line. What the disk does not take is lost.
    void write(std::string_view line);

  private:
    DiskLog(std::string stem, std::uint32_t number) : stem_(std::move(stem)), number_(number) {}
    base::Result<void> open_file();
    std::string path(std::uint32_t number) const;

    /// "/var/log/acrn-dm/NAME_log_"
    std::string stem_;
    std::uint32_t number_;
    base::FileDescriptor file_;
    std::uint64_t size_ = 0;
};

/// Where a Logger writes; tests give files of their own.
struct LoggerPaths {
    std::string kmsg = "/dev/kmsg";
    std::string directory = "/var/log/acrn-dm";
    /// Standard error.
    int console_fd = 2;
};

/// `--logger_setting`: passes each line to those of console, kernel log and disk whose level it
/// has. Any thread. Main hands it to base::set_log_sink, with set_log_level(level()).
class Logger : public base::LogSink {
  public:
    static base::Result<std::unique_ptr<Logger>> create(const LoggerOptions& options,
                                                        const std::string& vm_name,
                                                        const LoggerPaths& paths,
                                                        const event::Clock& clock);

    void write(base::LogLevel level, std::string_view line) override CUPULE_EXCLUDES(mutex_);
    /// The highest level that any place wants.
    base::LogLevel level() const;

  private:
    Logger(const LoggerOptions& options, int console_fd, const event::Clock& clock);
    void write_console(base::LogLevel level, std::string_view line) const;

    const LoggerOptions options_;
    const int console_fd_;
    /// A terminal in raw mode needs a carriage return.
    const std::string_view console_line_end_;
    const event::Clock& clock_;
    base::FileDescriptor kmsg_;
    /// Keeps the disk's lines whole and its files in order. A leaf lock.
    event::Mutex mutex_;
    std::optional<DiskLog> disk_ CUPULE_GUARDED_BY(mutex_);
};

/// "error", "warning", "notice", "info", "debug".
std::string_view level_name(base::LogLevel level);

}  // namespace cupule::app
