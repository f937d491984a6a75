/// From the assembly to guest_main, and the functions that a compiler takes for granted.
#include <cstddef>
#include <cstdint>

#include "runtime/acpi.h"
#include "runtime/boot_info.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/interrupts.h"

namespace cupule::guest {
namespace {
constinit std::uint16_t pm_timer_port = 0;
}

std::uint32_t pm_timer() {
    return in32(pm_timer_port) & 0xFFFFFF;
}

}  // namespace cupule::guest

extern "C" {

void guest_start(std::uint32_t magic, std::uint32_t info) {
    using namespace cupule::guest;
    console_init();
    read_boot_info(magic, info);
    interrupts_init();
    print("# ", boot_info().protocol == BootProtocol::pvh ? "pvh" : "multiboot", ": ",
          boot_info().command_line);
    check("boot_protocol_known", boot_info().protocol != BootProtocol::unknown, "magic ",
          Hex{magic});
    pm_timer_port = fadt().pm_timer;
    if (!check("acpi_fadt_names_a_pm_timer", pm_timer_port != 0, "no RSDP, FADT or PM_TMR_BLK")) {
        finish();
    }
    guest_main();
    check("no_stray_interrupts", unexpected_count() == 0, unexpected_count(), " of them, vector ",
          Hex{unexpected_vector()});
    finish();
}

void* memcpy(void* to, const void* from, std::size_t size) {
    void* result = to;
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return result;
}

void* memset(void* to, int value, std::size_t size) {
    void* result = to;
    asm volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
    return result;
}

void* memmove(void* to, const void* from, std::size_t size) {
    if (reinterpret_cast<std::uintptr_t>(to) <= reinterpret_cast<std::uintptr_t>(from)) {
        return memcpy(to, from, size);
    }
    auto* t = static_cast<std::uint8_t*>(to);
    const auto* f = static_cast<const std::uint8_t*>(from);
    while (size-- > 0) {
        t[size] = f[size];
    }
    return to;
}

int memcmp(const void* a, const void* b, std::size_t size) {
    const auto* x = static_cast<const std::uint8_t*>(a);
    const auto* y = static_cast<const std::uint8_t*>(b);
    for (std::size_t i = 0; i < size; ++i) {
        if (x[i] != y[i]) {
            return x[i] < y[i] ? -1 : 1;
        }
    }
    return 0;
}

}  // extern "C"
