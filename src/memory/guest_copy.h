#pragma once

#include <atomic>
#include <cstddef>
#include <cstring>
#include <span>

// Copies between the host and memory that a guest changes at the same time. This is the one place
// that knows about that race: the caller's own side is a private copy that no later write of the
// guest can change, and nothing is decided before the copy is complete.

#if defined(__SANITIZE_THREAD__)
#define CUPULE_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CUPULE_THREAD_SANITIZER 1
#endif
#endif

namespace cupule::memory {

#if defined(CUPULE_THREAD_SANITIZER)

// ThreadSanitizer sees memcpy as plain accesses and would report the race that is meant to be
// there; byte-wise relaxed atomics have the same meaning and are allowed to race.
inline void copy_from_guest(std::span<std::byte> to, std::byte* from) {
    for (std::size_t i = 0; i < to.size(); ++i) {
        to[i] = std::atomic_ref(from[i]).load(std::memory_order_relaxed);
    }
}

inline void copy_to_guest(std::byte* to, std::span<const std::byte> from) {
    for (std::size_t i = 0; i < from.size(); ++i) {
        std::atomic_ref(to[i]).store(from[i], std::memory_order_relaxed);
    }
}

inline void fill_guest(std::span<std::byte> to, std::byte value) {
    for (std::byte& byte : to) {
        std::atomic_ref(byte).store(value, std::memory_order_relaxed);
    }
}

#else

/// Copies to.size() bytes out of guest memory. The barrier keeps the compiler from going back to
/// the guest's bytes instead of the copy.
inline void copy_from_guest(std::span<std::byte> to, std::byte* from) {
    std::memcpy(to.data(), from, to.size());
    asm volatile("" : : "r"(to.data()) : "memory");
}

/// Copies from.size() bytes into guest memory.
inline void copy_to_guest(std::byte* to, std::span<const std::byte> from) {
    std::memcpy(to, from.data(), from.size());
}

inline void fill_guest(std::span<std::byte> to, std::byte value) {
    std::memset(to.data(), static_cast<int>(value), to.size());
}

#endif

}  // namespace cupule::memory
