/// COM1, polled, and the protocol with the host on it:
///
///     ok NAME / not ok NAME: DETAIL / skip NAME: WHY      one line per check
///     # TEXT                                              remarks
///     PASS n / FAIL n                                     last line: checks passed / failed
///
/// Used by one processor at a time.
#pragma once

#include <concepts>
#include <cstdint>

namespace cupule::guest {

/// A number to be printed as 0x....
struct Hex {
    std::uint64_t value = 0;
};

/// 115200 8N1, FIFO on, interrupts off, OUT2 off.
void console_init();

void put(char c);
void put(const char* text);
void put(Hex number);
void put_unsigned(std::uint64_t number);

template <std::integral T>
requires(!std::same_as<T, char>) void put(T number) {
    if constexpr (std::signed_integral<T>) {
        if (number < 0) {
            put('-');
            put_unsigned(0 - static_cast<std::uint64_t>(number));
            return;
        }
    }
    put_unsigned(static_cast<std::uint64_t>(number));
}

template <typename... Parts>
void print(Parts... parts) {
    (put(parts), ...);
    put("\n");
}

/// Counts a check; the caller prints.
void count_check(bool passed);

/// One check: prints its line, with `detail` only when it failed. Gives `passed` back.
template <typename... Detail>
bool check(const char* name, bool passed, Detail... detail) {
    count_check(passed);
    if (passed) {
        print("ok ", name);
    } else {
        print("not ok ", name, ": ", detail...);
    }
    return passed;
}

/// Whether the command line has strict=1.
[[nodiscard]] bool is_strict();

/// A check that only counts with strict=1: behaviour of the part that other VMMs leave out.
template <typename... Detail>
bool check_strict(const char* name, bool passed, Detail... detail) {
    if (passed || is_strict()) {
        return check(name, passed, detail...);
    }
    print("skip ", name, ": ", detail..., " (fails with strict=1)");
    return false;
}

/// A check that this machine cannot do.
template <typename... Why>
void skip(const char* name, Why... why) {
    print("skip ", name, ": ", why...);
}

/// Prints PASS or FAIL and ends the virtual machine: debug exit, else ACPI S5, else halt.
[[noreturn]] void finish();

/// What the image is about; every guest defines it. `finish` follows.
void guest_main();

}  // namespace cupule::guest
