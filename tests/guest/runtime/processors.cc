#include "runtime/processors.h"

#include "runtime/apic.h"
#include "runtime/clock.h"
#include "runtime/interrupts.h"

extern "C" {
extern const std::uint8_t trampoline_begin[];
extern const std::uint8_t trampoline_end[];
void ap_start_cpp(std::uint32_t start_index);
}

namespace cupule::guest {
namespace {

constexpr std::uint64_t trampoline_address = 0x8000;
constinit ApMain ap_main = nullptr;

}  // namespace

void prepare_processors(ApMain main) {
    ap_main = main;
    for (std::uint64_t i = 0; trampoline_begin + i < trampoline_end; ++i) {
        mmio_write<std::uint8_t>(trampoline_address + i, trampoline_begin[i]);
    }
}

bool start_processor(std::uint32_t apic_id, bool (*started)(std::uint32_t apic_id)) {
    constexpr std::uint32_t startup = ipi_startup | ipi_assert | (trampoline_address >> 12);
    send_ipi(apic_id, ipi_init | ipi_assert);
    wait_ms(10);
    send_ipi(apic_id, startup);
    if (!wait_until(100, [&] { return started(apic_id); })) {
        send_ipi(apic_id, startup);
    }
    return wait_until(2000, [&] { return started(apic_id); });
}

}  // namespace cupule::guest

void ap_start_cpp(std::uint32_t start_index) {
    using namespace cupule::guest;
    interrupts_load();
    local_apic_init();
    ap_main(start_index);
}
