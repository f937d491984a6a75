#pragma once

namespace cupule::testing {

/// Whether ThreadSanitizer watches this program, for tests of what it cannot follow.
#ifdef __has_feature
inline constexpr bool under_thread_sanitizer = __has_feature(thread_sanitizer);
#else
inline constexpr bool under_thread_sanitizer = false;
#endif

}  // namespace cupule::testing
