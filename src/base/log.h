#pragma once

#include <fmt/core.h>

#include <atomic>
#include <cstdint>
#include <string_view>
#include <utility>

namespace cupule::base {

enum class LogLevel : std::uint8_t { error = 1, warning = 2, notice = 3, info = 4, debug = 5 };

/// Where log lines go. Called from any thread; must not log itself.
class LogSink {
  public:
    virtual ~LogSink() = default;
    virtual void write(LogLevel level, std::string_view line) = 0;
};

/// Replaces the sink (nullptr: standard error, the start value) and returns the one before. The new
/// sink must outlive its use. Lines are passed on where their level is at most `level`.
LogSink* set_log_sink(LogSink* sink);
void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);
void log_line(LogLevel level, std::string_view line);

template <class... Arguments>
void log(LogLevel level, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    if (log_enabled(level)) {
        log_line(level, fmt::format(format, std::forward<Arguments>(arguments)...));
    }
}

template <class... Arguments>
void log_error(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    log(LogLevel::error, format, std::forward<Arguments>(arguments)...);
}

template <class... Arguments>
void log_warning(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    log(LogLevel::warning, format, std::forward<Arguments>(arguments)...);
}

template <class... Arguments>
void log_notice(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    log(LogLevel::notice, format, std::forward<Arguments>(arguments)...);
}

template <class... Arguments>
void log_info(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    log(LogLevel::info, format, std::forward<Arguments>(arguments)...);
}

template <class... Arguments>
void log_debug(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    log(LogLevel::debug, format, std::forward<Arguments>(arguments)...);
}

/// Says a thing a guest does wrong once per kind, so that a guest cannot fill the host's log:
///     GuestFault bad_index_{"virtio-blk", "descriptor index past the table"};
///     bad_index_.report(index);
class GuestFault {
  public:
    constexpr GuestFault(const char* device, const char* what) : device_(device), what_(what) {}

    /// Counts one; logs the first with the guest's value.
    void report(std::uint64_t value);
    std::uint64_t count() const { return count_.load(std::memory_order_relaxed); }

  private:
    const char* device_;
    const char* what_;
    std::atomic<std::uint64_t> count_{0};
};

/// Says once per kind what the host fails at when a guest asks for it, which the guest can do again
/// and again:
///     HostFault not_reset_;
///     not_reset_.report("{}: it cannot be reset", name);
class HostFault {
  public:
    constexpr explicit HostFault(LogLevel level = LogLevel::error) : level_(level) {}

    /// Counts one; logs the first.
    template <class... Arguments>
    void report(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
        if (count_.fetch_add(1, std::memory_order_relaxed) == 0) {
            log(level_, "{} (the same again is not logged)",
                fmt::format(format, std::forward<Arguments>(arguments)...));
        }
    }
    std::uint64_t count() const { return count_.load(std::memory_order_relaxed); }

  private:
    const LogLevel level_;
    std::atomic<std::uint64_t> count_{0};
};

}  // namespace cupule::base
