#include "runtime/console.h"

#include "runtime/acpi.h"
#include "runtime/boot_info.h"
#include "runtime/cpu.h"

namespace cupule::guest {
namespace {

constexpr std::uint16_t com1 = 0x3F8;
constexpr std::uint16_t debug_exit_port = 0xF4;
constexpr std::uint8_t transmitter_empty = 0x20;  // LSR.THRE
constexpr std::uint32_t poll_max = 1'000'000;     // a dead UART must not hang the guest

struct Count {
    std::uint32_t passed = 0;
    std::uint32_t failed = 0;
};
constinit Count count;

void put_byte(char c) {
    for (std::uint32_t i = 0; i < poll_max; ++i) {
        if ((in8(com1 + 5) & transmitter_empty) != 0) {
            break;
        }
    }
    out8(com1, static_cast<std::uint8_t>(c));
}

}  // namespace

void console_init() {
    out8(com1 + 3, 0x80);  // LCR.DLAB
    out8(com1 + 0, 1);
    out8(com1 + 1, 0);
    out8(com1 + 3, 0x03);
    out8(com1 + 1, 0);
    out8(com1 + 2, 0x07);
    out8(com1 + 4, 0x03);
}

void put(char c) {
    if (c == '\n') {
        put_byte('\r');
    }
    put_byte(c);
}

void put(const char* text) {
    while (*text != '\0') {
        put(*text++);
    }
}

void put_unsigned(std::uint64_t number) {
    char digits[21];
    char* p = digits + sizeof(digits);
    *--p = '\0';
    do {
        *--p = static_cast<char>('0' + number % 10);
        number /= 10;
    } while (number != 0);
    put(p);
}

void put(Hex number) {
    put("0x");
    int shift = 60;
    while (shift > 0 && (number.value >> shift) == 0) {
        shift -= 4;
    }
    for (; shift >= 0; shift -= 4) {
        put("0123456789abcdef"[(number.value >> shift) & 15]);
    }
}

bool is_strict() {
    return option_is("strict", "1");
}

void count_check(bool passed) {
    ++(passed ? count.passed : count.failed);
}

void finish() {
    interrupts_off();
    const bool passed = count.failed == 0;
    if (passed) {
        print("PASS ", count.passed);
    } else {
        print("FAIL ", count.failed);
    }
    out32(debug_exit_port, passed ? 0x10 : 0x11);

    constexpr std::uint16_t sleep_type_5 = 5 << 10;  // PM1_CNT.SLP_TYPx
    constexpr std::uint16_t sleep_enable = 1 << 13;  // PM1_CNT.SLP_EN
    if (const std::uint16_t pm1_control = fadt().pm1_control; pm1_control != 0) {
        out16(pm1_control, sleep_type_5 | sleep_enable);
    }
    for (;;) {
        asm volatile("cli; hlt");
    }
}

}  // namespace cupule::guest
