/// The IDT, and counting of interrupts per vector.
#pragma once

#include <cstdint>

namespace cupule::guest {

/// Registers at an interrupt, as interrupt_entry.S pushes them.
struct Frame {
    std::uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    std::uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

enum class EndOfInterrupt : std::uint8_t { none, local_apic, pic };

using Handler = void (*)(Frame&);

/// Sets the IDT up; afterwards an unexpected exception ends the guest with a failed check.
void interrupts_init();

/// Loads the IDT on this processor (APs call it).
void interrupts_load();

/// From now on `vector` is counted, given to `handler` if there is one, and then ended.
void expect(std::uint8_t vector, EndOfInterrupt end, Handler handler = nullptr);

/// Interrupts taken on `vector`, by all processors, since `expect`.
[[nodiscard]] std::uint32_t interrupt_count(std::uint8_t vector);

/// Interrupts on vectors from 32 up that nobody expected.
[[nodiscard]] std::uint32_t unexpected_count();
[[nodiscard]] std::uint8_t unexpected_vector();

}  // namespace cupule::guest
