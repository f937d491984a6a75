#pragma once

namespace cupule::base {

/// Prints where our own promise was broken and ends the process (SIGABRT). Stays on in release
/// builds. Never reached by guest input or by the host's state: those have answers of their own.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);

}  // namespace cupule::base

/// Checks a promise that only our own code can break.
#define CUPULE_ASSERT(condition)  \
    (static_cast<bool>(condition) \
         ? static_cast<void>(0)   \
         : ::cupule::base::assertion_failed(#condition, __FILE__, __LINE__))
