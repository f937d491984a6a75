/// Instructions that C++ has no words for.
///
/// Document: Intel SDM volumes 2 and 3A (325383, 325384).
#pragma once

#include <cstddef>
#include <cstdint>

namespace cupule::guest {

template <typename T>
[[nodiscard]] inline T in(std::uint16_t port) {
    T value;
    if constexpr (sizeof(T) == 1) {
        asm volatile("inb %w1, %b0" : "=a"(value) : "Nd"(port));
    } else if constexpr (sizeof(T) == 2) {
        asm volatile("inw %w1, %w0" : "=a"(value) : "Nd"(port));
    } else {
        asm volatile("inl %w1, %k0" : "=a"(value) : "Nd"(port));
    }
    return value;
}

template <typename T>
inline void out(std::uint16_t port, T value) {
    if constexpr (sizeof(T) == 1) {
        asm volatile("outb %b0, %w1" : : "a"(value), "Nd"(port) : "memory");
    } else if constexpr (sizeof(T) == 2) {
        asm volatile("outw %w0, %w1" : : "a"(value), "Nd"(port) : "memory");
    } else {
        asm volatile("outl %k0, %w1" : : "a"(value), "Nd"(port) : "memory");
    }
}

[[nodiscard]] inline std::uint8_t in8(std::uint16_t port) {
    return in<std::uint8_t>(port);
}
[[nodiscard]] inline std::uint16_t in16(std::uint16_t port) {
    return in<std::uint16_t>(port);
}
[[nodiscard]] inline std::uint32_t in32(std::uint16_t port) {
    return in<std::uint32_t>(port);
}
inline void out8(std::uint16_t port, std::uint8_t value) {
    out(port, value);
}
inline void out16(std::uint16_t port, std::uint16_t value) {
    out(port, value);
}
inline void out32(std::uint16_t port, std::uint32_t value) {
    out(port, value);
}

/// One access of exactly sizeof(T) to a physical address below 4 GiB, which is mapped one to one.
template <typename T>
[[nodiscard]] inline T mmio_read(std::uint64_t address) {
    T value;
    asm volatile("mov %1, %0" : "=r"(value) : "m"(*reinterpret_cast<const volatile T*>(address)));
    return value;
}
template <>
[[nodiscard]] inline std::uint8_t mmio_read(std::uint64_t address) {
    std::uint8_t value;
    asm volatile("movb %1, %0"
                 : "=q"(value)
                 : "m"(*reinterpret_cast<const volatile std::uint8_t*>(address)));
    return value;
}

template <typename T>
inline void mmio_write(std::uint64_t address, T value) {
    asm volatile("mov %1, %0"
                 : "=m"(*reinterpret_cast<volatile T*>(address))
                 : "r"(value)
                 : "memory");
}

[[nodiscard]] inline std::uint64_t read_tsc() {
    std::uint32_t low;
    std::uint32_t high;
    asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (std::uint64_t{high} << 32) | low;
}

[[nodiscard]] inline std::uint64_t read_msr(std::uint32_t index) {
    std::uint32_t low;
    std::uint32_t high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return (std::uint64_t{high} << 32) | low;
}

inline void write_msr(std::uint32_t index, std::uint64_t value) {
    asm volatile("wrmsr"
                 :
                 : "c"(index), "a"(static_cast<std::uint32_t>(value)),
                   "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
}

struct CpuidResult {
    std::uint32_t eax = 0;
    std::uint32_t ebx = 0;
    std::uint32_t ecx = 0;
    std::uint32_t edx = 0;
};

[[nodiscard]] inline CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
    CpuidResult r;
    asm volatile("cpuid"
                 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                 : "a"(leaf), "c"(subleaf));
    return r;
}

inline void interrupts_on() {
    asm volatile("sti; nop" : : : "memory");
}
inline void interrupts_off() {
    asm volatile("cli" : : : "memory");
}
inline void pause() {
    asm volatile("pause" : : : "memory");
}
/// Sleeps until an interrupt; the two instructions leave no gap for one to get lost in.
inline void sleep_interruptible() {
    asm volatile("sti; hlt" : : : "memory");
}

/// Bytes in memory that belong to somebody else (tables, info blocks), at any alignment.
template <typename T>
[[nodiscard]] inline T load(std::uint64_t address) {
    T value;
    __builtin_memcpy(&value, reinterpret_cast<const void*>(address), sizeof(T));
    return value;
}

}  // namespace cupule::guest
