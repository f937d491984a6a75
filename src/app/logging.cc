#include "app/logging.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include "app/option_values.h"

namespace cupule::app {
namespace {

using base::LogLevel;
using base::Result;

/// One write, so that lines of several threads do not mix.
void write_line(int fd, std::string_view text) {
    [[maybe_unused]] const ssize_t written = ::write(fd, text.data(), text.size());
}

/// "[2026-11-22 10:28:17][   12.345678] ", UTC and seconds since the host started.
std::string line_header(const event::Clock& clock) {
    constexpr std::int64_t ns_per_s = 1'000'000'000;
    const std::time_t seconds = clock.wall_ns() / ns_per_s;
    std::tm date{};
    ::gmtime_r(&seconds, &date);
    const std::uint64_t uptime_us = clock.now_ns() / 1000;
    return fmt::format("[{:04}-{:02}-{:02} {:02}:{:02}:{:02}][{:5}.{:06}] ", date.tm_year + 1900,
                       date.tm_mon + 1, date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec,
                       uptime_us / 1'000'000, uptime_us % 1'000'000);
}

/// The highest N of the files PREFIXN in a directory, 0 without any.
std::uint32_t last_number(const std::string& directory, std::string_view prefix) {
    std::uint32_t last = 0;
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(directory.c_str()), ::closedir);
    if (!entries) {
        return last;
    }
    while (const dirent* entry = ::readdir(entries.get())) {
        const std::string_view name(&entry->d_name[0]);
        if (!name.starts_with(prefix)) {
            continue;
        }
        const auto number = parse_number(name.substr(prefix.size()), 0, 0x7FFFFFFF);
        last = number ? std::max(last, static_cast<std::uint32_t>(*number)) : last;
    }
    return last;
}

}  // namespace

std::string_view level_name(LogLevel level) {
    constexpr std::array<std::string_view, 5> names{"error", "warning", "notice", "info", "debug"};
    return names.at(static_cast<std::size_t>(level) - 1);
}

Result<DiskLog> DiskLog::open(const std::string& directory, const std::string& vm_name) {
    if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
        return base::fail_errno(errno, "cannot make the log directory '{}'", directory);
    }
    const std::string prefix = vm_name + "_log_";
    DiskLog log(directory + "/" + prefix, last_number(directory, prefix));
    CUPULE_TRY(log.open_file());
    return log;
}

std::string DiskLog::path(std::uint32_t number) const {
    return fmt::format("{}{}", stem_, number);
}

Result<void> DiskLog::open_file() {
    CUPULE_TRY_ASSIGN(file_, base::open_file(path(number_), O_WRONLY | O_APPEND | O_CREAT, 0640));
    struct stat status {};
    size_ = ::fstat(file_.get(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
    return {};
}

void DiskLog::write(std::string_view line) {
    if (size_ > 0 && size_ + line.size() > file_size_max) {
        ++number_;
        if (!open_file()) {
            --number_;
            return;
        }
        if (number_ >= file_count_max) {
            ::unlink(path(number_ - file_count_max).c_str());
        }
    }
    const ssize_t written = ::write(file_.get(), line.data(), line.size());
    size_ += written > 0 ? static_cast<std::uint64_t>(written) : 0;
}

Logger::Logger(const LoggerOptions& options, int console_fd, const event::Clock& clock)
    : options_(options),
      console_fd_(console_fd),
      console_line_end_(::isatty(console_fd) == 1 ? "\r\n" : "\n"),
      clock_(clock) {}

Result<std::unique_ptr<Logger>> Logger::create(const LoggerOptions& options,
                                               const std::string& vm_name, const LoggerPaths& paths,
                                               const event::Clock& clock) {
    std::unique_ptr<Logger> logger(new Logger(options, paths.console_fd, clock));
    if (options.kmsg) {
        CUPULE_TRY_ASSIGN(logger->kmsg_, base::open_file(paths.kmsg, O_WRONLY));
    }
    if (options.disk) {
        CUPULE_TRY_ASSIGN(DiskLog disk, DiskLog::open(paths.directory, vm_name));
        const event::MutexLock lock(logger->mutex_);
        logger->disk_ = std::move(disk);
    }
    return logger;
}

LogLevel Logger::level() const {
    return std::max({options_.console.value_or(LogLevel::error),
                     options_.kmsg.value_or(LogLevel::error),
                     options_.disk.value_or(LogLevel::error)});
}

void Logger::write_console(LogLevel level, std::string_view line) const {
    const std::string text =
        level == LogLevel::error
            ? fmt::format("cupule: {}{}", line, console_line_end_)
            : fmt::format("cupule: {}: {}{}", level_name(level), line, console_line_end_);
    write_line(console_fd_, text);
}

void Logger::write(LogLevel level, std::string_view line) {
    if (options_.console && level <= *options_.console) {
        write_console(level, line);
    }
    if (options_.kmsg && level <= *options_.kmsg) {
        // syslog(2)'s priorities: error 3, warning 4, notice 5, info 6, debug 7.
        write_line(kmsg_.get(),
                   fmt::format("<{}>acrn_dm: {}\n", static_cast<int>(level) + 2, line));
    }
    if (options_.disk && level <= *options_.disk) {
        const std::string text =
            fmt::format("{}{}: {}\n", line_header(clock_), level_name(level), line);
        const event::MutexLock lock(mutex_);
        if (disk_) {
            disk_->write(text);
        }
    }
}

}  // namespace cupule::app
